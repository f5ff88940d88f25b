"""What tells authentic pictures from made ones without looking at what is in them: size, histogram, spectrum.

    python experiments/benchmark/picture_probes.py MANIFEST [MANIFEST ...] [--part test]

A forest on each, patients held out in turn (`tamperscope.evaluate.audit`), for all forgeries and for those of each
generator against all authentic pictures; "permuted" is how far from 0.5 it gets with permuted labels. The size: rows,
columns, bits. The histogram: 64 grey levels of the whole picture. The spectrum: power in eight rings and its slope,
which is no pure shortcut: a generator leaves its trace there, and so does resizing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tamperscope import pictures
from tamperscope.datasets import cases, join
from tamperscope.datasets.cases import Case
from tamperscope.evaluate import audit

RINGS = 8
Table = NDArray[np.float64]


def main() -> None:
    options = arguments()
    listed = [entry for entry in join.entries(join.read(options.manifests)) if options.part in (None, entry.part)]
    opened = [cases.opened(group) for group in cases.by_series(listed)]
    rows = {name: np.array([see(case) for case in opened]) for name, see in PROBES.items()}
    truth = np.array([case.forged for case in opened])
    patients = [case.patient for case in opened]
    generators = [case.groups["generator"] for case in opened]
    print("| forgeries | pictures | size | histogram | spectrum |")
    print("|---|---|---|---|---|")
    for name in ["all", *sorted(set(generators) - {"none"})]:
        chosen = np.array([name in ("all", made) or made == "none" for made in generators])
        who = [patient for patient, inside in zip(patients, chosen, strict=True) if inside]
        cells = [cell(table[chosen], truth[chosen], who) for table in rows.values()]
        print(f"| {name} | {int(truth[chosen].sum())} + {int((~truth[chosen]).sum())} | {' | '.join(cells)} |")


def cell(table: Table, truth: NDArray[np.bool_], patients: Sequence[str]) -> str:
    """The AUROC, and what permuted labels reach."""
    chance = audit.held_out(table, np.random.default_rng(0).permutation(truth), patients)
    return f"{audit.held_out(table, truth, patients):.2f} (permuted {0.5 + abs(chance - 0.5):.2f})"


def size(case: Case) -> list[float]:
    return [float(number) for number in (*case.volume.shape[1:], case.volume.bits_stored)]


def histogram(case: Case) -> list[float]:
    counts, _ = np.histogram(next(pictures.planes(case.volume)), bins=64, range=(0.0, 256.0))
    return [float(share) for share in counts / counts.sum()]


def spectrum(case: Case) -> list[float]:
    """Log power in rings from 0 to half a cycle a pixel, less its mean, and the slope of log power on log frequency."""
    plane = next(pictures.planes(case.volume))
    height, width = plane.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    power = np.abs(np.fft.fft2((plane - plane.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    ring = np.minimum((frequency * 2 * RINGS).astype(int), RINGS)
    levels = np.array([np.log(power[ring == number].mean() + 1.0) for number in range(RINGS)])
    slope = np.polyfit(np.log(np.arange(RINGS) + 0.5), levels, 1)[0]
    return [*(float(level) for level in levels - levels.mean()), float(slope)]


PROBES: Mapping[str, Callable[[Case], list[float]]] = {
    "size": size,
    "histogram": histogram,
    "spectrum": spectrum,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifests", type=Path, nargs="+", metavar="MANIFEST")
    parser.add_argument("--part")
    return parser.parse_args()


if __name__ == "__main__":
    main()
