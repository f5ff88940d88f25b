"""Draw the pairs that networks of knee radiographs learn from, and those that they are judged by, once for all runs.

    python experiments/knee_local/bank.py --data DIR --bank runs/knee-bank

Writes runs/knee-bank/train, calibrate and test from the patients of these parts, by the shares of mix.json.
Interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tamperscope.datasets.manifest import Part
from tamperscope.train import bank, knees
from tamperscope.train.crops import Recipe
from tamperscope.train.films import Films

HERE = Path(__file__).parent
SEEDS: dict[Part, int] = {"train": 4000, "calibrate": 5000, "test": 6000}


def main() -> None:
    options = arguments()
    shares = json.loads((HERE / "mix.json").read_text(encoding="utf-8"))["shares"]
    recipe = Recipe(attack_shares=tuple(shares.items()))
    parts: tuple[tuple[Part, int], ...] = (
        ("calibrate", options.held_out),
        ("test", options.held_out),
        ("train", options.pairs),
    )
    for part, pairs in parts:
        source = Films(knees.films(options.data / "knee-authentic", part), recipe, SEEDS[part])
        bank.fill(source, options.bank / part, pairs, options.workers, lambda done, of: print(f"{done} of {of} pairs"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=6144)
    parser.add_argument("--held-out", type=int, default=768)
    parser.add_argument("--workers", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
