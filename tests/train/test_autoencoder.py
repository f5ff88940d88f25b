from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope import phantom  # noqa: E402
from tamperscope.attacks.autoencoder import UPSAMPLINGS, Autoencoder  # noqa: E402
from tamperscope.attacks.network import Network  # noqa: E402
from tamperscope.train.autoencoder import AutoencoderLearner, Settings, examples, shapes  # noqa: E402
from tamperscope.train.patches import Patches, from_volumes  # noqa: E402
from tamperscope.train.publish import publish  # noqa: E402
from tamperscope.train.run import Budget, fit  # noqa: E402

SETTINGS = Settings(width=8, latent=4, batch=4, rate=4e-3, steps=60, average=0.5, seed=3)
CHEST = phantom.chest((6, 96, 96), (2.5, 3.6, 3.6), np.random.default_rng(1))


@pytest.fixture(scope="module")
def patches():
    return Patches(from_volumes([("a", CHEST)], 1.0))


def run(patches, folder, *stops: int):
    """A learner that was interrupted at each of the stops but the last."""
    for steps in stops:
        learner = AutoencoderLearner(patches, SETTINGS)
        fit(learner, Budget(steps, save_every=10, seed=3), folder, {})
    return learner


def weights(learner):
    return torch.cat([value.flatten() for net in learner.parts.values() for value in net.state_dict().values()])


def test_every_decoder_learns(patches):
    learner = AutoencoderLearner(patches, SETTINGS)
    losses = [learner.step(number, np.random.default_rng([3, number])) for number in range(60)]
    for kind in UPSAMPLINGS:
        assert np.mean([one[kind] for one in losses[-10:]]) < 0.6 * losses[0][kind]


def test_an_interrupted_run_ends_with_the_same_weights(patches, tmp_path):
    whole, parts = run(patches, tmp_path / "a", 4), run(patches, tmp_path / "b", 2, 4)
    assert torch.equal(weights(whole), weights(parts))


@pytest.mark.parametrize("kind", ["bilinear", "shuffle"])
def test_what_is_published_is_what_the_attack_runs(patches, tmp_path, kind):
    learner = run(patches, tmp_path / "run", 2)
    publish(learner.result(kind), "tiny", tmp_path, examples(), {"what": "a trial"}, shapes())
    network = Network("tiny", tmp_path)
    attack = Autoencoder("whole", (network,) * len(UPSAMPLINGS))
    for volume in (CHEST, phantom.radiograph((90, 61))):
        params = {"upsampling": kind, "network": network.card["sha256"]}
        assert attack.apply(volume, params).mask.mean() > 0.5
