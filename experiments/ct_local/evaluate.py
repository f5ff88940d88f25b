"""Measure the packaged CT detectors: on real CT-GAN slices and on held-out authentic patients.

    python experiments/ct_local/evaluate.py --data DIR

Prints the tables of README and of the Cards, and writes them to results.json beside this file. The CT-GAN slices
validate: nothing was trained, calibrated or chosen on them. Authentic patients are those of the part "test".
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tamperscope import attacks, detectors, weights
from tamperscope.calibrate import calibrated
from tamperscope.datasets import ct_authentic, ct_gan, manifest
from tamperscope.detectors import Detector
from tamperscope.evaluate.localisation import Placed, judge, summary
from tamperscope.evaluate.metrics import auroc, wilson_interval
from tamperscope.records import JSON, Evidence, Volume
from tamperscope.verdict import Policy, decide
from tamperscope.weights import Card

HERE = Path(__file__).parent
FORGERIES = 8
"""Simulated forgeries of each attack on the test patients."""
AROUND = 8
"""Slices on each side that are scanned with a simulated forgery."""


def main() -> None:
    options = arguments()
    entries = ct_authentic.entries(options.data / "ct-authentic")
    parts = manifest.read_split(HERE / "split.json", entries)
    authentic = list(ct_authentic.volumes([entry for entry in entries if parts[entry.patient] == "test"]))
    results: dict[str, JSON] = {}
    for card in detectors.packaged_cards():
        detector = detectors.from_card(card)
        print(f"\n## {card.name}, sha256 {card.sha256[:16]}")
        results[card.name] = measure(card, detector, options.data / "ct-gan", authentic)
        if options.write_cards:
            command = "python experiments/ct_local/evaluate.py --data DIR"
            stated = replace(card, results={"command": command, **results[card.name]})  # type: ignore[dict-item]
            (card.folder / f"{card.name}.json").write_text(stated.to_json(), encoding="utf-8")
            (card.folder / f"{card.name}.md").write_text(weights.describe(stated), encoding="utf-8")
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def measure(card: Card, detector: Detector, ct_gan_root: Path, authentic: list[tuple[str, Volume]]) -> JSON:
    tampered = [
        (label, volume, calibrated(detector.detect(volume), card.calibration))
        for label, volume in ct_gan.volumes(ct_gan_root)
    ]
    clean = [(patient, volume, calibrated(detector.detect(volume), card.calibration)) for patient, volume in authentic]
    rng = np.random.default_rng(0)
    placed = [
        judge(label.kind, volume, evidence.heatmap, (0, label.row, label.column), rng)
        for label, volume, evidence in tampered
        if evidence.heatmap is not None
    ]
    answer: dict[str, JSON] = {"ct_gan_slices": localisation(placed)}
    answer["ct_gan_verdicts"] = verdicts(card, [(label.kind, volume, e) for label, volume, e in tampered])
    answer["authentic_series"] = verdicts(card, [("authentic", volume, evidence) for _, volume, evidence in clean])
    answer["authentic_patients"] = len({patient for patient, _, _ in clean})
    answer["slice_auroc"] = against_authentic(tampered, clean)
    answer["simulated_forgeries"] = simulated(card, detector, [volume for _, volume in authentic])
    return answer


def localisation(placed: list[Placed]) -> JSON:
    print("real CT-GAN slices | slices | pointing within 24 mm (95 % interval) | region AUROC")
    table: dict[str, JSON] = {}
    for kind, row in summary(placed).items():
        table[kind] = {name: round(value, 4) for name, value in row.items()}
        interval = f"{row['pointing_low']:.2f} to {row['pointing_high']:.2f}"
        print(f"{kind} | {row['slices']:.0f} | {row['pointing']:.3f} ({interval}) | {row['region_auroc']:.3f}")
    return table


def verdicts(card: Card, judged: list[tuple[str, Volume, Evidence]]) -> JSON:
    """How many of each group were called what, at the operating point that the product ships."""
    table: dict[str, JSON] = {}
    for group in sorted({group for group, _, _ in judged}):
        labels = [
            decide(volume, [evidence], card.calibration, Policy()).label
            for name, volume, evidence in judged
            if name == group
        ]
        counts = {label: sum(one == label for one in labels) for label in ("suspicious", "inconclusive", "no_evidence")}
        low, high = wilson_interval(counts["suspicious"], len(labels))
        shares = ", ".join(f"{label} {count}" for label, count in counts.items())
        print(f"{group}: {len(labels)} series: {shares}; suspicious {low:.2f} to {high:.2f} (95 % interval)")
        table[group] = {"series": len(labels), **counts, "low": round(low, 4), "high": round(high, 4)}
    return table


def against_authentic(
    tampered: list[tuple[ct_gan.Label, Volume, Evidence]], clean: list[tuple[str, Volume, Evidence]]
) -> JSON:
    """AUROC of the tampered slices' scores against every slice of the authentic test patients that shows the body."""
    below = [score for _, _, evidence in clean for score in evidence.slice_scores if score > 1e-6]
    table: dict[str, JSON] = {"authentic_slices": len(below)}
    for kind in ("injected", "removed"):
        above = [max(e.slice_scores) for label, _, e in tampered if label.kind == kind and e.slice_scores]
        table[kind] = round(auroc(above, below), 4)
        print(f"slice AUROC, {kind} against {len(below)} authentic slices: {table[kind]}")
    return table


def simulated(card: Card, detector: Detector, volumes: list[Volume]) -> JSON:
    """AUROC of short series with a simulated forgery against their untouched twins, and the share called suspicious."""
    point = card.calibration.operating_point(Policy().suspicious_at)
    table: dict[str, JSON] = {}
    for name, pairs in forgeries(card, detector, volumes):
        forged, twins = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        found = sum(p >= point.threshold for p in forged) / len(forged)
        table[name] = {"series": len(pairs), "auroc": round(auroc(forged, twins), 4), "found": round(found, 4)}
        print(f"simulated {name}: {len(pairs)} series, AUROC {auroc(forged, twins):.3f}, found {found:.2f}")
    return table


def forgeries(card: Card, detector: Detector, volumes: list[Volume]) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    rng = np.random.default_rng(11)
    for name in attacks.local(tuple(volumes[:1])):
        pairs: list[tuple[float, float]] = []
        while len(pairs) < FORGERIES:
            volume = volumes[int(rng.integers(len(volumes)))]
            donors = tuple(other for other in volumes if other is not volume)
            attack = attacks.local(donors)[name]
            centre = int(rng.integers(volume.shape[0]))
            part = volume.slab(max(centre - AROUND, 0), centre + AROUND + 1)
            forged = attack.apply(part, attack.sample(part, rng)).volume
            both = [calibrated(detector.detect(one), card.calibration).probability for one in (forged, part)]
            if both[0] is not None and both[1] is not None:
                pairs.append((both[0], both[1]))
        yield name, pairs


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write-cards", action="store_true", help=f"state the results in {weights.PACKAGED}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
