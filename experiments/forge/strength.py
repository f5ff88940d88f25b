"""How strong is the trace that each attack leaves, what does a forgery cost, and what does it look like?

    python experiments/forge/strength.py --data DIR

Forges places in the lungs of the authentic patients that no network was trained on (parts "calibrate" and "test" of
experiments/ct_local/split.json), in stretches of 33 slices of whole scans and in single slices by turns, and films of
knees for the attacks that are made for them, the probe in the middle of the film;
prints a row an attack: AUROC of `evaluate.probe` against the untouched twins, seconds a forgery on one core, and how
far the memory of a process grows that makes one, above the volume itself. The table goes to strength.json beside this
file.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias

import numpy as np

from tamperscope import anatomy, attacks
from tamperscope.attacks import Attack
from tamperscope.datasets import ct_authentic, images, manifest
from tamperscope.evaluate import probe
from tamperscope.records import JSON, Volume, voxel_digest
from tamperscope.train import knees

HERE = Path(__file__).parent
SPLIT = HERE.parent / "ct_local" / "split.json"
AROUND = 16
"""Slices on each side of the place that are kept."""
KIBIBYTES = 1024
Place: TypeAlias = tuple[int, int, int]
Scan: TypeAlias = tuple[str, Volume, np.ndarray]
"""Patient, volume, flat indices of its lung voxels."""


def main() -> None:
    options = arguments()
    entries = ct_authentic.entries(options.data / "ct-authentic")
    parts = manifest.read_split(SPLIT, entries)
    volumes = list(ct_authentic.volumes([entry for entry in entries if parts[entry.patient] != "train"]))
    places = [(who, volume, np.flatnonzero(anatomy.lungs(volume.voxels))) for who, volume in volumes]
    usable = [one for one in places if one[2].size]
    wholes, singles = ([one for one in usable if (one[1].shape[0] > 1) == whole] for whole in (True, False))
    print("| attack | forgeries | probe AUROC | seconds | peak MiB |\n|---|---|---|---|---|")
    table: dict[str, JSON] = {}
    films = [(one.entry.patient, film(one), np.array([0])) for one in held_out_knees(options.data)]
    for name, attack in every(volumes).items():
        knees_only = "CT" not in modalities(attack)
        table[name] = row = measure(attack, (films, films) if knees_only else (wholes, singles), options.count)
        print(f"| {name} | {' | '.join(str(value) for value in row.values())} |", flush=True)
    (HERE / "strength.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


def every(volumes: list[tuple[str, Volume]]) -> dict[str, Attack]:
    """All attacks on pixels; the last patient gives the pieces of splices."""
    return attacks.local((volumes[-1][1],)) | attacks.synthesis() | attacks.benign()


def modalities(attack: Attack) -> tuple[str, ...]:
    """What it is made for; CT among others, if it does not say."""
    return getattr(attack, "modalities", ()) or ("CT",)


def held_out_knees(data: Path) -> list[knees.Knee]:
    """Films of the patients that no generator of knees was trained on."""
    found = knees.knees(data / "knee-authentic")
    parts = knees.parts(found)
    return [one for one in found if parts[one.entry.patient] != "train"]


def film(knee: knees.Knee) -> Volume:
    """A film of 224 pixels as published, which state no size: about 0.6 mm each."""
    voxels = images.planes(knee.entry.path)
    return Volume(
        voxels, np.diag([0.6, 0.6, 0.6, 1.0])[[2, 1, 0, 3]], "DX", "picture", "spacing", 8, digest=voxel_digest(voxels)
    )


def measure(attack: Attack, kinds: tuple[list[Scan], list[Scan]], count: int) -> dict[str, JSON]:
    rng = np.random.default_rng(5)
    forged, twins, patients, seconds, grown = [], [], [], [], 0.0
    for n in range(count):
        scans = kinds[n % 2]
        who, volume, lung = scans[n // 2 % len(scans)]
        where = int(rng.choice(lung)) if volume.modality == "CT" else volume.voxels.size // 2 + volume.shape[2] // 2
        k, row, column = (int(x) for x in np.unravel_index(where, volume.shape))
        first = max(k - AROUND, 0)
        twin = volume.slab(first, k + AROUND + 1)
        place = (k - first, row, column)
        timed = twin.shape[0] > 1 or volume.modality != "CT"
        if timed and not grown:
            grown = growth(attack, twin, place)
        started = time.perf_counter()
        made = attack.apply(twin, attack.sample(twin, rng, place)).volume
        if timed:
            seconds.append(time.perf_counter() - started)
        if made.shape == twin.shape:
            forged.append(probe.features(made, place))
            twins.append(probe.features(twin, place))
            patients.append(who)
    area = probe.strength(forged, twins, patients) if forged and not attack.benign else None
    return {
        "forgeries": count,
        "probe_auroc": None if area is None else round(area, 3),
        "seconds": round(float(np.median(seconds)), 3),
        "peak_mib": round(grown, 1),
    }


def growth(attack: Attack, twin: Volume, place: Place) -> float:
    """MiB by which a process of its own grows at most while it makes one forgery, native libraries included."""
    receiver, sender = get_context("fork").Pipe(duplex=False)
    child = get_context("fork").Process(target=_grow, args=(attack, twin, place, sender))
    child.start()
    grown: float = receiver.recv()
    child.join()
    return grown


def _grow(attack: Attack, twin: Volume, place: Place, sender: Connection) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    attack.apply(twin, attack.sample(twin, np.random.default_rng(5), place))
    sender.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / KIBIBYTES)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=40, help="forgeries of each attack")
    return parser.parse_args()


if __name__ == "__main__":
    main()
