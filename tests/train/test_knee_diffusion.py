from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from films import FILMS  # noqa: E402
from tamperscope import phantom  # noqa: E402
from tamperscope.attacks.knee_diffusion import KneeDiffusion  # noqa: E402
from tamperscope.attacks.network import Network  # noqa: E402
from tamperscope.train.knee_diffusion import (  # noqa: E402
    DecoderLearner,
    DecoderSettings,
    DenoiserLearner,
    DenoiserSettings,
    decoder_examples,
    denoiser_examples,
)
from tamperscope.train.knees import SIDE, Knees  # noqa: E402
from tamperscope.train.publish import publish  # noqa: E402
from tamperscope.train.run import Budget, fit  # noqa: E402

DENOISER = DenoiserSettings(width=8, fitted=300, batch=8, rate=4e-3, steps=1000, average=0.5, seed=3)
DECODER = DecoderSettings(width=4, batch=4, rate=2e-3, steps=30, average=0.5, seed=3)
KINDS = {"denoiser": (DenoiserLearner, DENOISER), "decoder": (DecoderLearner, DECODER)}


def run(kind, folder, *stops: int):
    """A learner that was interrupted at each of the stops but the last."""
    make, settings = KINDS[kind]
    for steps in stops:
        learner = make(FILMS, settings)
        fit(learner, Budget(steps, save_every=10, seed=3), folder, {})
    return learner


def weights(learner):
    return torch.cat([value.flatten() for net in learner.parts.values() for value in net.state_dict().values()])


def means(losses):
    return {name: np.mean([one[name] for one in losses]) for name in losses[0]}


def test_the_denoiser_becomes_better_than_the_best_linear_one():
    """Pictures of two values: to tell which is one decision a pixel, and no linear one."""
    rng = np.random.default_rng(0)
    smooth = [ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 14.0) for _ in range(40)]
    black_and_white = Knees(0.6 * np.sign(smooth).astype(np.float32), np.arange(40) % 5, {})
    learner = DenoiserLearner(black_and_white, DENOISER)
    losses = [learner.step(number, np.random.default_rng([3, number])) for number in range(60)]
    first, last = means(losses[:3]), means(losses[-10:])
    assert first["error"] > 0.95 * first["linear_error"]
    assert last["error"] < 0.85 * last["linear_error"]


def test_the_decoder_learns_the_texture():
    learner = DecoderLearner(FILMS, DECODER)
    losses = [learner.step(number, np.random.default_rng([3, number])) for number in range(30)]
    assert means(losses[-5:])["texture"] < 0.8 * means(losses[:5])["texture"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_run_ends_with_the_same_weights(kind, tmp_path):
    whole, parts = run(kind, tmp_path / "a", 2), run(kind, tmp_path / "b", 1, 2)
    assert torch.equal(weights(whole), weights(parts))


def test_what_is_published_is_what_the_attack_runs(tmp_path):
    for kind, examples in (("denoiser", denoiser_examples()), ("decoder", decoder_examples())):
        learner = run(kind, tmp_path / kind, 2)
        assert publish(learner.average, kind, tmp_path, examples, {"what": "a trial"}) < 0.03
    film = replace(phantom.radiograph((128, 96)), header={})
    attack = KneeDiffusion(network=Network("denoiser", tmp_path), decoder=Network("decoder", tmp_path))
    forgery = attack.apply(film, attack.sample(film, np.random.default_rng(0)))
    assert forgery.mask.mean() > 0.9
    assert forgery.volume.voxels.std() > 0.1 * film.voxels.std()
