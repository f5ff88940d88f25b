"""What the recipes that train generators can be told on the command line: the same for all of them."""

from __future__ import annotations

import argparse
from pathlib import Path

from tamperscope.attacks.network import PACKAGED


def read(description: str | None, *, steps: int | None, **sizes: int) -> argparse.Namespace:
    """Read the command line; ``sizes`` are what else may be set, such as ``width``, with its default."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=PACKAGED, help="for network and Card; the package if left out")
    parser.add_argument("--steps", type=int, default=steps, help="of each network")
    parser.add_argument("--minutes", type=float, help="of training; reading, leak check and export take two more")
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()
