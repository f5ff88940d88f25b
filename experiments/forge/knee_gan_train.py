"""Train the network of the attack knee-gan.

    python experiments/forge/knee_gan_train.py --data DIR --run runs/knee-gan --minutes 12

DIR holds knee-authentic/ (see `tamperscope.train.knees`, whose split says which patients are used). Interrupted, the
same command goes on. At the end it writes knee-gan.onnx and its Card knee-gan.json into --out, the package's own
folder by default. For a trial on any machine: --steps 20 --width 4 --out DIR.
"""

from __future__ import annotations

from dataclasses import asdict

import torch
import training_options

from tamperscope.datasets import leaks
from tamperscope.records import JSON
from tamperscope.train import knees
from tamperscope.train.knee_gan import STEPS, KneeGanLearner, Settings, examples
from tamperscope.train.publish import publish
from tamperscope.train.run import Budget, fit


def main() -> None:
    options = training_options.read(__doc__, steps=STEPS, width=Settings().width)
    torch.set_num_threads(options.threads)
    leaks.check(knees.divided(options.data / "knee-authentic"))
    films = knees.training(options.data / "knee-authentic")
    settings = Settings(width=options.width, steps=options.steps, seed=options.seed)
    learner = KneeGanLearner(films, settings)
    budget = Budget(options.steps, options.minutes, seed=options.seed)
    done = fit(learner, budget, options.run, asdict(settings), say=print)
    facts: dict[str, JSON] = {
        "what": "Generator of a GAN: noise, grain and the grade of Kellgren and Lawrence to a knee radiograph of 224 x "
        "224 pixels, a right knee, contrast as after CLAHE.",
        "intended_use": knees.INTENDED_USE,
        "licence": knees.LICENCE,
        "training": {**films.facts, "settings": asdict(settings), **asdict(done)},
    }
    difference = publish(learner.average, "knee-gan", options.out, examples(), facts)
    print(f"{options.out / 'knee-gan.onnx'}: differs from torch by {difference:.1e}")


if __name__ == "__main__":
    main()
