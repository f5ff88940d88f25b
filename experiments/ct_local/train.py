"""Train the CT network on the authentic training patients and forgeries made from them.

    python experiments/ct_local/train.py --data DIR --run runs/ct-local

DIR holds ct-authentic/ (see `tamperscope.datasets.ct_authentic`). Interrupted, the same command goes on. For a trial
on any machine: --steps 20 --width 4.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from tamperscope.datasets import ct_authentic, leaks, manifest
from tamperscope.datasets.manifest import Entry, Part
from tamperscope.models import trace_net
from tamperscope.train.crops import Crops, Recipe, Source, source
from tamperscope.train.trace_loop import Schedule, fit
from tamperscope.train.warm_start import warm_start

HERE = Path(__file__).parent
SINGLES = 2.5
"""Weight of all patients with single slices together; each patient with a whole volume weighs 1."""
HELD_OUT_PAIRS = 320
WARM_START_PAIRS = 32


def main() -> None:
    options = arguments()
    recipe = Recipe()
    entries = ct_authentic.entries(options.data / "ct-authentic")
    parts = manifest.read_split(HERE / "split.json", entries)
    leaks.check(manifest.placed(entries, parts))
    training, held_out = (sources(entries, parts, part, recipe) for part in ("train", "calibrate"))
    options.run.mkdir(parents=True, exist_ok=True)
    (options.run / "manifest.csv").write_text(manifest.to_csv(entries, parts), encoding="utf-8")
    print(json.dumps({"training volumes": len(training), "held-out volumes": len(held_out)}))
    judged = list(islice(Crops(held_out, recipe, seed=99), HELD_OUT_PAIRS))
    schedule = Schedule(steps=options.steps, rate=options.rate)
    net = trace_net(width=options.width)
    if options.start is not None and options.start.suffix == ".safetensors":
        net.load_state_dict(load_file(options.start))
    elif options.start is not None and not (options.run / "last.safetensors").exists():
        first = islice(Crops(training, recipe, seed=98), WARM_START_PAIRS)
        seen = np.stack([channels for pair in first for channels in (pair.forged, pair.pristine)])
        warm_start(net, options.start, torch.from_numpy(seen))
    fit(net, Crops(training, recipe, schedule.seed), judged, schedule, options.run, say=print)


def sources(entries: tuple[Entry, ...], parts: dict[str, Part], part: Part, recipe: Recipe) -> list[Source]:
    chosen = [entry for entry in entries if parts[entry.patient] == part]
    volumes = list(ct_authentic.volumes(chosen))
    count = Counter(patient for patient, _ in volumes)
    singles = {patient for patient, volume in volumes if volume.shape[0] == 1}
    made = []
    for patient, volume in volumes:
        weight = (SINGLES / len(singles) if patient in singles else 1.0) / count[patient]
        made.append(source(volume, recipe.clip_hu, weight))
    return [one for one in made if one.lung.size > 0]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4300)
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument(
        "--start", type=Path, help="an ONNX file or the average.safetensors of another run to go on from"
    )
    parser.add_argument("--width", type=int, default=16)
    return parser.parse_args()


if __name__ == "__main__":
    main()
