from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from films import FILMS  # noqa: E402
from tamperscope import phantom  # noqa: E402
from tamperscope.attacks.jekyll import Jekyll  # noqa: E402
from tamperscope.attacks.network import Network  # noqa: E402
from tamperscope.models.jekyll import JOINT, REACH  # noqa: E402
from tamperscope.train.jekyll import JekyllLearner, Settings, examples  # noqa: E402
from tamperscope.train.publish import publish  # noqa: E402
from tamperscope.train.run import Budget, fit  # noqa: E402

SETTINGS = Settings(width=4, batch=2, rate=2e-3, critic_rate=2e-3, steps=60, patience=20, average=0.5, seed=3)


def run(folder, *stops: int):
    """A learner that was interrupted at each of the stops but the last."""
    for steps in stops:
        learner = JekyllLearner(FILMS, SETTINGS)
        fit(learner, Budget(steps, save_every=10, seed=3), folder, {})
    return learner


def weights(learner):
    return torch.cat([value.flatten() for net in learner.parts.values() for value in net.state_dict().values()])


def test_the_critic_tells_the_classes_and_the_translator_moves_towards_the_other():
    """Knees of grades 3 and 4 have a narrow joint: to become diseased, the gap must become brighter."""
    learner = JekyllLearner(FILMS, SETTINGS)
    losses = [learner.step(number, np.random.default_rng([3, number])) for number in range(60)]
    assert np.mean([one["critic"] for one in losses[-20:]]) < losses[0]["critic"]
    healthy = torch.from_numpy(FILMS.pictures[FILMS.grades < 2][:4])[:, None]
    with torch.inference_mode():
        change = learner.average(healthy, torch.ones(4, dtype=torch.long))
    assert change.abs().max() > 0.0
    assert (change[:, :, : JOINT - REACH[1]] == 0.0).all()


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path):
    whole, parts = run(tmp_path / "a", 2), run(tmp_path / "b", 1, 2)
    assert torch.equal(weights(whole), weights(parts))


def test_what_is_published_is_what_the_attack_runs(tmp_path):
    learner = run(tmp_path / "run", 2)
    torch.nn.init.normal_(learner.average.difference.weight, std=0.3)
    assert publish(learner.average, "tiny", tmp_path, examples(), {"what": "a trial"}) < 0.03
    film = replace(phantom.radiograph((300, 240)), header={})
    attack = Jekyll(network=Network("tiny", tmp_path))
    forgery = attack.apply(film, attack.sample(film, np.random.default_rng(0)))
    assert forgery.mask.any()
    assert not forgery.mask[:, :30].any(), "far from the joint, and outside the square"
