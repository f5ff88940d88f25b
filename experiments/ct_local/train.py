"""Train the CT network on the authentic training patients and forgeries made from them.

    python experiments/ct_local/train.py --data DIR --run runs/ct-local
    python experiments/ct_local/train.py --net moment --bank runs/bank --pairs 8 --steps 5000 --rate 3e-3 --run runs/1

With a bank, which bank.py draws, pairs are taken from there; without, they are forged while it runs. DIR holds
ct-authentic/ (see `tamperscope.datasets.ct_authentic`). Interrupted, the same command goes on. For a trial on any
machine: --steps 20 --width 4.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from tamperscope.datasets import ct_authentic, leaks, manifest
from tamperscope.models import moment_net, trace_net
from tamperscope.train.bank import Bank, Mined
from tamperscope.train.crops import Crops, Recipe, sources
from tamperscope.train.trace_loop import Schedule, fit
from tamperscope.train.warm_start import warm_start

HERE = Path(__file__).parent
NETS: dict[str, Callable[..., nn.Module]] = {"trace": trace_net, "moment": moment_net}
HELD_OUT_PAIRS = 320
WARM_START_PAIRS = 32


def main() -> None:
    options = arguments()
    schedule = Schedule(
        steps=options.steps,
        rate=options.rate,
        pairs=options.pairs,
        hard=max(2, options.pairs // 4),
        mined=options.pairs // 2 if options.mined is not None else 0,
    )
    net = NETS[options.net](*([] if options.width is None else [options.width]))
    if options.bank is not None:
        learn_from_bank(options, net, schedule)
        return
    recipe = Recipe()
    entries = ct_authentic.entries(options.data / "ct-authentic")
    parts = manifest.read_split(HERE / "split.json", entries)
    leaks.check(manifest.placed(entries, parts))
    training, held_out = (
        sources(ct_authentic.volumes([e for e in entries if parts[e.patient] == part]), recipe.clip_hu)
        for part in ("train", "calibrate")
    )
    options.run.mkdir(parents=True, exist_ok=True)
    (options.run / "manifest.csv").write_text(manifest.to_csv(entries, parts), encoding="utf-8")
    print(json.dumps({"training volumes": len(training), "held-out volumes": len(held_out)}))
    judged = list(islice(Crops(held_out, recipe, seed=99), HELD_OUT_PAIRS))
    if options.start is not None and options.start.suffix == ".safetensors":
        net.load_state_dict(load_file(options.start))
    elif options.start is not None and not (options.run / "last.safetensors").exists():
        first = islice(Crops(training, recipe, seed=98), WARM_START_PAIRS)
        seen = np.stack([channels for pair in first for channels in (pair.forged, pair.pristine)])
        warm_start(net, options.start, torch.from_numpy(seen))
    fit(net, Crops(training, recipe, schedule.seed), judged, schedule, options.run, say=print)


def learn_from_bank(options: argparse.Namespace, net: nn.Module, schedule: Schedule) -> None:
    """Pairs of the bank, without those of the fold that is held out; judged on all of them."""
    mix = json.loads(options.mix.read_text(encoding="utf-8"))
    shares, held_out = mix["shares"], [] if options.fold is None else mix["folds"][options.fold]
    every = replace(Recipe(), attack_shares=tuple(shares.items()))
    taught = replace(every, attack_shares=tuple((k, v) for k, v in shares.items() if k not in held_out))
    judged = Bank(options.bank / "calibrate", every, 99).all()
    pairs = Bank(options.bank / "train", taught, schedule.seed, options.kernel_share)
    mined = None if options.mined is None else Mined(options.mined)
    if options.start is not None:
        net.load_state_dict(load_file(options.start))
    fit(net, pairs, judged, schedule, options.run, mined=mined, workers=0, say=print)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="needed without --bank")
    parser.add_argument("--bank", type=Path, help="pairs that bank.py has drawn")
    parser.add_argument("--mix", type=Path, default=HERE / "mix.json", help="shares of attacks, and folds; with --bank")
    parser.add_argument("--fold", type=int, help="of mix.json: its attacks are not learned from; with --bank")
    parser.add_argument("--mined", type=Path, help="authentic crops that mine.py has found; with --bank")
    parser.add_argument("--kernel-share", type=float, default=0.0, help="pairs that get another kernel; with --bank")
    parser.add_argument("--net", choices=sorted(NETS), default="trace")
    parser.add_argument("--pairs", type=int, default=16, help="pairs a step")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4300)
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument(
        "--start", type=Path, help="an ONNX file or the average.safetensors of another run to go on from"
    )
    parser.add_argument("--width", type=int, help="the published one unless given")
    return parser.parse_args()


if __name__ == "__main__":
    main()
