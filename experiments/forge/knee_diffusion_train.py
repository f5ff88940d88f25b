"""Train the two networks of the attack knee-diffusion: the denoiser, then the decoder.

    python experiments/forge/knee_diffusion_train.py --data DIR --run runs/knee-diffusion --minutes 14

DIR holds knee-authentic/ (see `tamperscope.train.knees`, whose split says which patients are used). Interrupted, the
same command goes on. At the end of each it writes knee-diffusion.onnx and knee-diffusion-decoder.onnx, each with its
Card, into --out, the package's own folder by default. For a trial on any machine: --steps 20 --width 8 --out DIR.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

import torch
import training_options

from tamperscope.datasets import leaks
from tamperscope.records import JSON
from tamperscope.train import knee_diffusion as training
from tamperscope.train import knees
from tamperscope.train.knees import Knees
from tamperscope.train.publish import publish
from tamperscope.train.run import Budget, fit

DENOISER_SHARE = 0.65
"""Of the minutes."""


def main() -> None:
    options = training_options.read(__doc__, steps=None, width=training.DenoiserSettings().width)
    torch.set_num_threads(options.threads)
    leaks.check(knees.divided(options.data / "knee-authentic"))
    films = knees.training(options.data / "knee-authentic")
    denoiser(films, options)
    decoder(films, options)


def denoiser(films: Knees, options: argparse.Namespace) -> None:
    steps = options.steps or training.DENOISER_STEPS
    settings = training.DenoiserSettings(width=options.width, steps=steps, seed=options.seed)
    learner = training.DenoiserLearner(films, settings)
    budget = Budget(steps, options.minutes and options.minutes * DENOISER_SHARE, seed=options.seed)
    done = fit(learner, budget, options.run / "denoiser", asdict(settings), say=print)
    facts: dict[str, JSON] = {
        "what": "Denoiser of a diffusion model: knee radiographs of 56 x 56 pixels under noise, time and the grade of "
        "Kellgren and Lawrence (5: not told) to the picture without noise.",
        "intended_use": knees.INTENDED_USE,
        "licence": knees.LICENCE,
        "training": {**films.facts, "settings": asdict(settings), **asdict(done)},
    }
    difference = publish(learner.average, "knee-diffusion", options.out, training.denoiser_examples(), facts)
    print(f"{options.out / 'knee-diffusion.onnx'}: differs from torch by {difference:.1e}")


def decoder(films: Knees, options: argparse.Namespace) -> None:
    steps = options.steps or training.DECODER_STEPS
    settings = training.DecoderSettings(width=options.width, steps=steps, seed=options.seed)
    learner = training.DecoderLearner(films, settings)
    budget = Budget(steps, options.minutes and options.minutes * (1.0 - DENOISER_SHARE), seed=options.seed)
    done = fit(learner, budget, options.run / "decoder", asdict(settings), say=print)
    facts: dict[str, JSON] = {
        "what": "Decoder of a diffusion model: knee radiographs of 56 x 56 pixels and grain to 224 x 224 pixels.",
        "intended_use": knees.INTENDED_USE,
        "licence": knees.LICENCE,
        "training": {**films.facts, "settings": asdict(settings), **asdict(done)},
    }
    difference = publish(learner.average, "knee-diffusion-decoder", options.out, training.decoder_examples(), facts)
    print(f"{options.out / 'knee-diffusion-decoder.onnx'}: differs from torch by {difference:.1e}")


if __name__ == "__main__":
    main()
