"""Train the network of the attack jekyll.

    python experiments/forge/jekyll_train.py --data DIR --run runs/jekyll --minutes 12

DIR holds knee-authentic/ (see `tamperscope.train.knees`, whose split says which patients are used). Interrupted, the
same command goes on. At the end it writes jekyll.onnx and its Card jekyll.json into --out, the package's own folder by
default. For a trial on any machine: --steps 20 --width 4 --out DIR.
"""

from __future__ import annotations

from dataclasses import asdict

import torch
import training_options

from tamperscope.datasets import leaks
from tamperscope.records import JSON
from tamperscope.train import knees
from tamperscope.train.jekyll import STEPS, JekyllLearner, Settings, examples
from tamperscope.train.publish import publish
from tamperscope.train.run import Budget, fit


def main() -> None:
    options = training_options.read(__doc__, steps=STEPS, width=Settings().width)
    torch.set_num_threads(options.threads)
    leaks.check(knees.divided(options.data / "knee-authentic"))
    films = knees.training(options.data / "knee-authentic")
    settings = Settings(width=options.width, steps=options.steps, seed=options.seed)
    learner = JekyllLearner(films, settings)
    budget = Budget(options.steps, options.minutes, seed=options.seed)
    done = fit(learner, budget, options.run, asdict(settings), say=print)
    facts: dict[str, JSON] = {
        "what": "Translator of knee radiographs of 224 x 224 pixels between healthy (grades 0 and 1 of Kellgren and "
        "Lawrence) and diseased (3 and 4): what to add, zero far from the joint.",
        "intended_use": knees.INTENDED_USE,
        "licence": knees.LICENCE,
        "training": {**films.facts, "settings": asdict(settings), **asdict(done)},
    }
    difference = publish(learner.average, "jekyll", options.out, examples(), facts)
    print(f"{options.out / 'jekyll.onnx'}: differs from torch by {difference:.1e}")


if __name__ == "__main__":
    main()
