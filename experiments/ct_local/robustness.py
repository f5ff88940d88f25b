"""What is left of a model after what real pictures go through: the grid of `evaluate --robustness` on single slices.

    python experiments/ct_local/robustness.py --set ct-set --model ct-fast --out runs/robustness

The set is that of experiments/benchmark/ct.toml. Of its part "test" the series of one slice are taken, up to --each of
every generator and four times as many authentic ones: with whole scans the grid would take a day on two cores.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from pathlib import Path

from tamperscope.datasets import table
from tamperscope.datasets.manifest import Entry
from tamperscope.evaluate.evaluation import Asked, evaluate

KEYS = ("auroc", "recall", "cleared", "false_alarm_rate", "refused", "series")


def main() -> None:
    options = arguments()
    chosen = singles(table.read(options.set / "manifest.csv").entries, options.each)
    manifest = options.out / "manifest.csv"
    table.write(manifest, chosen, options.set)
    asked = Asked(options.model, manifest, options.out, "test", resamples=0, examples=0, robustness=True, threads=1)
    _, figures = evaluate(asked)
    print(f"change | {' | '.join(KEYS)}")
    rows = figures["robustness"]
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict):
            print(f"{row['change']} | {' | '.join(str(row[key]) for key in KEYS)}")


def singles(entries: tuple[Entry, ...], each: int) -> list[Entry]:
    """The series of one slice, the first of every generator by the names of their files."""
    size = Counter((entry.patient, entry.series) for entry in entries)
    of: dict[str, list[Entry]] = defaultdict(list)
    for entry in sorted(entries, key=lambda one: one.path):
        if entry.part == "test" and size[entry.patient, entry.series] == 1:
            of[entry.generator or ""].append(entry)
    return [entry for name, found in of.items() for entry in found[: each if name else 4 * each]]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", type=Path, required=True)
    parser.add_argument("--model", default="ct-fast")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--each", type=int, default=6)
    return parser.parse_args()


if __name__ == "__main__":
    main()
