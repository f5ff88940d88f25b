from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from tamperscope import attacks, phantom
from tamperscope.inputs import CtInput
from tamperscope.inputs.ct import grain_of
from tamperscope.preprocess import noise_level

SPEC = CtInput(
    modality="CT",
    body_part="CHEST",
    clip_hu=(-1000.0, 400.0),
    spacing_mm=(0.4, 2.5),
    slice_mm=(0.4, 10.0),
    noise_hu=(2.0, 120.0),
    grain=(0.3, 2.5),
    matrix=(128, 1024),
    lung_share=0.08,
)


@pytest.fixture(scope="module")
def chest():
    return phantom.chest((4, 192, 192), (2.5, 1.9, 1.9))


def test_a_chest_ct_is_accepted(chest):
    assert SPEC.refusals(chest) == ()


def scaled(volume, factor):
    return replace(volume, affine=volume.affine @ np.diag([1.0, factor, factor, 1.0]))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("modality", lambda v: replace(v, modality="MR"), "trained on CT, this is MR"),
        ("photo", lambda v: replace(v, voxels=v.voxels[..., None].repeat(3, axis=3)), "colour"),
        ("photo without spacing", lambda v: replace(v, geometry="none"), "no pixel spacing"),
        ("coarse spacing", lambda v: scaled(v, 2.0), "3.80 x 3.80 mm"),
        ("fine spacing", lambda v: scaled(v, 0.1), "0.19 x 0.19 mm"),
        ("slices far apart", lambda v: replace(v, affine=v.affine @ np.diag([5.0, 1.0, 1.0, 1.0])), "12.50 mm apart"),
        ("matrix", lambda v: replace(v, voxels=v.voxels[:, :100]), "100 x 192"),
        ("stored values", lambda v: replace(v, voxels=v.voxels + 1024), "no air"),
        ("empty", lambda v: replace(v, voxels=np.full_like(v.voxels, -1000.0)), "no patient"),
        ("no lung", lambda v: replace(v, voxels=np.where(v.voxels > -950, 40.0, -1000.0)), "lung makes up"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_outside_the_contract_is_refused_in_words(chest, name, change, words):
    reasons = SPEC.refusals(change(chest))
    assert any(words in reason for reason in reasons), (name, reasons)
    assert all(reason and "\n" not in reason for reason in reasons)


@pytest.mark.parametrize("allowed", [(0.5, 1.5), (2.0, 3.0), (60.0, 90.0)])
def test_noise_outside_the_contract_is_refused_with_its_figure(chest, allowed):
    noise = np.median([noise_level(plane) for plane in chest.voxels])
    reasons = replace(SPEC, noise_hu=allowed).refusals(chest)
    assert reasons == (f"the noise is {noise:.1f} HU, the model was trained on {allowed[0]} to {allowed[1]} HU",)


@pytest.mark.parametrize(("window", "refused"), [((-1350.0, 150.0), True), ((-1000.0, 400.0), True), (None, False)])
def test_few_grey_levels_are_refused_with_their_step(window, refused):
    chest = phantom.chest((1, 320, 320), (2.5, 1.1, 1.1))
    if window is not None:
        change = attacks.Window8bit()
        chest = change.apply(chest, {"low": window[0], "high": window[1]}).volume
    found = SPEC.refusals(chest)
    assert any(re.search(r"in steps of [56] HU", reason) for reason in found) == refused, found


@pytest.mark.parametrize(("level", "strength"), [(-850.0, 50.0), (0.0, 100.0), (-300.0, 500.0)])
def test_pure_noise_is_refused(chest, level, strength):
    noise = np.random.default_rng(0).normal(level, strength, chest.shape).astype(np.float32)
    assert SPEC.refusals(replace(chest, voxels=np.clip(noise, -1024.0, 3071.0)))


def test_a_radiograph_is_refused():
    assert SPEC.refusals(phantom.radiograph((192, 192))) == ("the model was trained on CT, this is DX",)


def test_refusing_changes_nothing(chest):
    before = chest.voxels.copy()
    SPEC.refusals(chest)
    assert np.array_equal(chest.voxels, before)


@pytest.mark.parametrize(("allowed", "word"), [((0.1, 0.2), "finer"), ((3.0, 4.0), "coarser")])
def test_noise_of_a_kernel_outside_the_contract_is_refused_in_words(chest, allowed, word):
    (reason,) = replace(SPEC, grain=allowed).refusals(chest)
    assert reason.startswith(f"the noise is {word} than that of any reconstruction kernel")


def test_the_grain_of_white_noise_is_two_and_falls_where_it_is_smoothed():
    noise = np.random.default_rng(0).normal(40.0, 20.0, (256, 256)).astype(np.float32)
    soft = attacks.Denoise().apply(
        replace(phantom.chest((1, 256, 256)), voxels=noise[None]), {"filter": "gaussian", "sigma": 1.0, "share": 1.0}
    )
    assert grain_of(noise) == pytest.approx(2.0, rel=0.05)
    assert grain_of(soft.volume.voxels[0]) < 0.6


@pytest.mark.parametrize(
    ("attack", "params", "words"),
    [
        (attacks.Resize(), {"factor": 0.5, "filter": "bicubic"}, "the finest detail is gone"),
        (attacks.Resize(), {"factor": 0.75, "filter": "bicubic"}, "odd and even pixels differ"),
        (attacks.Compress(), {"codec": "jpeg2000", "ratio": 20}, "odd and even pixels differ"),
        (attacks.Denoise(), {"filter": "median", "sigma": 0.0, "share": 1.0}, "of the pixels equal their neighbour"),
    ],
)
def test_what_takes_the_finest_traces_away_is_said(attack, params, words):
    chest = phantom.chest((2, 320, 320), (2.5, 1.1, 1.1))
    assert SPEC.cautions(chest) == ()
    before = chest.voxels.copy()
    found = SPEC.cautions(attack.apply(chest, params).volume)
    assert any(words in caution for caution in found), found
    assert np.array_equal(chest.voxels, before)
