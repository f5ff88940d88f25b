"""CT-GAN made here against the real one: noise inside the tampered box, and how far the change reaches.

    python experiments/forge/ct_gan_compare.py --data DIR --out FILE.png

DIR holds ct-authentic/ and ct-gan/. Ours are made on authentic patients of the part "test" of
experiments/ct_local/split.json, once with noise copied from a random place and once with Gaussian noise; the real ones
are the published slices, which are only looked at here: nothing is tuned on them.

Two things are measured in the slice of the centre, in pixels, since the published headers are copies of one scan's:

- The radial power spectrum of the high-pass residual in windows of 24 pixels round the place, divided by that of the
  lung elsewhere in the same slice. 1 means that nothing shows.
- How fine the noise of the lung is in rings round the place (its strength above over that below about 0.2 cycles per
  pixel), divided by the same elsewhere: where it comes half-way back to what it is far outside, the change ends. Of the
  published scans there is no untouched original, so this estimate is all that can be said of their extent. Of ours the
  mask says it exactly; the estimate stands beside it and is smaller, for the blends fade towards their border. Which
  slices were touched cannot be said of the published scans: only the slice of the label is at hand.

Prints both as tables, draws them to the file, and writes ct_gan_compare.json beside this file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from tamperscope import anatomy
from tamperscope.attacks.ct_gan import CtGan, Mode, NoiseSource
from tamperscope.attacks.network import PACKAGED, Network
from tamperscope.datasets import ct_authentic, ct_gan, manifest
from tamperscope.records import JSON, FloatArray, MaskArray, Volume
from tamperscope.report.blocks import BACKGROUND, FAINT, FRAME, INK, Colour, beside, font, stack

HERE = Path(__file__).parent
SPLIT = HERE.parent / "ct_local" / "split.json"
MODES: tuple[tuple[Mode, ct_gan.Kind], ...] = (("inject", "injected"), ("remove", "removed"))
SOURCES: tuple[tuple[NoiseSource, str], ...] = (("random-place", "copied noise"), ("gaussian", "Gaussian noise"))
COLOURS: tuple[Colour, ...] = ((255, 176, 58), (110, 190, 255), (140, 220, 140))
"""The real ones, then ours in the order of `SOURCES`."""

AROUND = 32
"""Slices kept on each side: more than half of the touch-up."""
WINDOW, STRIDE = 24, 6
LUNG_HU = (-990.0, -600.0)
LUNG_SHARE = 0.6
"""Least share of a window that is lung."""
NEAR, FAR = 14, 60
"""Pixels from the place: windows nearer than the first lie in the box, those further than the second are untouched."""
BANDS = np.linspace(0.0, 0.5, 9)
"""Cycles per pixel."""
RINGS = np.arange(0, 60, 4)
STANDS_OUT = 0.15
"""Octaves by which a ring near the place must differ more than those far away, or no width is estimated."""
LEAST = 40
"""Pixels of lung that a ring needs."""

Curve = NDArray[np.float64]


@dataclass
class Group:
    """What was measured on forgeries of one kind."""

    name: str
    spectra: list[Curve] = field(default_factory=list)
    profiles: list[Curve] = field(default_factory=list)
    true_width: list[float] = field(default_factory=list)
    """Width of the mask in the slice, in pixels."""
    touched: list[int] = field(default_factory=list)

    def add(self, plane: FloatArray, row: int, column: int) -> None:
        """Measure one forged slice, as far as it shows enough lung."""
        lung, residual = prepared(plane)
        spectrum = spectrum_ratio(residual, lung, row, column)
        if spectrum is not None:
            self.spectra.append(spectrum)
        profile = profile_ratio(plane, lung, row, column)
        if profile is not None:
            self.profiles.append(profile)

    def spectrum(self) -> Curve:
        """Median over the forgeries of the power inside over that elsewhere, by band."""
        return np.median(self.spectra, axis=0) if self.spectra else np.full(len(BANDS) - 1, np.nan)

    def profile(self) -> Curve:
        """Median over the forgeries of how far the fineness of a ring is from that elsewhere, in octaves.

        NaN for rings that show lung in fewer than half of the slices.
        """
        curves = np.abs(np.log2(np.reshape(self.profiles, (-1, len(RINGS) - 1))))
        shown = np.isfinite(curves).sum(axis=0) > len(curves) / 2
        return np.array([np.nanmedian(ring) if full else np.nan for ring, full in zip(curves.T, shown, strict=True)])

    def reach(self) -> float:
        """Radius in pixels where the profile is half-way back to its last rings; NaN where nothing stands out."""
        profile = self.profile()
        if np.isnan(profile[:6]).all():
            return float("nan")
        outside, peak = float(np.nanmean(profile[-4:])), int(np.nanargmax(profile[:6]))
        if profile[peak] < outside + STANDS_OUT:
            return float("nan")
        back = np.flatnonzero(profile < (outside + profile[peak]) / 2)
        back = back[back > peak]
        return float((RINGS[back[0]] + RINGS[back[0] + 1]) / 2) if back.size else float("nan")


def main() -> None:
    options = arguments()
    test = patients(options.data)
    table: dict[str, JSON] = {}
    spectra: dict[str, Curve] = {}
    rows = []
    print("| | slices | estimated width, pixels | true width, pixels | slices touched |\n|---|---|---|---|---|")
    for mode, kind in MODES:
        groups = [real(options.data / "ct-gan", kind)]
        attacks = [(CtGan(mode, Network(f"ct-gan-{mode}", options.networks), source), text) for source, text in SOURCES]
        groups += [ours(attack, f"ours, {kind}, {text}", test, options.count) for attack, text in attacks]
        for group in groups:
            table[group.name] = row = summary(group)
            spectra[group.name] = group.spectrum()
            cells = (row[key] for key in ("slices", "estimated_width_px", "true_width_px", "slices_touched"))
            print("| " + " | ".join([group.name, *("" if cell is None else str(cell) for cell in cells)]) + " |")
        rows.append(charts(groups, kind))
    print("\nPower inside over power elsewhere, by cycles per pixel\n")
    middles = (BANDS[:-1] + BANDS[1:]) / 2
    print("| | " + " | ".join(f"{f:.2f}" for f in middles) + " |\n|---|" + "---|" * len(middles))
    for name, line in spectra.items():
        print(f"| {name} | " + " | ".join(f"{x:.2f}" for x in line) + " |")
    picture = stack(rows, 18)
    picture.save(options.out)
    (HERE / "ct_gan_compare.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


# --- what is compared ---


def patients(data: Path) -> list[tuple[Volume, NDArray[np.intp]]]:
    """Test volumes with lung, and where it lies."""
    entries = ct_authentic.entries(data / "ct-authentic")
    parts = manifest.read_split(SPLIT, entries)
    volumes = [volume for _, volume in ct_authentic.volumes([one for one in entries if parts[one.patient] == "test"])]
    found = [(volume, np.flatnonzero(anatomy.lungs(volume.voxels))) for volume in volumes]
    return [(volume, lung) for volume, lung in found if lung.size]


def real(root: Path, kind: ct_gan.Kind) -> Group:
    group = Group(f"real, {kind}")
    for label, volume in ct_gan.volumes(root):
        if label.kind == kind:
            group.add(volume.voxels[0], label.row, label.column)
    return group


def ours(attack: CtGan, name: str, test: Sequence[tuple[Volume, NDArray[np.intp]]], count: int) -> Group:
    """``count`` forgeries at random places of lung, half of them in whole volumes where there are any."""
    group, rng = Group(name), np.random.default_rng(11)
    thick = [one for one in test if one[0].shape[0] > 1]
    for number in range(count):
        among = thick if thick and number % 2 else test
        volume, lung = among[int(rng.integers(len(among)))]
        k, row, column = (int(x) for x in np.unravel_index(int(rng.choice(lung)), volume.shape))
        first = max(k - AROUND, 0)
        twin = volume.slab(first, k + AROUND + 1)
        forgery = attack.apply(twin, attack.sample(twin, rng, (k - first, row, column)))
        changed = forgery.mask[k - first]
        if not changed.any():
            continue
        group.add(forgery.volume.voxels[k - first], row, column)
        group.true_width.append(float(np.ptp(np.flatnonzero(changed.any(axis=0)))) + 1.0)
        if twin.shape[0] > 1:
            group.touched.append(int(forgery.mask.any(axis=(1, 2)).sum()))
    return group


def summary(group: Group) -> dict[str, JSON]:
    reach = group.reach()
    return {
        "slices": len(group.profiles),
        "estimated_width_px": round(2.0 * reach) if np.isfinite(reach) else None,
        "true_width_px": round(float(np.median(group.true_width))) if group.true_width else None,
        "slices_touched": round(float(np.median(group.touched))) if group.touched else None,
        "power_ratio": [_finite(x) for x in group.spectrum()],
        "octaves_by_ring": [_finite(x) for x in group.profile()],
    }


def _finite(value: float) -> float | None:
    return round(float(value), 3) if np.isfinite(value) else None


# --- what is measured ---


def prepared(plane: FloatArray) -> tuple[MaskArray, FloatArray]:
    """Where a slice shows aerated lung without its vessels and borders, and its high-pass residual there, else 0."""
    clipped = np.clip(plane, -1000.0, 400.0)
    smooth = ndimage.gaussian_filter(clipped, 1.5)
    lung = anatomy.lungs(plane[None])[0] & (smooth > LUNG_HU[0]) & (smooth < LUNG_HU[1])
    lung = ndimage.binary_erosion(lung, iterations=2)
    return lung, np.where(lung, clipped - smooth, 0.0).astype(np.float32)


def spectrum_ratio(residual: FloatArray, lung: MaskArray, row: int, column: int) -> Curve | None:
    """Radial power inside over elsewhere, per band; None where either place has too little lung."""
    near, far = [], []
    for top, left in _windows(lung):
        distance = float(np.hypot(top + WINDOW / 2 - row, left + WINDOW / 2 - column))
        if distance <= NEAR:
            near.append(_power(residual, lung, top, left))
        elif distance > FAR:
            far.append(_power(residual, lung, top, left))
    if not near or len(far) < 4:
        return None
    return np.asarray(np.mean(near, axis=0) / np.median(far, axis=0))


def _windows(lung: MaskArray) -> Iterator[tuple[int, int]]:
    """Corners of windows that are mostly lung."""
    share = ndimage.uniform_filter(lung.astype(np.float32), WINDOW, mode="constant")
    half = WINDOW // 2
    for top in range(0, lung.shape[0] - WINDOW, STRIDE):
        for left in range(0, lung.shape[1] - WINDOW, STRIDE):
            if share[top + half, left + half] >= LUNG_SHARE:
                yield top, left


def _power(residual: FloatArray, lung: MaskArray, top: int, left: int) -> Curve:
    """Mean power per pixel of lung in each band, under a Hann window."""
    cut = (slice(top, top + WINDOW), slice(left, left + WINDOW))
    taper = np.outer(np.hanning(WINDOW), np.hanning(WINDOW))
    power = np.abs(np.fft.fft2(residual[cut] * taper)) ** 2 / float((taper[lung[cut]] ** 2).sum())
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(WINDOW), np.fft.fftfreq(WINDOW), indexing="ij"))
    return np.array([power[(frequency > a) & (frequency <= b)].mean() for a, b in pairwise(BANDS)])


def profile_ratio(plane: FloatArray, lung: MaskArray, row: int, column: int) -> Curve | None:
    """Fineness of the noise in rings round the place over that elsewhere; NaN for rings with too little lung."""
    clipped = np.clip(plane, -1000.0, 400.0)
    once, twice = (ndimage.gaussian_filter(clipped, sigma) for sigma in (0.8, 2.0))
    bands = (clipped - once, once - twice)
    j, i = np.ogrid[: lung.shape[0], : lung.shape[1]]
    distance = np.hypot(j - row, i - column)
    elsewhere = lung & (distance > FAR)
    if elsewhere.sum() < 50 * LEAST:
        return None
    fineness = [_fineness(bands, lung & (distance >= a) & (distance < b)) for a, b in pairwise(RINGS)]
    return np.array(fineness) / _fineness(bands, elsewhere)


def _fineness(bands: tuple[FloatArray, FloatArray], where: MaskArray) -> float:
    fine, coarse = (_strength(band[where]) if where.sum() >= LEAST else np.nan for band in bands)
    return fine / max(coarse, 1e-3)


def _strength(values: FloatArray) -> float:
    """Robust standard deviation: vessels are few."""
    return float(1.4826 * np.median(np.abs(values)))


# --- the picture ---

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 560, 330, 64, 46, 70


def charts(groups: Sequence[Group], kind: str) -> Image.Image:
    """Spectrum and profile of three groups, side by side."""
    middles, rings = (BANDS[:-1] + BANDS[1:]) / 2, (RINGS[:-1] + RINGS[1:]) / 2
    spectra = [np.log2(np.maximum(group.spectrum(), 1e-3)) for group in groups]
    left = chart(f"{kind}: power inside / elsewhere, octaves", "cycles per pixel", middles, spectra, groups)
    right = chart(
        f"{kind}: fineness of the noise off by, octaves",
        "pixels from the place",
        rings,
        [g.profile() for g in groups],
        groups,
    )
    return beside([left, right], 18)


def chart(title: str, below: str, x: Curve, lines: Sequence[Curve], groups: Sequence[Group]) -> Image.Image:
    """Lines over a common axis, with a legend."""
    image = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
    pen = ImageDraw.Draw(image)
    pen.text((LEFT, 4), title, font=font(17), fill=INK)
    values = np.concatenate([line[np.isfinite(line)] for line in lines] + [np.zeros(1)])
    low, high = float(np.floor(values.min() * 2) / 2), float(np.ceil(values.max() * 2) / 2 + 0.01)

    def place(a: float, b: float) -> tuple[float, float]:
        across = LEFT + (a - x[0]) / (x[-1] - x[0]) * (WIDTH - LEFT - 20)
        return across, HEIGHT - BOTTOM - (b - low) / (high - low) * (HEIGHT - BOTTOM - TOP)

    for tick in np.arange(low, high, 0.5):
        pen.line([place(x[0], tick), place(x[-1], tick)], fill=FRAME, width=2 if tick == 0 else 1)
        pen.text((12, place(x[0], tick)[1] - 8), f"{tick:+.1f}", font=font(14), fill=FAINT)
    for a in x[:: max(len(x) // 5, 1)]:
        pen.text((place(a, low)[0] - 10, HEIGHT - BOTTOM + 6), f"{a:.2g}", font=font(14), fill=FAINT)
    pen.text((LEFT, HEIGHT - 22), below, font=font(14), fill=FAINT)
    across = LEFT
    for line, group, colour in zip(lines, groups, COLOURS, strict=True):
        points = [place(a, b) for a, b in zip(x, line, strict=True) if np.isfinite(b)]
        if len(points) > 1:
            pen.line(points, fill=colour, width=3)
        whose, _, *noise = group.name.split(", ")
        label = f"{', '.join([whose, *noise])} ({len(group.spectra)})"
        pen.text((across, 32), label, font=font(14), fill=colour)
        across += round(font(14).getlength(label)) + 18
    return image


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="PNG file")
    parser.add_argument("--networks", type=Path, default=PACKAGED, help="folder of ct-gan-inject and ct-gan-remove")
    parser.add_argument("--count", type=int, default=40, help="forgeries of each kind")
    return parser.parse_args()


if __name__ == "__main__":
    main()
