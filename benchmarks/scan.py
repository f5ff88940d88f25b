"""How much of the network's own speed a whole scan keeps, and what it takes in memory.

    make benchmark

A chest CT of 130 slices is written as DICOM and scanned by a fresh process, with everything that a user waits for:
start, reading, decoding, loading the model, the network, reports. The same network then runs bare, on slices that
lie prepared in memory. The throughput is given as a ratio of the two, so that it holds on any machine; three rounds,
the median counts. Prints one JSON line, and compares with baseline.json beside this file.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tamperscope import detectors, phantom, weights

SLICES = 130
ROUNDS = 3
IN_MEMORY = 13
"""Prepared slices that the bare network runs over again and again."""


def main() -> None:
    volume = phantom.chest((SLICES, 512, 512), (2.5, 0.7, 0.7), np.random.default_rng(1))
    card = detectors.default_cards()[0]
    detector, inside = detectors.TraceDetector(card), card.input.inside(volume)
    chosen = range(0, SLICES, SLICES // IN_MEMORY)
    prepared = [detector.prepare(volume.voxels[k], inside[k])[1][None] for k in chosen]
    with tempfile.TemporaryDirectory() as folder:
        phantom.write_dicom(volume, Path(folder) / "study")
        del volume
        rounds = [(scan(Path(folder)), bare(card, prepared)) for _ in range(ROUNDS)]
    seconds = statistics.median(whole for whole, _ in rounds)
    result = {
        "slices": SLICES,
        "scan_seconds": round(seconds, 2),
        "bare_seconds": round(statistics.median(network for _, network in rounds), 2),
        "throughput_ratio": round(statistics.median(network / whole for whole, network in rounds), 3),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9, 3),
        "help_seconds": round(statistics.median(clock(["--help"]) for _ in range(5)), 3),
        "cores": weights.available_cores(),
    }
    print(json.dumps(result))
    baseline = json.loads((Path(__file__).parent / "baseline.json").read_text(encoding="utf-8"))
    for name, (least, most) in baseline.items():
        verdict = "ok" if least <= result[name] <= most else "WORSE THAN THE BASELINE"
        print(f"{name}: {result[name]} (between {least} and {most}): {verdict}")


def scan(folder: Path) -> float:
    """Seconds of a whole scan by a fresh process."""
    return clock(["scan", str(folder / "study"), "--out", str(folder / "report"), "--quiet"])


def clock(arguments: list[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "tamperscope", *arguments], stdout=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, 1, 3):  # a verdict, whichever
        raise SystemExit(f"tamperscope {arguments[0]} ended with {done.returncode}")
    return time.perf_counter() - started


def bare(card: weights.Card, prepared: list[np.ndarray]) -> float:
    """Seconds of the network alone for as many slices, its session already open and warm."""
    session = weights.session(card)
    session.run(None, {"channels": prepared[0]})
    started = time.perf_counter()
    for number in range(SLICES):
        session.run(None, {"channels": prepared[number % len(prepared)]})
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
