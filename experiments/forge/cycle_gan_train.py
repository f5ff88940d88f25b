"""Train the two networks of the attacks cycle-gan-inject and cycle-gan-remove.

    python experiments/forge/cycle_gan_train.py --data DIR --run runs/cycle-gan --minutes 11

DIR holds ct-authentic/ (see `tamperscope.datasets.ct_authentic`); patients of the part "train" of
experiments/ct_local/split.json only. Interrupted, the same command goes on. At the end it writes cycle-gan-MODE.onnx
and its Card cycle-gan-MODE.json for both modes into --out, the package's own folder by default.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
import training_options

from tamperscope.attacks.cycle_gan import NODULE_MM
from tamperscope.datasets import ct_authentic, leaks, manifest
from tamperscope.records import JSON
from tamperscope.train import lung_cubes
from tamperscope.train.cycle_gan import STEPS, CycleGanLearner, Settings, examples
from tamperscope.train.publish import publish
from tamperscope.train.run import Budget, fit

SPLIT = Path(__file__).parents[1] / "ct_local" / "split.json"
WAYS = {"inject": "healthy lung to lung with a nodule", "remove": "lung with a nodule to healthy lung"}


def main() -> None:
    options = training_options.read(__doc__, steps=STEPS, batch=Settings().batch)
    torch.set_num_threads(options.threads)
    entries = ct_authentic.entries(options.data / "ct-authentic")
    parts = manifest.read_split(SPLIT, entries)
    leaks.check(manifest.placed(entries, parts))
    chosen = [entry for entry in entries if parts[entry.patient] == "train"]
    sources = lung_cubes.sources(ct_authentic.volumes(chosen))
    settings = Settings(batch=options.batch, steps=options.steps, seed=options.seed)
    learner = CycleGanLearner(lung_cubes.LungCubes(sources, NODULE_MM, options.seed), settings)
    budget = Budget(options.steps, options.minutes, seed=options.seed)
    done = fit(learner, budget, options.run, asdict(settings), say=print)
    training = {**lung_cubes.facts(chosen), "settings": asdict(settings), **asdict(done)}
    for mode, way in WAYS.items():
        facts: dict[str, JSON] = {
            "what": f"Generator of a CycleGAN, {way}, inside a mask; 16 slices of 2 mm as channels and 32 x 32 pixels "
            "of 1 mm.",
            "licence": "Apache-2.0 (weights)",
            "training": training,
        }
        difference = publish(learner.averages[mode], f"cycle-gan-{mode}", options.out, examples(), facts)
        print(f"{options.out / f'cycle-gan-{mode}.onnx'}: differs from torch by {difference:.1e}")


if __name__ == "__main__":
    main()
