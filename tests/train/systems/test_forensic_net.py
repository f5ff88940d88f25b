from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

import natives  # noqa: E402
from tamperscope.errors import InputError, UsageError  # noqa: E402
from tamperscope.evaluate.systems.forensic_net import ForensicMaps  # noqa: E402
from tamperscope.train.native import Part, Spec, kept  # noqa: E402
from tamperscope.train.options import CropInput, ForensicNet  # noqa: E402
from tamperscope.train.recipe import Recipe, Training  # noqa: E402
from tamperscope.train.systems.forensic_net import Crops, ForensicStudent, target  # noqa: E402

TRAINING = Training(steps=60, batch=8, rate=5e-3, save_every=1000, validate=16)
RECIPE = Recipe("tiny", "forensic-net", ForensicNet(4), CropInput(48, natives.WINDOW, 4), train=TRAINING)


def student(recipe: Recipe = RECIPE) -> ForensicStudent:
    return ForensicStudent(recipe, natives.part(0), natives.part(1))


@pytest.fixture(scope="module")
def taught() -> ForensicStudent:
    made = student()
    made.before, made.losses = made.classifier.look(0), natives.steps(made.classifier, 60)
    made.classifier.look(60)
    made.found = made.model()
    return made


def test_it_learns_and_its_map_points_at_the_place(taught):
    assert np.mean(taught.losses[-10:]) < 0.6 * np.mean(taught.losses[:10])
    assert float(taught.classifier.standing.best) > max(0.9, taught.before)
    model = taught.found
    assert isinstance(model.system, ForensicMaps)
    assert model.facts["difference_to_torch"] < 1e-4
    for seed in (7001, 7002):
        volume, mask = natives.volume(seed, forged=True)
        found = model.system.answer(volume)
        assert mask[np.unravel_index(found.heatmap.argmax(), mask.shape)]
        assert found.highest > model.system.answer(natives.volume(seed, forged=False)[0]).highest


def test_the_file_answers_as_torch_does_on_a_whole_slice(taught):
    system, net = taught.found.system, taught.classifier.best
    plane = natives.volume(9, forged=True)[0].voxels[0, :, :70]
    padded = np.pad((np.clip(plane, -1000, 400) + 1000) / 1400, ((0, 0), (0, 10)), mode="edge")
    with torch.inference_mode():
        expected = net(torch.from_numpy(padded[None, None]))[0][0, 0, :, :18].numpy()
    np.testing.assert_allclose(system.map(plane, "CT"), expected, atol=1e-3)


def test_half_of_the_crops_are_forged_and_some_of_the_others_are_their_twins():
    crops = Crops(natives.part(0), "train", 32)
    values, changed = crops.draw(np.random.default_rng(0), 40)
    assert values.shape == changed.shape == (40, 1, 32, 32)
    assert (values.dtype, values.min() >= 0.0, values.max() <= 1.0) == (np.float32, True, True)
    truths = changed.any(axis=(1, 2, 3))
    assert truths.tolist() == [False, True] * 20
    again = crops.draw(np.random.default_rng(0), 40)
    assert np.array_equal(again[0], values)
    assert len({one.tobytes() for one in changed[truths]}) > 10, "the place varies"


def test_without_twins_authentic_crops_lie_anywhere():
    forged = [one for one in natives.part(0).series if one.forged]
    others = [one for one in natives.part(5).series if not one.forged]
    _, changed = Crops(Part((*forged, *others)), "train", 32).draw(np.random.default_rng(0), 20)
    assert changed.any(axis=(1, 2, 3)).sum() == 10


def test_a_cell_is_forged_from_four_changed_pixels_on():
    changed = torch.zeros(1, 1, 8, 8)
    changed[0, 0, 0, :3] = 1.0
    changed[0, 0, 4:6, 4:6] = 1.0
    assert target(changed)[0, 0].tolist() == [[0.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize("forged", [True, False])
def test_a_part_without_a_class_or_without_masks_is_told(forged):
    only = Part(tuple(one for one in natives.part(0).series if one.forged is forged))
    with pytest.raises(InputError, match=f"the part calibrate holds no {'authentic' if forged else 'forged'} slice"):
        ForensicStudent(RECIPE, natives.part(0), only)
    blind = kept(natives.case(1, forged=True), Spec(natives.WINDOW, 4, masks=False))
    with pytest.raises(InputError, match=r"part train holds no forged slice.*series with masks"):
        ForensicStudent(RECIPE, Part((blind, kept(natives.case(1, forged=False), Spec(natives.WINDOW, 4)))), only)


def test_a_side_that_the_network_cannot_take_is_told():
    with pytest.raises(UsageError, match=r"side = 40.*in steps of 16"):
        student(replace(RECIPE, input=CropInput(40)))


def test_the_same_step_ends_alike():
    found = []
    for _ in range(2):
        made = student().classifier
        natives.steps(made, 2)
        found.append(torch.cat([value.flatten().double() for value in made.net.state_dict().values()]))
    assert torch.equal(*found)
