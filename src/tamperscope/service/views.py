"""What the page's viewer shows of a series: its pixels, the heat map, the noise residual, and a small picture.

The files are made for looking at, not for measuring: the plane of acquisition is the axial plane of the viewer,
whatever the patient's position, with column 0 at the left and row 0 at the top.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from tamperscope.records import FloatArray, SeriesResult, Volume
from tamperscope.report import picture

CT_WINDOWS = (("lung", -1350.0, 150.0), ("mediastinum", -160.0, 240.0), ("bone", -500.0, 1500.0))
"""Black and white in Hounsfield units: centre -600, width 1500; 40, 400; 500, 2000."""
THUMBNAIL = 160
LEVELS, THREADS = 255, 2
RESIDUAL_SPREAD = 4.0
"""Standard deviations of the residual from middle grey to white."""
MOST_SIDE = 2048
"""Pixels: what every graphics card can hold as a texture of volumes. Larger pictures are shown with every n-th one."""
LEVEL = 1
"""Of gzip: the noise of a scan does not compress, and somebody waits."""


@dataclass(slots=True)
class Views:
    """Writes into ``folder`` what `tamperscope.scan` shows it; the most suspicious series gives the thumbnail."""

    folder: Path
    _made: dict[str, dict[str, object]] = field(default_factory=dict, init=False)
    _strongest: float = field(default=-1.0, init=False)

    def see(self, volume: Volume, result: SeriesResult) -> None:
        """Write the files of one series."""
        name, voxels = result.name, shown(volume)
        spacing = volume.spacing_mm if volume.geometry != "none" else (1.0, 1.0, 1.0)
        step = thinning(volume)
        wide = (spacing[0], spacing[1] * step, spacing[2] * step)

        def part(kind: str, made: Callable[[], NDArray[np.generic]], slope: float = 1.0) -> None:
            save(self.folder / f"{name}.{kind}.nii.gz", made()[:, ::step, ::step], wide, slope)

        with ThreadPoolExecutor(THREADS) as pool:  # deflating takes longest, and lets other threads run
            written = [pool.submit(part, "residual", lambda: residual(voxels))]
            written.append(pool.submit(part, "volume", lambda: stored(voxels)))
            if result.heatmap is not None:
                heat = result.heatmap
                written.append(pool.submit(part, "heatmap", lambda: levels(heat), 1.0 / LEVELS))
        for one in written:
            one.result()
        self._made[name] = {
            "shape": volume.shape,
            "spacing_mm": None if volume.geometry == "none" else spacing,
            "windows": windows(volume, voxels, picture.shown_slice(volume, result)),
            "has_heatmap": result.heatmap is not None,
            "step": step,
        }
        strength = result.probability if result.probability is not None else -0.5
        if strength > self._strongest:
            self._strongest = strength
            (self.folder / "thumbnail.png").write_bytes(thumbnail(volume, result))

    def finish(self) -> None:
        """Write down what there is."""
        (self.folder / "views.json").write_text(json.dumps(self._made), encoding="utf-8")


def shown(volume: Volume) -> FloatArray:
    """(D, H, W): finite, without colour, and bright where the film is bright."""
    voxels = np.nan_to_num(volume.luminance, nan=0.0, posinf=0.0, neginf=0.0)
    if volume.photometric == "MONOCHROME1":
        voxels = (voxels.max() + voxels.min()) - voxels
    return np.asarray(voxels, dtype=np.float32)


def thinning(volume: Volume) -> int:
    """Every how many rows and columns of a volume are shown."""
    return -(-max(volume.shape[1:]) // MOST_SIDE)


def windows(volume: Volume, voxels: FloatArray, k: int) -> list[tuple[str, float, float]]:
    """Presets with the values that are black and white; the first is shown at the beginning."""
    low, high = (float(v) for v in np.percentile(voxels[k], (0.5, 99.5)))
    fitting = ("fitting", low, max(high, low + 1e-3))
    everything = ("everything", float(voxels.min()), max(float(voxels.max()), float(voxels.min()) + 1e-3))
    return [*(CT_WINDOWS if volume.modality == "CT" else ()), fitting, everything]


def residual(voxels: FloatArray) -> NDArray[np.uint8]:
    """What a mean of 3 x 3 pixels leaves of each slice, as grey levels round 128: the noise, made visible.

    The scale is that of the whole series, so that a place which is smoother or rougher than the rest stands out.
    """
    sample = np.stack([_high_pass(plane) for plane in voxels[:: max(1, voxels.shape[0] // 16)]])
    inside = np.abs(sample[sample != 0.0])
    # The median of |x| is 0.6745 standard deviations of a normal distribution; edges do not move it.
    deviation = float(np.median(inside)) / 0.6745 if inside.size else 1.0
    scale = np.float32(127.0 / (RESIDUAL_SPREAD * max(deviation, 1e-6)))
    found = np.empty(voxels.shape, dtype=np.uint8)
    for k, plane in enumerate(voxels):  # a slice at a time stays in the cache
        found[k] = np.clip(_high_pass(plane) * scale + 128.0, 0.0, 255.0)
    return found


def _high_pass(plane: FloatArray) -> FloatArray:
    return np.asarray(plane - ndimage.uniform_filter(plane, size=3, mode="nearest"), dtype=np.float32)


def levels(heat: FloatArray) -> NDArray[np.uint8]:
    """Probabilities in steps of 1 / `LEVELS`."""
    return (np.clip(np.nan_to_num(heat), 0.0, 1.0) * LEVELS).round().astype(np.uint8)


def thumbnail(volume: Volume, result: SeriesResult) -> bytes:
    """The bytes of a small PNG of the slice with the strongest evidence, with the heat map if it is suspicious."""
    k = picture.shown_slice(volume, result)
    image = picture.grey(volume, k)
    if result.verdict == "suspicious" and result.heatmap is not None:
        threshold = result.operating_point.threshold if result.operating_point else 0.5
        image = picture.overlaid(image, result.heatmap[k], threshold)
    width, height = picture.physical_size(volume, *volume.shape[1:])
    scale = THUMBNAIL / max(width, height)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    stream = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(stream, format="PNG")
    return stream.getvalue()


def stored(voxels: FloatArray) -> NDArray[np.generic]:
    """In as few bytes as hold the values."""
    low, high = float(voxels.min()), float(voxels.max())
    whole = bool((voxels == np.round(voxels)).all())
    if whole and low >= 0 and high <= 255:
        return voxels.astype(np.uint8)
    return voxels.astype(np.int16) if whole and low >= -32768 and high <= 32767 else voxels


def save(path: Path, voxels: NDArray[np.generic], spacing_mm: tuple[float, float, float], slope: float = 1.0) -> None:
    """Voxels (D, H, W) as NIfTI-1 with axes (i, j, k), i to the left and j to the back as seen from the feet."""
    dk, dj, di = spacing_mm
    image = nib.Nifti1Image(voxels.transpose(2, 1, 0), np.diag([-di, -dj, dk, 1.0]))  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm")  # type: ignore[no-untyped-call]
    image.header.set_slope_inter(slope, 0.0)  # type: ignore[no-untyped-call]
    image.header["vox_offset"] = 352  # header and an empty list of extensions, in the same file as the voxels
    with (
        path.open("wb") as stream,
        gzip.GzipFile(filename="", fileobj=stream, mode="wb", compresslevel=LEVEL, mtime=0) as packed,
    ):
        packed.write(image.header.binaryblock + b"\0\0\0\0")
        packed.write(np.ascontiguousarray(voxels).data)
