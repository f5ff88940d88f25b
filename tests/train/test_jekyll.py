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
from tamperscope.train.adversarial import descend  # noqa: E402
from tamperscope.train.jekyll import JekyllLearner, Settings, examples  # noqa: E402
from tamperscope.train.publish import publish  # noqa: E402
from tamperscope.train.run import Budget, fit  # noqa: E402

SETTINGS = Settings(
    width=4, batch=2, rate=2e-3, critic_rate=2e-3, steps=90, patience=30, restraint=30, average=0.5, seed=3
)


def run(folder, *stops: int):
    """A learner that was interrupted at each of the stops but the last."""
    for steps in stops:
        learner = JekyllLearner(FILMS, SETTINGS)
        fit(learner, Budget(steps, save_every=10, seed=3), folder, {})
    return learner


def weights(learner):
    return torch.cat([value.flatten() for net in learner.parts.values() for value in net.state_dict().values()])


def test_first_the_critic_learns_alone_and_then_both():
    learner = JekyllLearner(FILMS, SETTINGS)
    losses = [learner.step(number, np.random.default_rng([3, number])) for number in range(40)]
    assert all(set(one) == {"critic"} for one in losses[:30])
    assert all({"pleasing", "cycle", "identity", "change", "touched", "critic"} == set(one) for one in losses[30:])
    assert np.isfinite([list(one.values()) for one in losses[30:]]).all()
    assert losses[30]["change"] < 0.05, "it starts from nearly nothing"


def test_it_can_learn_to_fill_the_joint_and_leaves_what_is_far_from_it():
    """Against a critic that likes bright joints: what pleases it is found, and only where a change is possible."""
    learner = JekyllLearner(FILMS, SETTINGS)
    healthy = torch.from_numpy(FILMS.pictures[FILMS.grades < 2][:4])[:, None]
    wanted = torch.ones(4, dtype=torch.long)
    for _ in range(25):
        brighter = learner.translator(healthy, wanted)
        descend(learner.optimisers["translator"], -brighter[:, :, JOINT - 8 : JOINT + 8].mean())
    with torch.inference_mode():
        change = learner.translator(healthy, wanted)
    assert change[:, :, JOINT - 8 : JOINT + 8].mean() > 0.1
    assert (change[:, :, : JOINT - REACH[1]] == 0.0).all()


def test_no_step_of_the_critic_alone_moves_the_translator():
    learner = JekyllLearner(FILMS, SETTINGS)
    before = torch.cat([value.flatten() for value in learner.translator.state_dict().values()])
    learner.step(29, np.random.default_rng(0))
    assert torch.equal(before, torch.cat([value.flatten() for value in learner.translator.state_dict().values()]))
    learner.step(30, np.random.default_rng(0))
    assert not torch.equal(before, torch.cat([value.flatten() for value in learner.translator.state_dict().values()]))


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path):
    whole, parts = run(tmp_path / "a", 32), run(tmp_path / "b", 29, 31, 32)
    assert torch.equal(weights(whole), weights(parts))


def test_what_is_published_is_what_the_attack_runs(tmp_path):
    learner = run(tmp_path / "run", 2)
    torch.nn.init.normal_(learner.average.last.weight, std=0.3)
    assert publish(learner.average, "tiny", tmp_path, examples(), {"what": "a trial"}) < 0.03
    film = replace(phantom.radiograph((300, 240)), header={})
    attack = Jekyll(network=Network("tiny", tmp_path))
    forgery = attack.apply(film, attack.sample(film, np.random.default_rng(0)))
    assert forgery.mask.any()
    assert not forgery.mask[:, :30].any(), "far from the joint, and outside the square"
