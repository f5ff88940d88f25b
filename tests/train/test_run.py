from __future__ import annotations

import json
import time
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope.errors import WeightsError  # noqa: E402
from tamperscope.train.run import Budget, fit, follow  # noqa: E402

BUDGET = Budget(steps=6, save_every=2, seed=5)


class Line:
    """Learns y = 2 x, with a norm, so that there are buffers too."""

    def __init__(self, width: int = 3) -> None:
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(1, width), torch.nn.BatchNorm1d(width), torch.nn.Linear(width, 1)
        )
        self.average = deepcopy(self.net).requires_grad_(False)
        self.parts = {"net": self.net, "average": self.average}
        self.optimisers = {"net": torch.optim.Adam(self.net.parameters(), lr=0.05)}
        self.seen: list[int] = []

    def step(self, number, rng):
        self.seen.append(number)
        x = torch.from_numpy(rng.standard_normal((16, 1), dtype=np.float32))
        x = (x - x.mean()) / x.std()
        loss = torch.nn.functional.mse_loss(self.net(x), 2.0 * x)
        self.optimisers["net"].zero_grad()
        loss.backward()
        self.optimisers["net"].step()
        follow(self.average, self.net, 0.9, number)
        return {"loss": loss.item()}


def weights(learner):
    return torch.cat(
        [value.flatten().double() for net in learner.parts.values() for value in net.state_dict().values()]
    )


def lines(folder):
    return [json.loads(line) for line in (folder / "record.jsonl").read_text(encoding="utf-8").splitlines()]


def test_it_learns_and_keeps_a_record(tmp_path):
    said, learner = [], Line()
    done = fit(learner, replace(BUDGET, steps=60, save_every=20), tmp_path, {"rate": 0.05}, say=said.append)
    settings, *saves = lines(tmp_path)
    assert done.step == 60
    assert settings["settings"] == {"rate": 0.05}
    assert settings["budget"]["steps"] == 60
    assert settings["from"] == 0
    assert [line["step"] for line in saves] == [20, 40, 60]
    assert saves[-1]["loss"] < 0.5 * saves[0]["loss"]
    assert saves[-1]["seconds"] == done.seconds > 0.0
    assert len(said) == 3


@pytest.mark.parametrize("stops", [(3, 6), (1, 2, 6), (6, 6)])
def test_an_interrupted_run_ends_with_the_same_weights(tmp_path, stops):
    whole = Line()
    fit(whole, BUDGET, tmp_path / "a", {})
    seen = []
    for steps in stops:
        resumed = Line()
        fit(resumed, replace(BUDGET, steps=steps), tmp_path / "b", {})
        seen += resumed.seen
    assert seen == whole.seen == list(range(6))
    assert torch.equal(weights(resumed), weights(whole))
    assert [line["from"] for line in lines(tmp_path / "b") if "from" in line] == [0, *stops[:-1]]


def test_another_seed_gives_other_weights(tmp_path):
    one, other = Line(), Line()
    fit(one, BUDGET, tmp_path / "a", {})
    fit(other, replace(BUDGET, seed=6), tmp_path / "b", {})
    assert not torch.equal(weights(one), weights(other))


def test_the_clock_ends_a_run_cleanly_and_counts_what_was_before(tmp_path):
    started = time.monotonic()
    done = fit(Line(), Budget(steps=10**9, minutes=0.005), tmp_path, {})
    assert time.monotonic() - started < 5.0
    assert 0.3 <= done.seconds < 5.0
    assert lines(tmp_path)[-1]["step"] == done.step > 0
    again = fit(Line(), Budget(steps=10**9, minutes=0.005), tmp_path, {})
    assert again == done, "no time is left"


def test_the_checkpoint_of_other_networks_is_refused(tmp_path):
    fit(Line(), BUDGET, tmp_path, {})
    with pytest.raises(WeightsError, match=r"last\.safetensors was made with other settings"):
        fit(Line(width=4), BUDGET, tmp_path, {})


def test_an_average_follows_shortly_at_first():
    net, average = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    with torch.no_grad():
        net.weight.fill_(1.0)
        average.weight.fill_(0.0)
    follow(average, net, 0.99, 0)
    assert average.weight.item() == pytest.approx(0.9)
    follow(average, net, 0.99, 10**6)
    assert average.weight.item() == pytest.approx(0.901)


def test_it_ends_after_the_checkpoint_at_which_it_is_told_to(tmp_path):
    learner = Line()
    done = fit(learner, BUDGET, tmp_path, {}, stop=lambda: len(learner.seen) >= 4)
    assert done.step == 4
    assert lines(tmp_path)[-1]["step"] == 4
    again = Line()
    assert fit(again, BUDGET, tmp_path, {}, stop=lambda: True) == done
    assert again.seen == []


def test_a_damaged_checkpoint_is_refused(tmp_path):
    fit(Line(), BUDGET, tmp_path, {})
    whole = (tmp_path / "last.safetensors").read_bytes()
    for damaged in (b"", whole[: len(whole) // 2]):
        (tmp_path / "last.safetensors").write_bytes(damaged)
        with pytest.raises(WeightsError, match=r"last\.safetensors is damaged"):
            fit(Line(), BUDGET, tmp_path, {})


def test_a_line_that_a_kill_tore_is_taken_away(tmp_path):
    fit(Line(), replace(BUDGET, steps=2), tmp_path, {})
    whole = lines(tmp_path)
    with (tmp_path / "record.jsonl").open("a") as file:
        file.write('{"step": 3, "seco')
    fit(Line(), BUDGET, tmp_path, {})
    assert lines(tmp_path)[: len(whole)] == whole
    assert lines(tmp_path)[len(whole)]["from"] == 2
