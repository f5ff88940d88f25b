"""Average the weights of two runs of which the second went on from the first, into a run folder of their own.

    python experiments/ct_local/average.py runs/ct-local-2 runs/ct-local-3 --out runs/ct-local-4

Points on one path of training often lie round a flatter place than either (Izmailov et al., Averaging Weights Leads to
Wider Optima and Better Generalization, UAI 2018); `calibrate.py --run` takes the folder like any other.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def main() -> None:
    options = arguments()
    runs = [load_file(run / "average.safetensors") for run in options.runs]
    mean = {
        name: torch.stack([one[name] for one in runs]).mean(0) if value.is_floating_point() else value
        for name, value in runs[-1].items()
    }
    options.out.mkdir(parents=True, exist_ok=True)
    save_file(mean, options.out / "average.safetensors")
    lines = [(run / "record.jsonl").read_text(encoding="utf-8") for run in options.runs]
    (options.out / "record.jsonl").write_text("".join(lines), encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs, each with its record")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
