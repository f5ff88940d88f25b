"""Export the trained network and calibrate every CT detector on the held-out authentic patients.

    python experiments/ct_local/calibrate.py --data DIR --run runs/ct-local

Writes NAME.onnx and NAME.json of the network and of the classical noise detector into --cards (the package's own by
default). Patients of the part "calibrate" only; forgeries are simulated on them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from tamperscope import anatomy, attacks, weights
from tamperscope.calibrate import Calibration, Tail, fit_curve, fit_tail
from tamperscope.datasets import ct_authentic, manifest
from tamperscope.detectors import NoiseDetector, TraceDetector, places
from tamperscope.models import trace_net
from tamperscope.preprocess import InputSpec
from tamperscope.records import JSON, Volume
from tamperscope.train.crops import Recipe
from tamperscope.train.export import to_onnx
from tamperscope.weights import Card

HERE = Path(__file__).parent
UNCALIBRATED = Calibration(Tail(0.0, 0.05, 1.0), 1.0, 0.0)
RATES = (0.1, 0.05, 0.02, 0.01, 0.005, 0.001)
AROUND = 8
"""Slices on each side of a forgery that are scanned with it."""
FORGERIES = 6
"""Forgeries of each attack."""
SPEC = InputSpec(
    modality="CT",
    body_part="CHEST",
    clip_hu=Recipe().clip_hu,
    spacing_mm=(0.45, 1.05),
    noise_hu=(2.0, 70.0),
    matrix=(256, 1024),
    lung_share=0.03,
)


def main() -> None:
    options = arguments()
    entries = ct_authentic.entries(options.data / "ct-authentic")
    parts = manifest.read_split(HERE / "split.json", entries)
    trained_on = [entry for entry in entries if parts[entry.patient] == "train"]
    held_out = [volume for _, volume in ct_authentic.volumes([e for e in entries if parts[e.patient] == "calibrate"])]
    record = [json.loads(line) for line in (options.run / "record.jsonl").read_text(encoding="utf-8").splitlines()]
    patients: list[JSON] = [*sorted({entry.patient for entry in trained_on})]
    training: dict[str, JSON] = {
        "patients": patients,
        "manifest_sha256": manifest.digest(trained_on),
        "collections": "LIDC-IDRI, Lung-PET-CT-Dx, LungCT-Diagnosis, TCGA-LUAD, TCGA-LUSC (The Cancer Imaging Archive)",
        "forgeries": "simulated on the fly by tamperscope.attacks; none made by the real CT-GAN",
        "recipe": json.loads(json.dumps(asdict(Recipe()))),
        "steps": record[-1]["step"],
        "command": "python experiments/ct_local/train.py --data DIR --run runs/ct-local",
    }
    options.cards.mkdir(parents=True, exist_ok=True)
    net = trace_net(width=options.width)
    net.load_state_dict(load_file(options.run / "average.safetensors"))
    file = options.cards / "ct-trace.onnx"
    print(f"largest difference between torch and ONNX Runtime: {to_onnx(net, file):.2g}")
    card = Card(
        name="ct-trace",
        version="1",
        input=SPEC,
        calibration=UNCALIBRATED,
        file=file.name,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        training=training,
        results={},
        intended_use="Find locally altered places in chest CT of lung at native resolution. Research use only.",
        licence="Apache-2.0 (weights); training images CC BY 3.0 and CC BY 4.0",
        folder=options.cards,
    )
    save(replace(card, calibration=calibration(TraceDetector(card), held_out)))
    noise = replace(card, name="ct-noise", file=None, sha256="", training={})
    fitted = calibration(NoiseDetector(noise), held_out)
    stated = hashlib.sha256(weights.calibration_bytes(fitted)).hexdigest()
    save(replace(noise, calibration=fitted, sha256=stated))


def calibration(detector: TraceDetector | NoiseDetector, volumes: list[Volume]) -> Calibration:
    """Tail of the authentic places, then the curve over authentic series and simulated forgeries."""
    seen = [(volume, places.body_of(volume)) for volume in volumes]
    maps = [(volume, inside, detector.maps(volume, inside)) for volume, inside in seen if inside.any()]
    tail = fit_tail(np.concatenate([places.place_scores(found, inside, volume) for volume, inside, found in maps]))
    authentic = [
        float(tail.surprise(found[inside].max(), places.count_places(inside, volume))) for volume, inside, found in maps
    ]
    forged = [float(tail.surprise(score, count)) for score, count in forged_scores(detector, volumes)]
    slope, offset = fit_curve(authentic, forged)
    fitted = Calibration(tail, slope, offset)
    misses = []
    for rate in RATES:
        border = -np.log10(-np.log1p(-rate))
        misses.append((rate, round(float(np.mean(np.array(forged) < border)), 4)))
        alarms = float(np.mean(np.array(authentic) >= border))
        print(f"{detector.name}: set to {rate:.3f}: {alarms:.3f} of {len(authentic)} alarm, {misses[-1][1]:.3f} missed")
    return replace(fitted, miss_rates=tuple(misses))


def forged_scores(detector: TraceDetector | NoiseDetector, volumes: list[Volume]) -> Iterator[tuple[float, float]]:
    """Highest score and number of places of short series round simulated forgeries in the lungs."""
    rng = np.random.default_rng(7)
    for name in attacks.local(tuple(volumes[:1])):
        for _ in range(FORGERIES):
            volume = volumes[int(rng.integers(len(volumes)))]
            donors = tuple(other for other in volumes if other is not volume)
            place = lung_place(volume, rng)
            first = max(place[0] - AROUND, 0)
            part = volume.slab(first, place[0] + AROUND + 1)
            attack = attacks.local(donors)[name]
            at = (place[0] - first, place[1], place[2])
            forged = attack.apply(part, attack.sample(part, rng, at=at)).volume
            inside = places.body_of(forged)
            yield float(detector.maps(forged, inside)[inside].max()), places.count_places(inside, forged)


def lung_place(volume: Volume, rng: np.random.Generator) -> tuple[int, int, int]:
    found = np.flatnonzero(anatomy.lungs(volume.voxels))
    k, j, i = np.unravel_index(int(rng.choice(found)), volume.shape)
    return int(k), int(j), int(i)


def save(card: Card) -> None:
    (card.folder / f"{card.name}.json").write_text(card.to_json(), encoding="utf-8")
    print(f"{card.name}: {card.calibration}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--cards", type=Path, default=weights.PACKAGED)
    parser.add_argument("--width", type=int, default=16)
    return parser.parse_args()


if __name__ == "__main__":
    main()
