"""Every local attack, judged by a network that learned nothing of its generator: one network for each fold of mix.json.

    python experiments/ct_local/bank.py --data DIR --bank runs/bank
    for fold in 0 1 2 3 4; do
        python experiments/ct_local/train.py --net moment --bank runs/bank --fold $fold --run runs/leave-out/$fold
    done
    python experiments/ct_local/leave_out.py --bank runs/bank --runs runs/leave-out

Crops of 128 pixels of the part test, each forged one beside its pristine twin. A crop's score is the mean of its twelve
strongest places. Both thresholds come from the part calibrate and from the attacks that were learned: 1 % of authentic
crops for the score, the best F1 for the map. Intervals draw whole patients.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from tamperscope.evaluate.decisions import threshold_for
from tamperscope.evaluate.intervals import bootstrap
from tamperscope.evaluate.metrics import auroc
from tamperscope.models import moment_net
from tamperscope.train.bank import Bank
from tamperscope.train.crops import Pair, Recipe
from tamperscope.train.loss import strongest
from tamperscope.train.trace_loop import coarse

HERE = Path(__file__).parent
FALSE_ALARMS = 0.01
RESAMPLES = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What a network made of pairs: maps (N, h, w) of the forged crops, scores (N,), truth (N, h, w) as 1, 0, -1."""

    maps: NDArray[np.float32]
    forged: NDArray[np.float32]
    pristine: NDArray[np.float32]
    truth: NDArray[np.float32]
    attacks: NDArray[np.str_]
    patients: NDArray[np.str_]

    def of(self, names: Sequence[str]) -> Judged:
        """Those of some attacks."""
        kept = np.isin(self.attacks, names)
        return Judged(
            self.maps[kept],
            self.forged[kept],
            self.pristine[kept],
            self.truth[kept],
            self.attacks[kept],
            self.patients[kept],
        )


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one attack."""

    pairs: int
    patients: int
    auroc: float
    interval: tuple[float, float]
    found: float
    false_alarms: float
    pointing: float
    f1: float
    iou: float

    def __str__(self) -> str:
        """A row of the table."""
        low, high = self.interval
        return (
            f"{self.pairs} | {self.auroc:.3f} ({low:.2f} to {high:.2f}) | {self.found:.2f} | "
            f"{self.false_alarms:.3f} | {self.pointing:.2f} | {self.f1:.2f} | {self.iou:.2f}"
        )


def judged(net: nn.Module, pairs: Sequence[Pair]) -> Judged:
    """The network's answers to both crops of every pair."""
    maps, scores, truths = [], [], []
    with torch.inference_mode():
        for first in range(0, len(pairs), 16):
            some = pairs[first : first + 16]
            seen = np.stack([p.forged for p in some] + [p.pristine for p in some])
            logits = net(torch.from_numpy(seen))
            maps.append(logits[: len(some), 0].numpy())
            scores.append(strongest(logits).numpy().reshape(2, -1))
            truths.append(coarse(torch.from_numpy(np.stack([p.target for p in some]))[:, None])[:, 0].numpy())
    forged, pristine = np.concatenate(scores, axis=1)
    names = [np.array([getattr(p, key) for p in pairs]) for key in ("attack", "patient")]
    return Judged(np.concatenate(maps), forged, pristine, np.concatenate(truths), names[0], names[1])


def overlap(found: Judged, threshold: float) -> tuple[float, float]:
    """Mean F1 and mean IoU of the maps over the forged crops whose forgery the coarse grid shows."""
    both = ((found.maps >= threshold) & (found.truth > 0)).sum((1, 2))
    wrong = ((found.maps >= threshold) & (found.truth == 0)).sum((1, 2))
    missed = ((found.maps < threshold) & (found.truth > 0)).sum((1, 2))
    shown = both + missed > 0
    both, wrong, missed = both[shown], wrong[shown], missed[shown]
    return float((2 * both / (2 * both + wrong + missed)).mean()), float((both / (both + wrong + missed)).mean())


def map_threshold(found: Judged) -> float:
    """The one of 60 values that gives the best mean F1."""
    values = np.quantile(found.maps, np.linspace(0.5, 0.999, 60))
    return float(values[int(np.argmax([overlap(found, value)[0] for value in values]))])


def row(found: Judged, score: float, place: float) -> Row:
    """The figures of one attack."""

    def area(rows: NDArray[np.intp]) -> float:
        return auroc(found.forged[rows], found.pristine[rows])

    count = len(found.maps)
    span = bootstrap(area, found.patients.tolist(), np.random.default_rng(0), RESAMPLES)
    first = found.maps.reshape(count, -1).argmax(1)
    hits = found.truth.reshape(count, -1)[np.arange(count), first] != 0
    return Row(
        count,
        len(set(found.patients.tolist())),
        area(np.arange(count)),
        (span.low, span.high),
        float((found.forged >= score).mean()),
        float((found.pristine >= score).mean()),
        float(hits.mean()),
        *overlap(found, place),
    )


def main() -> None:
    options = arguments()
    mix = json.loads((HERE / "mix.json").read_text(encoding="utf-8"))
    every = replace(Recipe(), attack_shares=tuple(mix["shares"].items()))
    held, tested = (Bank(options.bank / part, every, 0).all() for part in ("calibrate", "test"))
    table: dict[str, Row] = {}
    for number, fold in enumerate(mix["folds"]):
        net = moment_net(options.width).eval()
        net.load_state_dict(load_file(options.runs / str(number) / "average.safetensors"))
        known = judged(net, held).of([name for name in mix["shares"] if name not in fold])
        score, place = threshold_for(known.pristine, FALSE_ALARMS), map_threshold(known)
        unseen = judged(net, tested)
        table |= {name: row(unseen.of([name]), score, place) for name in fold}
    print("attack | pairs | AUROC (95 %) | found | false alarms | pointing | F1 | IoU")
    for name, one in sorted(table.items(), key=lambda item: item[1].auroc):
        print(f"{name} | {one}")
    areas = [one.auroc for one in table.values()]
    print(f"AUROC: worst {min(areas):.3f}, mean {np.mean(areas):.3f} of {len(areas)} attacks")
    told = {name: asdict(one) for name, one in table.items()}
    (options.runs / "leave_out.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--width", type=int, default=40)
    return parser.parse_args()


if __name__ == "__main__":
    main()
