"""Export the trained networks and calibrate every CT detector on the held-out authentic patients.

    calibrate.py --data DIR --run runs/ct-moment --net moment --name ct-fast
    calibrate.py --data DIR --run runs/ct-local --net trace --name ct-trace --cards runs/cards
    calibrate.py --data DIR --name ct-accurate --unite runs/cards/ct-trace.json src/tamperscope/cards/ct-fast.json

Writes NAME.onnx and NAME.json of the network into --cards (the package's own by default), and there alone those of the
classical noise detector too. With --unite, the network is the mean of those of two Cards. Without --run and --unite,
the network that lies there is calibrated again. Patients of the part "calibrate" only; forgeries are simulated on them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from safetensors.torch import load_file
from torch import nn

from tamperscope import weights
from tamperscope.calibrate import Calibration, Tail, fit_curve, fit_dispersion, fit_tail
from tamperscope.datasets import ct_authentic, manifest
from tamperscope.datasets.manifest import Entry
from tamperscope.detectors import NoiseDetector, TraceDetector, places
from tamperscope.evaluate.simulate import FAMILIAR, simulate
from tamperscope.inputs import CtInput, ct
from tamperscope.models import moment_net, trace_net
from tamperscope.records import JSON, Volume
from tamperscope.train.crops import Recipe
from tamperscope.train.export import eighth, to_onnx, united
from tamperscope.weights import Card

HERE = Path(__file__).parent
UNCALIBRATED = Calibration(Tail(0.0, 0.05, 1.0), 1.0, 0.0)
RATES = (0.1, 0.05, 0.02, 0.01, 0.005, 0.001)
FORGERIES = 12
"""Forgeries of each attack."""
LONG_SERIES = 100
"""Slices of the series for which the share of missed forgeries is stated: a whole chest CT."""
SPEC = CtInput(
    modality="CT",
    body_part="CHEST",
    clip_hu=Recipe().clip_hu,
    spacing_mm=(0.45, 1.05),
    slice_mm=(0.4, 10.0),
    noise_hu=(2.0, 70.0),
    grain=(0.32, 2.0),
    matrix=(256, 1024),
    lung_share=0.03,
)


NETS: dict[str, Callable[..., nn.Module]] = {"trace": trace_net, "moment": moment_net}
CAVEAT = (
    "the real CT-GAN slices were looked at while networks were trained (experiments/LOG.md counts the looks), so the "
    "figures on them are optimistic for other forgeries"
)
COMMANDS = {
    "trace": "python experiments/ct_local/train.py --data DIR --run runs/ct-local",
    "moment": "experiments/ct_local/train.py --net moment --bank runs/bank --pairs 8 --rate 3e-3 --steps 5000 "
    "--run runs/1; mine.py --data DIR --run runs/1 --bank runs/bank; train.py --net moment --bank runs/bank "
    "--mined runs/bank/mined --kernel-share 0.3 --pairs 8 --rate 2e-3 --steps 4500 "
    "--start runs/1/average.safetensors --run runs/2; calibrate.py on runs/2 with both records in one file",
}
NOISE_TRAINING: dict[str, JSON] = {
    "method": "none: Mahdian and Saic 2009, Gallagher 2005; calibrated on the patients that calibrate the networks",
}


def main() -> None:
    options = arguments()
    entries = ct_authentic.entries(options.data / "ct-authentic")
    parts = manifest.read_split(HERE / "split.json", entries)
    trained_on = [entry for entry in entries if parts[entry.patient] == "train"]
    held_out = list(ct_authentic.volumes([entry for entry in entries if parts[entry.patient] == "calibrate"]))
    options.cards.mkdir(parents=True, exist_ok=True)
    if options.unite:
        card = united_card(options)
    elif options.run is None:
        card = weights.read_card(options.cards / f"{options.name}.json")
    else:
        card = exported(options, trained_on, [patient for patient, _ in held_out])
    save(replace(card, calibration=calibration(TraceDetector(card), held_out)))
    if options.cards == weights.PACKAGED:
        save_noise(card, held_out)


def save_noise(card: Card, held_out: list[tuple[str, Volume]]) -> None:
    """The Card of the classical detector, for the same pictures as the network's."""
    noise = replace(
        card,
        name="ct-noise",
        file=None,
        sha256="",
        training=NOISE_TRAINING,
        results={},
        intended_use="Compare the noise of each place with that of the same tissue in its slice: evidence beside "
        "the network, never decisive. Research use only.",
        licence="Apache-2.0; calibrated on images under CC BY 3.0 and CC BY 4.0",
    )
    fitted = calibration(NoiseDetector(noise), held_out)
    stated = hashlib.sha256(weights.calibration_bytes(fitted)).hexdigest()
    save(replace(noise, calibration=fitted, sha256=stated))


def exported(options: argparse.Namespace, trained_on: list[Entry], calibrated_on: list[str]) -> Card:
    """The network of a run as ONNX, and a Card for it that has no calibration yet."""
    record = [json.loads(line) for line in (options.run / "record.jsonl").read_text(encoding="utf-8").splitlines()]
    patients: list[JSON] = [*sorted({entry.patient for entry in trained_on})]
    training: dict[str, JSON] = {
        "patients": patients,
        "manifest_sha256": manifest.digest(trained_on),
        "collections": "LIDC-IDRI, Lung-PET-CT-Dx, LungCT-Diagnosis, TCGA-LUAD, TCGA-LUSC (The Cancer Imaging Archive)",
        "forgeries": "simulated on the fly by tamperscope.attacks; none made by the real CT-GAN",
        "calibrated_on": [*sorted(set(calibrated_on))],
        "steps": steps(record),
        "legs": [
            {
                "from": line["from"],
                "shares": dict(line["recipe"]["attack_shares"]),
                "planned": line["settings"]["steps"],
                "before_share": line["recipe"]["before_share"],
            }
            for line in record
            if "settings" in line
        ],
        "caveat": CAVEAT,
        "missed_forgeries": f"the share is stated for a series of {LONG_SERIES} slices",
        "command": COMMANDS[options.net],
    }
    net = NETS[options.net](*([] if options.width is None else [options.width]))
    net.load_state_dict(load_file(options.run / "average.safetensors"))
    file = options.cards / f"{options.name}.onnx"
    print(f"largest difference between torch and ONNX Runtime: {to_onnx(net, file):.2g}")
    return Card(
        name=options.name,
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


def united_card(options: argparse.Namespace) -> Card:
    """The mean of the networks of two Cards, the weights of the larger one in eight bits."""
    members = [weights.read_card(path) for path in options.unite]
    models = [onnx.load(card.folder / str(card.file)) for card in members]
    largest = max(range(len(models)), key=lambda n: models[n].ByteSize())
    models[largest] = eighth(models[largest])
    file = options.cards / f"{options.name}.onnx"
    onnx.save(united(models), file)
    training: dict[str, JSON] = {
        "method": f"mean of the logits of {' and '.join(card.name for card in members)}",
        "patients": [*members[-1].training["patients"]],  # type: ignore[misc]
        "calibrated_on": [*members[-1].training["calibrated_on"]],  # type: ignore[misc]
        **{f"training of {card.name}": dict(card.training) for card in members},
    }
    return replace(
        members[-1],
        name=options.name,
        file=file.name,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        training=training,
        calibration=UNCALIBRATED,
        results={},
        folder=options.cards,
    )


def steps(record: list[dict[str, Any]]) -> int:
    """Of all runs that went on from each other's weights: each counts its own from 0."""
    ends: list[int] = []
    for line in record:
        if line.get("from") == 0:
            ends.append(0)
        elif "step" in line:
            ends[-1] = line["step"]
    return sum(ends)


def calibration(detector: TraceDetector | NoiseDetector, volumes: list[tuple[str, Volume]]) -> Calibration:
    """Tail of the authentic places, each patient counting alike; then the curve; then what is missed at each rate."""
    maps = []
    for patient, volume in volumes:
        inside = ct.body_of(volume)
        if inside.any():
            maps.append((patient, volume, inside, detector.maps(volume, inside)))
    scores = [(patient, places.place_scores(found, inside, volume)) for patient, volume, inside, found in maps]
    counts = Counter[str]()
    for patient, values in scores:
        counts[patient] += values.size
    weight = np.concatenate([np.full(values.size, 1.0 / counts[patient]) for patient, values in scores])
    tail = fit_tail(np.concatenate([values for _, values in scores]), weights=weight)
    authentic = [
        float(tail.surprise(found[inside].max(), ct.count_places(inside, volume))) for _, volume, inside, found in maps
    ]
    series = Counter(patient for patient, *_ in maps)
    dispersion = fit_dispersion(authentic, [1.0 / series[patient] for patient, *_ in maps])
    forged = list(forged_scores(detector, volumes))
    slope, offset = fit_curve(authentic, [float(tail.surprise(score, count)) for score, count, _ in forged])
    fitted = Calibration(tail, slope, offset, dispersion=dispersion)
    long = np.array([float(tail.surprise(score, per_slice * LONG_SERIES)) for score, _, per_slice in forged])
    print(f"{detector.name}: surprise of the authentic series: {[round(t, 2) for t in sorted(authentic)]}")
    misses = []
    for rate in RATES:
        misses.append((rate, round(float(np.mean(long < fitted.border(rate))), 4)))
        alarms = float(np.mean(np.array(authentic) >= fitted.border(rate)))
        print(f"{detector.name}: set to {rate:.3f}: {alarms:.3f} of {len(authentic)} alarm, {misses[-1][1]:.3f} missed")
    return replace(fitted, miss_rates=tuple(misses))


def forged_scores(
    detector: TraceDetector | NoiseDetector, volumes: list[tuple[str, Volume]]
) -> Iterator[tuple[float, float, float]]:
    """Of each simulated forgery: highest score, places of its short series, and places of one slice."""
    for one in simulate(volumes, FAMILIAR, FORGERIES, np.random.default_rng(7)):
        inside = ct.body_of(one.forged)
        if inside.any():
            count = ct.count_places(inside, one.forged)
            yield float(detector.maps(one.forged, inside)[inside].max()), count, count / one.forged.shape[0]


def save(card: Card) -> None:
    (card.folder / f"{card.name}.json").write_text(card.to_json(), encoding="utf-8")
    print(f"{card.name}: {card.calibration}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, help="left out, the network that lies in --cards is calibrated again")
    parser.add_argument("--unite", type=Path, nargs=2, help="Cards whose networks are judged by together")
    parser.add_argument("--cards", type=Path, default=weights.PACKAGED)
    parser.add_argument("--name", default="ct-fast", help="of the Card")
    parser.add_argument("--net", choices=sorted(NETS), default="trace")
    parser.add_argument("--width", type=int, help="the published one unless given")
    return parser.parse_args()


if __name__ == "__main__":
    main()
