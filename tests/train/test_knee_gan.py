from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from films import FILMS  # noqa: E402
from tamperscope import phantom  # noqa: E402
from tamperscope.attacks.knee_gan import KneeGan  # noqa: E402
from tamperscope.attacks.network import Network  # noqa: E402
from tamperscope.train.knee_gan import KneeGanLearner, Settings, examples  # noqa: E402
from tamperscope.train.publish import publish  # noqa: E402
from tamperscope.train.run import Budget, fit  # noqa: E402

SETTINGS = Settings(width=4, fitted=300, batch=4, rate=2e-3, steps=30, average=0.5, seed=3)


def run(folder, *stops: int):
    """A learner that was interrupted at each of the stops but the last."""
    for steps in stops:
        learner = KneeGanLearner(FILMS, SETTINGS)
        fit(learner, Budget(steps, save_every=10, seed=3), folder, {})
    return learner


def weights(learner):
    return torch.cat([value.flatten() for net in learner.parts.values() for value in net.state_dict().values()])


def test_its_paintings_become_like_their_originals():
    learner = KneeGanLearner(FILMS, SETTINGS)
    losses = [learner.step(number, np.random.default_rng([3, number])) for number in range(30)]
    first, last = (
        {name: np.mean([one[name] for one in part]) for name in losses[0]} for part in (losses[:5], losses[-5:])
    )
    assert last["coarse"] < 0.8 * first["coarse"]
    assert last["texture"] < 0.8 * first["texture"]


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path):
    whole, parts = run(tmp_path / "a", 2), run(tmp_path / "b", 1, 2)
    assert torch.equal(weights(whole), weights(parts))


def test_what_is_published_is_what_the_attack_runs(tmp_path):
    learner = run(tmp_path / "run", 2)
    assert publish(learner.average, "tiny", tmp_path, examples(), {"what": "a trial"}) < 0.03
    film = replace(phantom.radiograph((128, 96)), header={})
    attack = KneeGan(network=Network("tiny", tmp_path))
    forgery = attack.apply(film, attack.sample(film, np.random.default_rng(0)))
    assert forgery.mask.mean() > 0.9
    assert forgery.volume.voxels.std() > 0.1 * film.voxels.std()
