from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope import phantom  # noqa: E402
from tamperscope.attacks.cycle_gan import NODULE_MM, CycleGan  # noqa: E402
from tamperscope.attacks.network import Network  # noqa: E402
from tamperscope.train.cycle_gan import CycleGanLearner, Settings, examples, translate  # noqa: E402
from tamperscope.train.lung_cubes import LungCubes, sources  # noqa: E402
from tamperscope.train.publish import publish  # noqa: E402
from tamperscope.train.run import Budget, fit  # noqa: E402

SETTINGS = Settings(width=8, depth=1, batch=4, rate=2e-3, steps=40, average=0.5, seed=3)
CHEST = phantom.chest((24, 96, 96), (2.5, 3.6, 3.6), np.random.default_rng(1))


@pytest.fixture(scope="module")
def cubes():
    return LungCubes(sources([("a", CHEST)]), NODULE_MM, seed=1)


def run(cubes, folder, *stops: int):
    """A learner that was interrupted at each of the stops but the last."""
    for steps in stops:
        learner = CycleGanLearner(cubes, SETTINGS)
        fit(learner, Budget(steps, save_every=10, seed=3), folder, {})
    return learner


def weights(learner):
    return torch.cat([value.flatten() for net in learner.parts.values() for value in net.state_dict().values()])


def test_the_discriminators_learn_and_the_generators_answer(cubes):
    learner = CycleGanLearner(cubes, SETTINGS)
    losses = [learner.step(number, np.random.default_rng([3, number])) for number in range(40)]
    assert np.mean([one["judge_nodule"] for one in losses[15:25]]) < 0.9 * losses[0]["judge_nodule"]
    domain = learner.draw(np.random.default_rng(0), grown=False)
    with torch.inference_mode():
        grown = translate(learner.inject, domain)
    inside = domain.mask > 0.9
    assert (grown - domain.cube)[inside].abs().mean() > 1e-3
    torch.testing.assert_close(grown[domain.mask < 1e-6], domain.cube[domain.mask < 1e-6], atol=1e-5, rtol=0.0)


def test_an_interrupted_run_ends_with_the_same_weights(cubes, tmp_path):
    whole, parts = run(cubes, tmp_path / "a", 4), run(cubes, tmp_path / "b", 2, 4)
    assert torch.equal(weights(whole), weights(parts))


@pytest.mark.parametrize("mode", ["inject", "remove"])
def test_what_is_published_is_what_the_attack_runs(cubes, tmp_path, mode):
    learner = run(cubes, tmp_path / "run", 2)
    assert publish(learner.averages[mode], "tiny", tmp_path, examples(), {"what": "a trial"}) < 0.01
    attack = CycleGan(mode, Network("tiny", tmp_path))
    forgery = attack.apply(CHEST, attack.sample(CHEST, np.random.default_rng(0), (12, 48, 30)))
    assert not forgery.mask.all()
