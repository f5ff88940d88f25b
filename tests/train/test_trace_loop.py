from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope.errors import WeightsError  # noqa: E402
from tamperscope.models import trace_net  # noqa: E402
from tamperscope.train.crops import Crops, Pair, Recipe  # noqa: E402
from tamperscope.train.trace_loop import HardCrops, Schedule, fit, judge  # noqa: E402

SCHEDULE = Schedule(steps=4, pairs=2, rate=5e-3, warm_up=2, average=0.5, save_every=2, seed=3)


class Fixed(Crops):
    """The same two pairs for ever."""

    def __init__(self, pairs: list[Pair]) -> None:
        self.pairs, self.recipe, self.seed = pairs, Recipe(), 0

    def __iter__(self):
        while True:
            yield from self.pairs


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Noise with a quiet square in it, which is the forgery."""
    rng = np.random.default_rng(0)
    made = []
    for corner in (8, 16):
        pristine = rng.standard_normal((3, 32, 32)).astype(np.float32)
        place = np.s_[corner : corner + 16, corner : corner + 16]
        target = np.zeros((32, 32), np.float32)
        target[place] = 1.0
        made.append(Pair(np.where(target > 0, 0.1 * pristine, pristine), pristine, target, f"square-{corner}", "P1"))
    return made


def net():
    torch.manual_seed(0)
    return trace_net(width=4)


def lines(run):
    return [json.loads(line) for line in (run / "record.jsonl").read_text(encoding="utf-8").splitlines()]


def same(one, two):
    return all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())


def test_it_learns_one_batch_by_heart(pairs, tmp_path):
    said = []
    schedule = replace(SCHEDULE, steps=30, save_every=5)
    learned = fit(net(), Fixed(pairs), pairs, schedule, tmp_path, workers=0, say=said.append)
    settings, *saves = lines(tmp_path)
    assert settings["settings"]["steps"] == 30
    assert settings["from"] == 0
    assert [line["step"] for line in saves] == [5, 10, 15, 20, 25, 30]
    assert saves[-1]["loss"] < 0.5 * saves[0]["loss"]
    assert saves[-1]["auroc"] == 1.0
    assert saves[-1]["square-8"] == 1.0
    assert len(said) == len(saves)
    assert judge(learned, pairs)["auroc"] == 1.0


def test_it_goes_on_from_its_checkpoint(pairs, tmp_path):
    first = net()
    average = fit(first, Fixed(pairs), [], SCHEDULE, tmp_path, workers=0)

    found = net()
    assert not same(found, first)
    assert same(fit(found, Fixed(pairs), [], SCHEDULE, tmp_path, workers=0), average), "nothing is left to do"
    assert same(found, first)

    longer = replace(SCHEDULE, steps=7)
    fit(found, Fixed(pairs), [], longer, tmp_path, workers=0)
    assert not same(found, first)
    records = lines(tmp_path)
    assert [line["from"] for line in records if "from" in line] == [0, 4, 4]
    assert [line["step"] for line in records if "step" in line] == [2, 4, 6, 7]


class Always:
    """Instead of mined crops: the same one, which is remembered as it was drawn."""

    def __init__(self, crop: np.ndarray) -> None:
        self.crop, self.counts = crop, []

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        del rng
        self.counts.append(count)
        return np.repeat(self.crop[None], count, axis=0)


def test_mined_crops_are_learned_as_authentic(pairs, tmp_path):
    """What looks forged, a quiet square, and is mined: after it was learned, it scores lower than without."""
    schedule = replace(SCHEDULE, steps=20, mined=2)
    mined = Always(pairs[0].forged)
    learned = [
        fit(net(), Fixed(pairs), [], schedule, tmp_path / str(n), mined=one, workers=0)  # type: ignore[arg-type]
        for n, one in enumerate((None, mined))
    ]
    assert mined.counts == [2] * 20
    with torch.inference_mode():
        without, taught = (one.eval()(torch.from_numpy(pairs[0].forged[None])).max() for one in learned)
    assert taught < without


def test_the_same_seed_gives_the_same_weights(pairs, tmp_path):
    runs = [fit(net(), Fixed(pairs), [], SCHEDULE, tmp_path / name, workers=0) for name in ("a", "b")]
    assert same(*runs)


def test_the_checkpoint_of_another_network_is_refused(pairs, tmp_path):
    fit(net(), Fixed(pairs), [], replace(SCHEDULE, steps=1), tmp_path, workers=0)
    with pytest.raises(WeightsError, match=r"last\.safetensors holds another network"):
        fit(trace_net(width=5), Fixed(pairs), [], SCHEDULE, tmp_path, workers=0)


def test_judging_nothing_says_nothing():
    assert judge(net(), []) == {}


def test_the_authentic_crops_that_score_highest_come_again():
    hard = HardCrops(share=4, kept=3, random=torch.Generator().manual_seed(0))
    seen = torch.arange(8.0)[:, None, None, None].expand(8, 3, 8, 8)
    target = torch.ones(8, 1, 2, 2)
    assert hard.join(seen, target)[0] is seen, "nothing is known yet"
    hard.keep(seen, seen[:, :1], slice(4, 8))
    joined, targets = hard.join(seen, target)
    assert sorted(joined[8:, 0, 0, 0].tolist()) == [6.0, 7.0]
    assert targets[8:].eq(0).all()
    hard.keep(seen, -seen[:, :1], slice(4, 8))
    assert len(hard.crops) == 3, "the oldest goes"
