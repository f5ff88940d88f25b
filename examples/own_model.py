"""A model of your own: a network in a file of yours, trained and judged like any other, the package left as it is.

    python examples/own_model.py

It forges a small set from synthetic chest CTs, trains ``build`` by own_model.toml, and evaluates it. What it learns in
twenty steps is next to nothing; what to take from it is the way. Needs the extra ``train``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
from torch import nn

from tamperscope import phantom

HERE, OUT = Path(__file__).parent, Path("own-model-out")
PATIENTS = 12
FORGERIES = """
seed = 3
name = "small"

[parts]
train = 0.4
calibrate = 0.3
test = 0.3

[[forgery]]
attack = "inpaint"
"""
SUITE = """
[[data]]
name = "small"
manifest = "set/manifest.csv"
part = "test"

[[model]]
recipe = "{recipe}"

[[model]]
card = "ct-noise"
"""


def build(side: int) -> nn.Module:
    """The network: pictures, float32 (N, 1, side, side) of 0 to 1, to one logit each, (N, 1)."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2, padding=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(side // 4),
        nn.Flatten(),
        nn.Linear(16, 1),
    )


def main() -> None:
    """Forge, train, evaluate, and rank it beside a model of the package."""
    studies, forged, run = OUT / "studies", OUT / "set", OUT / "run"
    make_studies(studies)
    (OUT / "forgeries.toml").write_text(FORGERIES, encoding="utf-8")
    tamperscope("forge-set", studies, "--recipe", OUT / "forgeries.toml", "--out", forged)
    tamperscope("train", HERE / "own_model.toml", "--data", forged / "manifest.csv", "--out", run)
    tamperscope("evaluate", "--model", run, "--data", forged, "--part", "test", "--out", OUT / "evaluation")
    (OUT / "suite.toml").write_text(SUITE.format(recipe=(HERE / "own_model.toml").as_posix()), encoding="utf-8")
    tamperscope("benchmark", OUT / "suite.toml", "--out", OUT / "benchmark")


def make_studies(folder: Path) -> None:
    """Synthetic chest CTs of some patients, as DICOM."""
    for number in range(PATIENTS):
        volume = phantom.chest((4, 96, 96), (2.5, 2.0, 2.0), np.random.default_rng(number))
        for path in phantom.write_dicom(volume, folder / f"s{number}"):
            dataset = pydicom.dcmread(path)
            dataset.PatientID = f"P{number}"
            dataset.save_as(path)


def tamperscope(*arguments: object) -> None:
    """Run the command line, as you would in a terminal."""
    print("$ tamperscope", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "tamperscope", *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
