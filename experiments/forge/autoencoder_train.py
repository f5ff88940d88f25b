"""Train the four networks of the attacks autoencoder-region and autoencoder-whole, one a kind of up-sampling.

    python experiments/forge/autoencoder_train.py --data DIR --run runs/autoencoder --minutes 10

DIR holds ct-authentic/ (see `tamperscope.datasets.ct_authentic`; patients of the part "train" of
experiments/ct_local/split.json) and knee-authentic/ (see `tamperscope.train.knees`; the part "train" of its own
rotation). Interrupted, the same command goes on. At the end it writes autoencoder-KIND.onnx and its Card
autoencoder-KIND.json for every kind into --out, the package's own folder by default.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
import training_options

from tamperscope.attacks.autoencoder import UPSAMPLINGS
from tamperscope.datasets import ct_authentic, leaks, manifest
from tamperscope.records import JSON
from tamperscope.train import knees, lung_cubes, patches
from tamperscope.train.autoencoder import STEPS, AutoencoderLearner, Settings, examples, shapes
from tamperscope.train.publish import publish
from tamperscope.train.run import Budget, fit

SPLIT = Path(__file__).parents[1] / "ct_local" / "split.json"
CT_SHARE = 0.6
"""Of the patches; the rest is from radiographs."""


def main() -> None:
    options = training_options.read(__doc__, steps=STEPS, batch=Settings().batch)
    torch.set_num_threads(options.threads)
    entries = ct_authentic.entries(options.data / "ct-authentic")
    parts = manifest.read_split(SPLIT, entries)
    leaks.check([*manifest.placed(entries, parts), *knees.divided(options.data / "knee-authentic")])
    chosen = [entry for entry in entries if parts[entry.patient] == "train"]
    slices = patches.from_volumes(ct_authentic.volumes(chosen), CT_SHARE)
    films = knees.training(options.data / "knee-authentic")
    drawn = patches.Patches([*slices, *patches.from_pictures(films.pictures, 1.0 - CT_SHARE)])
    settings = Settings(batch=options.batch, steps=options.steps, seed=options.seed)
    learner = AutoencoderLearner(drawn, settings)
    budget = Budget(options.steps, options.minutes, seed=options.seed)
    done = fit(learner, budget, options.run, asdict(settings), say=print)
    ct = lung_cubes.facts(chosen, nodules=False)
    training = {"ct": ct, "knees": dict(films.facts), "settings": asdict(settings), **asdict(done)}
    for kind in UPSAMPLINGS:
        facts: dict[str, JSON] = {
            "what": f"Convolutional autoencoder of pictures, {settings.latent} numbers for 4 x 4 pixels, "
            f"up-sampling: {kind}.",
            "licence": "Apache-2.0 (weights)",
            "training": training,
        }
        difference = publish(learner.result(kind), f"autoencoder-{kind}", options.out, examples(), facts, shapes())
        print(f"{options.out / f'autoencoder-{kind}.onnx'}: differs from torch by {difference:.1e}")


if __name__ == "__main__":
    main()
