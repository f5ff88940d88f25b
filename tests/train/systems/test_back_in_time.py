from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

import natives  # noqa: E402
from tamperscope import phantom  # noqa: E402
from tamperscope.datasets.manifest import Entry  # noqa: E402
from tamperscope.errors import InputError, UsageError  # noqa: E402
from tamperscope.models.back_in_time_net import residual  # noqa: E402
from tamperscope.train.native import Part, Spec  # noqa: E402
from tamperscope.train.options import BackInTimeNet, CandidateInput  # noqa: E402
from tamperscope.train.recipe import Recipe, Training  # noqa: E402
from tamperscope.train.systems.back_in_time import BackInTimeStudent  # noqa: E402
from tamperscope.train.systems.student import Lesson  # noqa: E402

TRAINING = Training(steps=60, batch=8, rate=3e-3, save_every=1000, validate=8)
INPUT = CandidateInput(32, natives.WINDOW, 4)
RECIPE = Recipe("tiny", "back-in-time", BackInTimeNet(8), INPUT, train=TRAINING)


def authentic(seed: int, count: int = 6) -> Part:
    every = natives.part(seed, count, Spec(natives.WINDOW, 4, masks=False)).series
    return Part(tuple(one for one in every if not one.forged))


def student(recipe: Recipe = RECIPE) -> BackInTimeStudent:
    return BackInTimeStudent(recipe, authentic(0), authentic(1))


def state(net: torch.nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in net.state_dict().values()])


@pytest.fixture(scope="module")
def taught() -> BackInTimeStudent:
    made = student()
    made.before, made.losses = made.classifier.look(0), natives.steps(made.classifier, 60)
    made.classifier.look(60)
    made.found = made.model()
    return made


def test_it_learns_the_noise_of_authentic_crops_and_finds_a_place_unlike_them(taught):
    assert np.mean(taught.losses[-10:]) < 0.7 * np.mean(taught.losses[:10])
    assert float(taught.classifier.standing.best) > taught.before
    assert taught.classifier.measure == "minus_noise_loss"
    assert taught.found.facts["difference_to_torch"] < 1e-4
    volume, mask = natives.volume(7001, forged=True)
    found = taught.found.system.answer(volume)
    assert mask[np.unravel_index(found.heatmap.argmax(), mask.shape)]
    assert found.highest > taught.found.system.answer(natives.volume(7001, forged=False)[0]).highest


def test_the_file_takes_the_step_that_torch_takes(taught):
    crops, system = taught.looked[0][:2], taught.found.system
    left = system.networks.run("model.onnx", {"crops": crops}, "residuals")
    with torch.inference_mode():
        net = taught.classifier.best
        expected = residual(net, 2.0 * torch.from_numpy(crops) - 1.0, 0) / (1.0 - net.kept[0]).sqrt()
    np.testing.assert_allclose(left, expected.numpy(), atol=1e-3)
    assert expected.mean() > 1e-3, "a step changes something"


def test_no_forged_series_is_opened(tmp_path):
    """Those of the lesson do not exist, and the weights are those of a lesson without them."""
    groups, missing = {}, {}
    for number, part in enumerate(("train", "calibrate")):
        volume = phantom.chest((1, 64, 64), (2.5, 5.0, 5.0), np.random.default_rng(number))
        (path,) = phantom.write_dicom(volume, tmp_path / part)
        groups[part] = [(Entry(path, "c", part, "s", "", part=part),)]
        missing[part] = [(Entry(tmp_path / "absent.dcm", "c", part, "f", "", label="forged", part=part),)]
    found = []
    for extra in (missing, {"train": [], "calibrate": []}):
        lesson = Lesson(groups["train"] + extra["train"], groups["calibrate"] + extra["calibrate"])
        made = BackInTimeStudent.of(RECIPE, lesson)
        assert made.counts["train"]["forged_series"] == made.counts["calibrate"]["forged_series"] == 0
        natives.steps(made.classifier, 1)
        found.append(state(made.classifier.net))
    assert torch.equal(*found)
    with pytest.raises(InputError, match=r"holds 2 authentic slices and 2 forged series.*authentic series alone"):
        BackInTimeStudent(RECIPE, natives.part(0, 2), authentic(1))


def test_only_the_steps_asked_for_are_learned():
    made = student(replace(RECIPE, net=BackInTimeNet(8, learned=5)))
    crops, noise, steps = made._noisy(made.looked[0], np.random.default_rng(0))
    assert set(steps.tolist()) <= set(range(5))
    assert crops.shape == noise.shape == (8, 1, 32, 32)
    assert noise.std() == pytest.approx(1.0, abs=0.05)


def test_settings_that_cannot_be_are_told():
    for wrong in ({"width": 12}, {"t": 5, "learned": 5}):
        with pytest.raises(UsageError, match="width is a multiple of 8, and t is below learned"):
            BackInTimeNet(**wrong)
    with pytest.raises(UsageError, match="side = 36"):
        CandidateInput(36)
