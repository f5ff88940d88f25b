"""Manifests of small forged sets, for what trains and judges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom

from tamperscope import forge_set, phantom

RECIPE = """
seed = 3
name = "small"

[parts]
train = 0.5
calibrate = 0.5

[[forgery]]
attack = "inpaint"
"""


def forged_set(folder: Path, patients: int = 8, recipe: str = RECIPE) -> Path:
    """Phantom chests of four slices, each with its twin and one forgery, half to train and half to calibrate."""
    studies = folder / "studies"
    for number in range(patients):
        volume = phantom.chest((4, 96, 96), (2.5, 2.0, 2.0), np.random.default_rng(number))
        for path in phantom.write_dicom(volume, studies / f"s{number}"):
            dataset = pydicom.dcmread(path)
            dataset.PatientID = f"P{number}"
            dataset.save_as(path)
    (folder / "R.toml").write_text(recipe, encoding="utf-8")
    out = folder / "set"
    outcome = forge_set.make([studies], folder / "R.toml", out)
    assert outcome.failed == ()
    return out / forge_set.TABLE
