"""The demo: forge one place of a synthetic chest CT, scan the forgery and its pristine twin, show where it was altered.

    make demo

Then it scans the real CT slice that pydicom ships, which no model of the package was made for.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydicom.data import get_testdata_file
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

import tamperscope
from tamperscope import phantom
from tamperscope.attacks import CtGanBlend
from tamperscope.pipeline import Tick
from tamperscope.report import words

OUT = Path("demo-out")
SHAPE = (32, 512, 512)
SPACING_MM = (2.5, 0.7, 0.7)
PLACE = (16, 250, 390)
"""Slice, row and column in one of the lungs."""


def main() -> None:
    """Make, forge, scan, and say where the reports lie."""
    shutil.rmtree(OUT, ignore_errors=True)
    rng = np.random.default_rng(2019)
    print(f"Making a synthetic chest CT of {SHAPE[0]} slices ...")
    pristine = phantom.chest(SHAPE, SPACING_MM, rng)
    attack = CtGanBlend("remove")
    forgery = attack.apply(pristine, attack.sample(pristine, rng, at=PLACE))
    phantom.write_dicom(pristine, OUT / "studies" / "pristine")
    phantom.write_dicom(forgery.volume, OUT / "studies" / "forged")
    k, j, i = PLACE
    print(f"Forged with {attack.name}: slice {k + 1}, row {j}, column {i}; {int(forgery.mask.sum())} voxels changed.")
    for name in ("forged", "pristine"):
        report(OUT / "studies" / name, OUT / name)
    print("\nAnd a real slice, from the test files of pydicom:")
    report(Path(str(get_testdata_file("CT_small.dcm", download=False))), OUT / "real-slice")


def report(source: Path, out: Path) -> None:
    """Scan ``source``, write the report into ``out`` and print the verdict."""
    with progress(source.name) as tick:
        answer = tamperscope.scan(source, out=out, tick=tick)
    for series in answer.series:
        print(f"\n{source.name}: {words.headline(series)}")
        if series.probability is not None:
            print(
                f"  probability {words.probability(series.probability)}, {words.false_alarms(series.operating_point)}"
            )
        for region in series.regions[:3]:
            k, j, i = region.centre_index
            print(f"  slice {k + 1}, row {j}, column {i}, {region.diameter_mm:.0f} mm wide")
        print(f"  picture: {out / series.name}.png")
    print(f"  report:  {out / 'report.html'}")


@contextmanager
def progress(name: str) -> Iterator[Tick | None]:
    """A bar on standard error where that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with Progress(TextColumn(name), BarColumn(), MofNCompleteColumn(), console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda _, done, total: bar.update(task, completed=done, total=total)


if __name__ == "__main__":
    main()
