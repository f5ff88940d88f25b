"""Generators of knees that a network has not met: AUROC and false alarms on the films of the test patients.

    for fold in 0 1 2 3; do
        python experiments/ct_local/train.py --net moment --mix experiments/knee_local/mix.json --bank runs/knee-bank
            --pairs 8 --rate 3e-3 --steps 1200 --fold $fold --run runs/knee-leave-out/$fold
    done
    python experiments/knee_local/leave_out.py --set knee-set --bank runs/knee-bank --runs runs/knee-leave-out

The set is that of experiments/benchmark/README.md: all pictures at one size and with one histogram. Its films are
held against the pictures of each generator, by the network of the fold that left it out; KneeOAGen, which none has
met, by all of them. The autoencoders are not in it: they are judged on crops of the bank. The threshold of each network
comes from the films of the set's part "calibrate", 1 false alarm in 100. Intervals draw whole patients.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from tamperscope.datasets import images, table
from tamperscope.datasets.manifest import Entry
from tamperscope.evaluate.decisions import threshold_for
from tamperscope.evaluate.intervals import bootstrap
from tamperscope.evaluate.metrics import auroc, wilson_interval
from tamperscope.models import moment_net
from tamperscope.preprocess import picture_channels
from tamperscope.records import JSON
from tamperscope.train.bank import Bank
from tamperscope.train.crops import Recipe
from tamperscope.train.loss import strongest

HERE = Path(__file__).parent
FALSE_ALARMS = 0.01
RESAMPLES = 1000
STRANGER = "kneeoagen"


def scores(net: nn.Module, entries: Sequence[Entry]) -> NDArray[np.float64]:
    """The mean of the twelve strongest places of each picture."""
    found = []
    with torch.inference_mode():
        for entry in entries:
            seen = torch.from_numpy(picture_channels(images.planes(entry.path)[0])[None])
            found.append(float(strongest(net(seen))[0]))
    return np.array(found)


def figures(forged: NDArray[np.float64], authentic: NDArray[np.float64], who: Sequence[str], border: float) -> JSON:
    """AUROC with its interval, the share found and the share of films that alarm at the threshold."""
    both, truth = np.concatenate([forged, authentic]), np.arange(forged.size + authentic.size) < forged.size

    def area(rows: NDArray[np.intp]) -> float:
        return auroc(both[rows][truth[rows]], both[rows][~truth[rows]])

    span = bootstrap(area, list(who), np.random.default_rng(0), RESAMPLES)
    alarms = int((authentic >= border).sum())
    low, high = wilson_interval(alarms, authentic.size)
    return {
        "forged": int(forged.size),
        "authentic": int(authentic.size),
        "auroc": round(auroc(forged, authentic), 4),
        "interval": [round(span.low, 4), round(span.high, 4)],
        "found": round(float((forged >= border).mean()), 4),
        "false_alarms": round(alarms / authentic.size, 4),
        "false_alarms_interval": [round(low, 4), round(high, 4)],
    }


def on_set(net: nn.Module, entries: Sequence[Entry], names: Sequence[str]) -> dict[str, JSON]:
    """The figures of each generator of the set."""
    films = [one for one in entries if one.label == "authentic"]
    held = [one for one in films if one.part == "calibrate"]
    tested = [one for one in films if one.part == "test"]
    border, calm = threshold_for(scores(net, held), FALSE_ALARMS), scores(net, tested)
    found: dict[str, JSON] = {}
    for name in names:
        made = [one for one in entries if one.generator == name and one.part == "test"]
        who = [one.patient for one in (*made, *tested)]
        found[name] = figures(scores(net, made), calm, who, border)
    return found


def on_crops(net: nn.Module, bank: Path, names: Sequence[str]) -> dict[str, JSON]:
    """AUROC of each attack on crops of the bank's test part, with all that pictures go through."""
    shares = json.loads((HERE / "mix.json").read_text(encoding="utf-8"))["shares"]
    pairs = Bank(bank, replace(Recipe(), attack_shares=tuple(shares.items())), 0).all()
    found: dict[str, JSON] = {}
    for name in names:
        some = [pair for pair in pairs if pair.attack == name]
        with torch.inference_mode():
            forged, film = (
                strongest(net(torch.from_numpy(np.stack(crops)))).numpy()
                for crops in ([pair.forged for pair in some], [pair.pristine for pair in some])
            )
        found[name] = {"pairs": len(some), "auroc": round(auroc(forged, film), 4)}
    return found


def main() -> None:
    options = arguments()
    entries = table.read(options.set / "manifest.csv").entries
    in_set = {entry.generator for entry in entries if entry.generator}
    told: dict[str, JSON] = {}
    for number, fold in enumerate(json.loads((HERE / "mix.json").read_text(encoding="utf-8"))["folds"]):
        net = moment_net(options.width).eval()
        net.load_state_dict(load_file(options.runs / str(number) / "average.safetensors"))
        measured = on_set(net, entries, [name for name in (*fold, STRANGER) if name in in_set])
        measured |= {f"{name}, crops": row for name, row in on_crops(net, options.bank / "test", fold).items()}
        told[f"without {', '.join(fold)}"] = measured
        for name, row in measured.items():
            print(f"without {', '.join(fold)}: {name}: {row}", flush=True)
    (options.runs / "leave_out.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", type=Path, required=True, help="folder of the aligned set")
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--width", type=int, default=40)
    return parser.parse_args()


if __name__ == "__main__":
    main()
