"""Export the trained network of knee radiographs and calibrate it on the films of the held-out patients.

    python experiments/knee_local/calibrate.py --data DIR --run runs/knee-moment

Writes knee.onnx and its Card into --cards (the package's own by default). Patients of the part "calibrate" only:
each film as it is and after a `films.Handling`, and forgeries of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file

from tamperscope import weights
from tamperscope.calibrate import Calibration, Tail, fit_curve, fit_tail
from tamperscope.detectors import TraceDetector
from tamperscope.inputs import RadiographInput
from tamperscope.inputs.radiograph import GLANCE, glance_of
from tamperscope.models import moment_net
from tamperscope.records import JSON, FloatArray
from tamperscope.train import knees
from tamperscope.train.crops import Recipe
from tamperscope.train.export import to_onnx
from tamperscope.train.films import SIDES, Film, Films, Handling, Made, as_volume
from tamperscope.weights import Card

HERE = Path(__file__).parent
UNCALIBRATED = Calibration(Tail(0.0, 0.05, 1.0), 1.0, 0.0)
RATES = (0.1, 0.05, 0.02, 0.01, 0.005)
TAIL = 0.2
"""Share of the authentic pictures that the tail is fitted to: there are hundreds, not the thousands of places of CT."""
FORGERIES = 240
SEED = 8


def main() -> None:
    options = arguments()
    taught, held = (knees.films(options.data / "knee-authentic", part) for part in ("train", "calibrate"))
    card = exported(options, contract(taught), facts(options, taught, held))
    card = replace(card, calibration=calibration(card, held))
    (card.folder / f"{card.name}.json").write_text(card.to_json(), encoding="utf-8")


def contract(taught: list[Film]) -> RadiographInput:
    """What the network may be asked: pictures as much like the mean training film as its own films are."""
    seen = np.array([glance_of(film.plane) for film in taught])
    mean = seen.mean(axis=0)
    mirrored = seen.reshape(-1, GLANCE, GLANCE)[:, :, ::-1].reshape(len(seen), -1)
    likeness = np.max([[np.corrcoef(one, mean)[0, 1] for one in way] for way in (seen, mirrored)], axis=0)
    least = math.floor(100 * likeness.min()) / 100
    print(f"likeness of the training films: {likeness.min():.2f} to {likeness.max():.2f}; at least {least} is asked")
    glance = tuple(round(float(value), 3) for value in mean)
    return RadiographInput("DX", "KNEE", SIDES[1] - 1, SIDES[0] - 16, 1.6, glance, least)


def facts(options: argparse.Namespace, taught: list[Film], held: list[Film]) -> dict[str, JSON]:
    """What the Card says of the training."""
    record = [json.loads(line) for line in (options.run / "record.jsonl").read_text(encoding="utf-8").splitlines()]
    patients: list[JSON] = [*sorted({film.patient for film in taught})]
    calibrated_on: list[JSON] = [*sorted({film.patient for film in held})]
    return {
        "patients": patients,
        "collections": "Knee Osteoarthritis Severity Grading Dataset (Chen 2018, Mendeley Data 56rmx5bjcr)",
        "forgeries": "made by tamperscope.attacks; no picture of KneeOAGen was learned from or calibrated on",
        "calibrated_on": calibrated_on,
        "steps": max(line["step"] for line in record if "step" in line),
        "shares": dict(next(line for line in record if "settings" in line)["recipe"]["attack_shares"]),
        "command": "python experiments/ct_local/train.py --net moment --mix experiments/knee_local/mix.json "
        "--bank runs/knee-bank --pairs 8 --rate 3e-3 --steps 2000 --run runs/knee-moment",
    }


def exported(options: argparse.Namespace, contract: RadiographInput, training: dict[str, JSON]) -> Card:
    """The network of a run as ONNX, and a Card for it that has no calibration yet."""
    net = moment_net(*([] if options.width is None else [options.width]))
    net.load_state_dict(load_file(options.run / "average.safetensors"))
    options.cards.mkdir(parents=True, exist_ok=True)
    file = options.cards / "knee.onnx"
    print(f"largest difference between torch and ONNX Runtime: {to_onnx(net, file):.2g}")
    return Card(
        name="knee",
        version="1",
        input=contract,
        calibration=UNCALIBRATED,
        file=file.name,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        training=training,
        results={},
        intended_use="Find knee radiographs that were generated, translated or locally edited. Research use only.",
        licence=knees.LICENCE,
        folder=options.cards,
    )


def calibration(card: Card, held: list[Film]) -> Calibration:
    """Tail of authentic pictures, each patient counting alike; the curve; and what is missed at each rate."""
    rng = np.random.default_rng(SEED)
    shares = json.loads((HERE / "mix.json").read_text(encoding="utf-8"))["shares"]
    source = Films(held, Recipe(attack_shares=tuple(shares.items())), SEED)
    authentic = [(film.patient, plane) for film in held for plane in (film.plane, handled(film, source, rng))]
    patients = [patient for patient, _ in authentic]
    scores = judged(card, [plane for _, plane in authentic])
    weight = np.array([1.0 / Counter(patients)[patient] for patient in patients])
    tail = fit_tail(scores, share=TAIL, weights=weight)
    calm = [float(tail.surprise(score, 1.0)) for score in scores]
    made = judged(card, [one.forged for one in forgeries(source, rng)])
    forged = [float(tail.surprise(score, 1.0)) for score in made]
    slope, offset = fit_curve(calm, forged)
    # The tail is of whole pictures of many patients, not of places of few: nothing is left to be widened.
    fitted = Calibration(tail, slope, offset)
    misses = []
    for rate in RATES:
        misses.append((rate, round(float(np.mean(np.array(forged) < fitted.border(rate))), 4)))
        alarms = float(np.mean(np.array(calm) >= fitted.border(rate)))
        print(f"set to {rate:.3f}: {alarms:.3f} of {len(calm)} films alarm, {misses[-1][1]:.3f} missed")
    return replace(fitted, miss_rates=tuple(misses))


def handled(film: Film, source: Films, rng: np.random.Generator) -> FloatArray:
    """A film after one of the ways that pictures go."""
    return Handling.drawn(rng)(film.plane, source.mean, rng)


def forgeries(source: Films, rng: np.random.Generator) -> list[Made]:
    """Whole forged pictures by the shares of the mix."""
    return list(islice((made for made in iter(lambda: source.made(rng), 0) if made is not None), FORGERIES))


def judged(card: Card, planes: list[FloatArray]) -> NDArray[np.float64]:
    """The raw score of each picture, whatever it looks like."""
    detector = TraceDetector(card, threads=1)
    volumes = [as_volume(plane) for plane in planes]
    return np.array([float(detector.maps(one, card.input.inside(one)).max()) for one in volumes])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--cards", type=Path, default=weights.PACKAGED)
    parser.add_argument("--width", type=int, help="the published one unless given")
    return parser.parse_args()


if __name__ == "__main__":
    main()
