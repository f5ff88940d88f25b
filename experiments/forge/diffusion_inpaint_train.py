"""Train the network of the attacks diffusion-inpaint-inject and diffusion-inpaint-remove.

    python experiments/forge/diffusion_inpaint_train.py --data DIR --run runs/diffusion-inpaint --minutes 11

DIR holds ct-authentic/ (see `tamperscope.datasets.ct_authentic`); patients of the part "train" of
experiments/ct_local/split.json only. Interrupted, the same command goes on. At the end it writes diffusion-inpaint.onnx
and its Card diffusion-inpaint.json into --out, the package's own folder by default.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
import training_options

from tamperscope.attacks.diffusion_inpaint import NODULE_MM, TRAINED_STEPS
from tamperscope.datasets import ct_authentic, leaks, manifest
from tamperscope.records import JSON
from tamperscope.train import lung_cubes
from tamperscope.train.diffusion import STEPS, DiffusionLearner, Settings, examples
from tamperscope.train.publish import publish
from tamperscope.train.run import Budget, fit

SPLIT = Path(__file__).parents[1] / "ct_local" / "split.json"


def main() -> None:
    options = training_options.read(__doc__, steps=STEPS, batch=Settings().batch)
    torch.set_num_threads(options.threads)
    entries = ct_authentic.entries(options.data / "ct-authentic")
    parts = manifest.read_split(SPLIT, entries)
    leaks.check(manifest.placed(entries, parts))
    chosen = [entry for entry in entries if parts[entry.patient] == "train"]
    sources = lung_cubes.sources(ct_authentic.volumes(chosen))
    settings = Settings(batch=options.batch, steps=options.steps, seed=options.seed)
    learner = DiffusionLearner(lung_cubes.LungCubes(sources, NODULE_MM, options.seed), settings)
    budget = Budget(options.steps, options.minutes, seed=options.seed)
    done = fit(learner, budget, options.run, asdict(settings), say=print)
    facts: dict[str, JSON] = {
        "what": "Denoising U-Net that fills a hole in a cube of lung, 16 slices of 2 mm as channels and 32 x 32 pixels "
        f"of 1 mm, with a nodule or without; cosine schedule of {TRAINED_STEPS} steps, velocity.",
        "licence": "Apache-2.0 (weights)",
        "training": {**lung_cubes.facts(chosen), "settings": asdict(settings), **asdict(done)},
    }
    difference = publish(learner.average, "diffusion-inpaint", options.out, examples(), facts)
    print(f"{options.out / 'diffusion-inpaint.onnx'}: differs from torch by {difference:.1e}")


if __name__ == "__main__":
    main()
