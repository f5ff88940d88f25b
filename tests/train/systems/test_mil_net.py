from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

import natives  # noqa: E402
from tamperscope.errors import InputError, UsageError  # noqa: E402
from tamperscope.evaluate.systems import native  # noqa: E402
from tamperscope.train.native import Part, Spec  # noqa: E402
from tamperscope.train.options import BagInput, MilNet  # noqa: E402
from tamperscope.train.recipe import Recipe, Training  # noqa: E402
from tamperscope.train.systems.mil_net import MilStudent, build  # noqa: E402

TRAINING = Training(steps=60, batch=6, rate=1e-2, save_every=1000, validate=24)
INPUT = BagInput(16, 16, natives.WINDOW, slices=4, drawn=2, patches=64)
RECIPE = Recipe("tiny", "mil-net", MilNet(8, 16, 8, 0.0), INPUT, train=TRAINING)
BLIND = Spec(natives.WINDOW, 4, spread=0.0, masks=False)


def student(recipe: Recipe = RECIPE, depth: int = 1) -> MilStudent:
    return MilStudent(recipe, natives.part(0, spec=BLIND, depth=depth), natives.part(1, spec=BLIND, depth=depth))


@pytest.fixture(scope="module")
def taught() -> MilStudent:
    made = student()
    made.losses = natives.steps(made.classifier, 60)
    made.classifier.look(60)
    made.found = made.model()
    return made


def test_it_learns_from_the_labels_of_series_alone_and_its_map_points_at_the_place(taught):
    assert np.mean(taught.losses[-10:]) < 0.6 * np.mean(taught.losses[:10])
    assert float(taught.classifier.standing.best) > 0.9
    assert taught.found.facts["difference_to_torch"] < 1e-4
    volume, mask = natives.volume(7001, forged=True)
    found = taught.found.system.answer(volume)
    assert found.highest > taught.found.system.answer(natives.volume(7001, forged=False)[0]).highest
    inside, outside = found.heatmap[mask].mean(), found.heatmap[0, 12:-12, 12:-12][~mask[0, 12:-12, 12:-12]].mean()
    assert inside > outside


def test_the_files_answer_as_torch_does_on_a_whole_volume(taught):
    volume, _ = natives.volume(9, forged=True, depth=2)
    found, net, grid = taught.found.system.answer(volume), taught.classifier.best, taught.grid
    unit = ((np.clip(volume.voxels, -1000, 400) + 1000) / 1400).astype(np.float32)
    corners = grid.corners(native.inside(volume.voxels[0], "CT"), volume.shape[1:])
    patches = torch.from_numpy(np.concatenate([grid.cut(plane, corners) for plane in unit]))[None]
    with torch.inference_mode():
        logits, _ = net(patches, torch.ones(patches.shape[:2], dtype=torch.bool))
        exists = torch.ones(patches.shape[:2], dtype=torch.bool)
        exists[0, len(corners) :] = False
        first, _ = net(patches, exists)
    assert found.score == pytest.approx(float(logits), abs=1e-3)
    assert found.slices[0] == pytest.approx(float(first), abs=1e-3)


def test_masks_teach_nothing(monkeypatch):
    """Cases that differ in their masks alone leave the same weights."""
    found = []
    for known in (True, False):
        with monkeypatch.context() as patch:
            if not known:
                plain = natives.case
                patch.setattr(natives, "case", lambda *a, plain=plain, **k: replace(plain(*a, **k), mask=None))
            made = student(depth=6)
        natives.steps(made.classifier, 1)
        found.append(torch.cat([value.flatten().double() for value in made.classifier.net.state_dict().values()]))
    assert torch.equal(*found)


def test_a_bag_holds_no_more_than_asked_for():
    made = student(replace(RECIPE, input=replace(INPUT, drawn=3, patches=20)), depth=6)
    series = next(one for one in made.taught.series if one.forged)
    assert len(series.planes) == 4
    bag = made.bag(series, np.random.default_rng(0))
    assert (bag.forged, bag.slices, bag.patches.shape) == (True, (6, 6, 6), (18, 1, 16, 16))
    single = student().taught.series[0]
    assert made.bag(single, np.random.default_rng(0)).slices == (20,)
    assert made.shown == 24
    assert [one.forged for one in made.looked] == [False] * 12 + [True] * 12


def test_a_bag_is_judged_alike_alone_and_beside_others():
    made = student(depth=6)
    net = made.classifier.net.eval()
    with torch.inference_mode():
        together = made._forward(net, made.looked[:3])
        alone = torch.cat([made._forward(net, [one]) for one in made.looked[:3]])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_one_class_only_is_told():
    only = Part(tuple(one for one in natives.part(0, spec=BLIND).series if one.forged))
    with pytest.raises(InputError, match="the part calibrate holds no authentic series"):
        MilStudent(RECIPE, natives.part(0, spec=BLIND), only)


def test_settings_that_cannot_be_are_told():
    with pytest.raises(UsageError, match="width = 12"):
        build(replace(RECIPE, net=MilNet(12)))
    for wrong in ({"patch": 20}, {"stride": 6}, {"stride": 128}):
        with pytest.raises(UsageError, match="patch is a multiple of 8"):
            BagInput(**wrong)
    with pytest.raises(UsageError, match="drawn = 40"):
        BagInput(drawn=40)
