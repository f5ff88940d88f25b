from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope import phantom  # noqa: E402
from tamperscope.attacks.diffusion_inpaint import NODULE_MM, DiffusionInpaint  # noqa: E402
from tamperscope.attacks.network import Network  # noqa: E402
from tamperscope.train.diffusion import DiffusionLearner, Settings, examples  # noqa: E402
from tamperscope.train.lung_cubes import LungCubes, sources  # noqa: E402
from tamperscope.train.publish import publish  # noqa: E402
from tamperscope.train.run import Budget, fit  # noqa: E402

SETTINGS = Settings(widths=(8, 16, 16), batch=4, rate=5e-3, steps=60, average=0.5, seed=3)
CHEST = phantom.chest((24, 96, 96), (2.5, 3.6, 3.6), np.random.default_rng(1))


@pytest.fixture(scope="module")
def cubes():
    return LungCubes(sources([("a", CHEST)]), NODULE_MM, seed=1)


def run(cubes, folder, *stops: int):
    """A learner that was interrupted at each of the stops but the last."""
    for steps in stops:
        learner = DiffusionLearner(cubes, SETTINGS)
        fit(learner, Budget(steps, save_every=10, seed=3), folder, {})
    return learner


def weights(net):
    return torch.cat([value.flatten() for value in net.state_dict().values()])


def test_the_loss_falls(cubes):
    learner = DiffusionLearner(cubes, SETTINGS)
    losses = [learner.step(number, np.random.default_rng([3, number]))["inside"] for number in range(60)]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])


def test_an_interrupted_run_ends_with_the_same_weights(cubes, tmp_path):
    whole, parts = run(cubes, tmp_path / "a", 4), run(cubes, tmp_path / "b", 2, 4)
    assert torch.equal(weights(whole.net), weights(parts.net))
    assert torch.equal(weights(whole.average), weights(parts.average))


def test_half_of_the_cubes_have_a_nodule_and_none_is_outside_of_its_range(cubes):
    batch = DiffusionLearner(cubes, SETTINGS).draw(np.random.default_rng(0))
    assert batch.clean.shape == batch.hole.shape == batch.noise.shape == (4, 16, 32, 32)
    assert batch.clean.abs().max() <= 1.0
    assert set(batch.hole.unique().tolist()) == {0.0, 1.0}
    assert (batch.nodule > 0).sum() == 2
    assert batch.nodule.max() <= NODULE_MM[1] / 10.0
    assert 0 <= batch.t.min() <= batch.t.max() < 1000


def test_what_is_published_is_what_the_attack_runs(cubes, tmp_path):
    learner = run(cubes, tmp_path / "run", 2)
    assert publish(learner.average, "tiny", tmp_path, examples(), {"what": "a trial"}) < 0.01
    attack = DiffusionInpaint("inject", Network("tiny", tmp_path))
    params = attack.sample(CHEST, np.random.default_rng(0), (12, 48, 30))
    forgery = attack.apply(CHEST, params | {"steps": 10})
    assert forgery.mask.any()
    assert not forgery.mask.all()
