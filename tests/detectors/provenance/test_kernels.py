from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from builders import ct, to_bytes
from tamperscope import read
from tamperscope.decode import decode
from tamperscope.detectors.provenance import kernels


def volume(coarseness: float, maker: str | None, kernel: str | None, **changes):
    """Noise around 0 HU, smoothed by so many pixels."""
    noise = np.random.default_rng(0).normal(0, 1, (128, 128))
    noise = ndimage.gaussian_filter(noise, coarseness)
    stored = np.rint(noise / noise.std() * 40 + 24).astype(np.int16)
    header = {"Manufacturer": maker, "ConvolutionKernel": kernel}
    stated = {word: value for word, value in header.items() if value is not None}
    values = {"PixelSpacing": [0.7, 0.7]} | stated | changes
    (series,) = read(to_bytes(ct(stored, **values))).studies[0].series
    return decode(series)


def told(said, *arguments, **changes):
    return said(kernels.of_volume(volume(*arguments, **changes)))


FINE, COARSE = 0.3, 1.5
WARNING, NOTE = [("kernel-noise", "warning", "absent")], [("kernel-noise", "note", "absent")]


@pytest.mark.parametrize(
    ("maker", "smooth", "sharp"),
    [("SIEMENS", "B30f", "B70f"), ("GE MEDICAL SYSTEMS", "STANDARD", "BONE"), ("Philips", "B", "L")],
)
def test_noise_that_the_kernel_cannot_make(said, maker, smooth, sharp):
    assert told(said, FINE, maker, smooth) == WARNING
    assert told(said, COARSE, maker, sharp) == NOTE
    assert told(said, FINE, maker, sharp) == []
    assert told(said, COARSE, maker, smooth) == []


@pytest.mark.parametrize(
    ("maker", "kernel"),
    [(None, None), ("SIEMENS", None), ("SIEMENS", "B50f"), ("SIEMENS", "Br40d"), ("GE", "DETAIL"), ("TOSHIBA", "FC08")],
)
def test_kernels_that_were_not_measured_are_not_judged(said, maker, kernel):
    assert told(said, FINE, maker, kernel) == told(said, COARSE, maker, kernel) == []


@pytest.mark.parametrize("changes", [{"PixelSpacing": [0.3, 0.3]}, {"PixelSpacing": [1.4, 1.4]}, {"Modality": "MR"}])
def test_other_grids_and_modalities_are_not_judged(said, changes):
    assert told(said, FINE, "SIEMENS", "B30f", **changes) == []


def test_what_shows_no_noise_is_not_judged(said):
    made = volume(FINE, "SIEMENS", "B30f")
    assert said(kernels.of_volume(replace(made, voxels=np.zeros_like(made.voxels)))) == []
    assert said(kernels.of_volume(replace(made, voxels=made.voxels[:, :32, :32]))) == []
