"""Draw the pairs that networks learn from, and those that they are judged by, once for all runs.

    python experiments/ct_local/bank.py --data DIR --bank runs/bank

Writes runs/bank/train, calibrate and test: pairs of crops from the patients of these parts, by the shares of mix.json.
Interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from tamperscope.datasets import ct_authentic, manifest
from tamperscope.train import bank
from tamperscope.train.crops import Crops, Recipe, sources

HERE = Path(__file__).parent
SEEDS = {"train": 1000, "calibrate": 2000, "test": 3000}


def mixed() -> Recipe:
    """The recipe of the crops with the shares of mix.json."""
    shares = json.loads((HERE / "mix.json").read_text(encoding="utf-8"))["shares"]
    return replace(Recipe(), attack_shares=tuple(shares.items()))


def main() -> None:
    options = arguments()
    recipe = mixed()
    entries = ct_authentic.entries(options.data / "ct-authentic")
    parts = manifest.read_split(HERE / "split.json", entries)
    for part, pairs in (("calibrate", options.held_out), ("train", options.pairs), ("test", options.held_out)):
        volumes = ct_authentic.volumes([entry for entry in entries if parts[entry.patient] == part])
        crops = Crops(sources(volumes, recipe.clip_hu), recipe, SEEDS[part])
        bank.fill(crops, options.bank / part, pairs, options.workers, lambda done, of: print(f"{done} of {of} pairs"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=8192)
    parser.add_argument("--held-out", type=int, default=1024)
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
