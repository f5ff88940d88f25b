"""Measure the packaged CT detectors: on real CT-GAN slices and on held-out authentic patients.

    python experiments/ct_local/evaluate.py --data DIR
    python experiments/ct_local/evaluate.py --data DIR --cards CARDS

Prints the tables of README and of the Cards, and writes them to results.json beside this file. The CT-GAN slices
validate: nothing was trained or calibrated on them and no threshold was chosen on them. They were looked at between the
legs of the training, though, and helped to choose among them (LOG.md), so for other forgeries these figures are
optimistic. Authentic patients are those of the part "test"; nothing was looked at there.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tamperscope import attacks, detectors, weights
from tamperscope.calibrate import calibrated
from tamperscope.datasets import ct_authentic, ct_gan, manifest
from tamperscope.datasets.cases import Case
from tamperscope.detectors import Detector, places
from tamperscope.evaluate.localisation import Placed, judge, summary
from tamperscope.evaluate.metrics import auroc, wilson_interval
from tamperscope.evaluate.reslice import thickened
from tamperscope.evaluate.simulate import FAMILIAR, simulate
from tamperscope.inputs import CtInput
from tamperscope.records import JSON, Evidence, Volume
from tamperscope.verdict import Policy, decide
from tamperscope.weights import Card

HERE = Path(__file__).parent
CHANGES = ("kernel-change-sharpen", "kernel-change-soften", "denoise", "add-noise", "resample-whole")
CHANGED_SLICES = 12
FORGERIES = 10
"""Simulated forgeries of each attack on the test patients."""


def main() -> None:
    options = arguments()
    entries = ct_authentic.entries(options.data / "ct-authentic")
    parts = manifest.read_split(HERE / "split.json", entries)
    tested = {patient for patient, part in parts.items() if part == "test"}
    packaged = options.cards == weights.PACKAGED
    found = detectors.packaged_cards() if packaged else [weights.read_card(p) for p in options.cards.glob("*.json")]
    cards = [card for card in found if isinstance(card.input, CtInput) and options.name in (None, card.name)]
    for card in cards:
        trained_on = card.training.get("patients")
        if isinstance(trained_on, list) and tested & {str(patient) for patient in trained_on}:
            raise SystemExit(f"{card.name} was trained on patients of the part 'test': this would measure memory")
    authentic = list(ct_authentic.volumes([entry for entry in entries if parts[entry.patient] == "test"]))
    results: dict[str, JSON] = {}
    for card in cards:
        detector = detectors.from_card(card)
        print(f"\n## {card.name}, sha256 {card.sha256[:16]}")
        results[card.name] = measured = measure(card, detector, options.data / "ct-gan", authentic)
        if options.write_cards:
            command = "python experiments/ct_local/evaluate.py --data DIR" + ("" if packaged else " --cards CARDS")
            stated = replace(card, results={"command": command, **measured})
            (card.folder / f"{card.name}.json").write_text(stated.to_json(), encoding="utf-8")
            (card.folder / f"{card.name}.md").write_text(weights.describe(stated), encoding="utf-8")
    file = HERE / "results.json" if packaged else options.cards / "results" / "results.json"
    file.parent.mkdir(exist_ok=True)
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    told = {name: {**known, **results}[name] for name in (card.name for card in found) if name in {**known, **results}}
    file.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def measure(card: Card, detector: Detector, ct_gan_root: Path, authentic: list[tuple[str, Volume]]) -> dict[str, JSON]:
    tampered = [(label, volume, detector.detect(volume)) for label, volume in ct_gan.volumes(ct_gan_root)]
    clean = [(volume, detector.detect(volume)) for _, volume in authentic]
    return {
        "ct_gan_slices": localisation(card, tampered),
        "verdicts": {
            **verdicts(card, [(f"CT-GAN, {label.kind}", volume, raw) for label, volume, raw in tampered]),
            **verdicts(card, [(kind_of(volume), volume, raw) for volume, raw in clean]),
        },
        "false_alarms_by_scanner": by_scanner(card, detector, authentic),
        "slice_auroc": against_authentic(tampered, [raw for _, raw in clean]),
        "simulated_forgeries": simulated(card, detector, authentic),
    }


def kind_of(volume: Volume) -> str:
    return "authentic, whole series" if volume.shape[0] > 1 else "authentic, single slice"


def localisation(card: Card, tampered: list[tuple[ct_gan.Label, Volume, Evidence]]) -> JSON:
    """Pointing and region AUROC; a slice that the detector refused counts as missed, and as a coin's throw."""
    rng = np.random.default_rng(0)
    placed = []
    for label, volume, raw in tampered:
        heatmap = calibrated(raw, card.calibration).heatmap
        if heatmap is None:
            placed.append(Placed(label.kind, False, 0.5))
        else:
            placed.append(judge(label.kind, volume, heatmap, (0, label.row, label.column), rng))
    refused = sum(raw.score is None for _, _, raw in tampered)
    print(f"real CT-GAN slices ({refused} refused) | slices | pointing within 24 mm (95 % interval) | region AUROC")
    table: dict[str, JSON] = {}
    for kind, row in summary(placed).items():
        table[kind] = {name: round(value, 4) for name, value in row.items()}
        interval = f"{row['pointing_low']:.2f} to {row['pointing_high']:.2f}"
        print(f"{kind} | {row['slices']:.0f} | {row['pointing']:.3f} ({interval}) | {row['region_auroc']:.3f}")
    return table


def verdicts(card: Card, judged: list[tuple[str, Volume, Evidence]]) -> dict[str, JSON]:
    """How many of each group were called what, at the operating point that the product ships."""
    table: dict[str, JSON] = {}
    for group in sorted({group for group, _, _ in judged}):
        labels = [
            decide(volume, [calibrated(raw, card.calibration)], card.calibration, Policy()).label
            for name, volume, raw in judged
            if name == group
        ]
        counts = {label: sum(one == label for one in labels) for label in ("suspicious", "inconclusive", "no_evidence")}
        low, high = wilson_interval(counts["suspicious"], len(labels))
        shares = ", ".join(f"{label} {count}" for label, count in counts.items())
        print(f"{group}: {len(labels)} series: {shares}; suspicious {low:.2f} to {high:.2f} (95 % interval)")
        table[group] = {"series": len(labels), **counts, "low": round(low, 4), "high": round(high, 4)}
    return table


def by_scanner(card: Card, detector: Detector, authentic: list[tuple[str, Volume]]) -> dict[str, JSON]:
    """What is said of authentic test series, as they are and after benign changes, scanner by scanner.

    A long series is judged by its middle slices, so that one patient is not all that the table shows.
    """
    said: dict[str, Counter[str]] = defaultdict(Counter)
    for _, volume in authentic:
        middle = max((volume.shape[0] - CHANGED_SLICES) // 2, 0)
        part = volume.slab(middle, min(middle + CHANGED_SLICES, volume.shape[0]))
        maker, model = (str(volume.header.get(key) or "unknown") for key in ("manufacturer", "model"))
        scanner = f"{maker.split()[0].title()} {model}, kernel {volume.header.get('kernel') or 'unknown'}"
        for change, changed in versions(part):
            found = calibrated(detector.detect(changed), card.calibration)
            label = "refused" if found.score is None else decide(changed, [found], card.calibration, Policy()).label
            for group in (scanner, change):
                said[group][label] += 1
    labels = ("suspicious", "inconclusive", "no_evidence", "refused")
    table: dict[str, JSON] = {}
    print(f"authentic series by scanner and by change | series | {' | '.join(labels)}")
    for group, counts in sorted(said.items()):
        table[group] = {"series": counts.total(), **{label: counts[label] for label in labels}}
        print(f"{group} | {counts.total()} | {' | '.join(str(counts[label]) for label in labels)}")
    return table


def versions(volume: Volume) -> Iterator[tuple[str, Volume]]:
    """An authentic series as it is, under other kernels and doses, and with other slices."""
    rng = np.random.default_rng(17)
    yield "as it is", volume
    for name in CHANGES:
        change = attacks.benign()[name]
        yield name, change.apply(volume, change.sample(volume, rng)).volume
    if volume.shape[0] > 1:
        case = Case("", "", False, volume, None, (), {})
        yield "pairs of slices averaged", thickened(case).volume


def against_authentic(tampered: list[tuple[ct_gan.Label, Volume, Evidence]], clean: list[Evidence]) -> JSON:
    """AUROC of raw slice scores: tampered slices against all slices of the authentic test patients with a body."""
    below = [score for raw in clean for score in raw.slice_scores if score > places.FLOOR]
    table: dict[str, JSON] = {"authentic_slices": len(below)}
    for kind in ("injected", "removed"):
        above = [max(raw.slice_scores) for label, _, raw in tampered if label.kind == kind and raw.slice_scores]
        table[kind] = round(auroc(above, below), 4)
        print(f"slice AUROC, {kind} against {len(below)} authentic slices: {table[kind]}")
    return table


def simulated(card: Card, detector: Detector, volumes: list[tuple[str, Volume]]) -> JSON:
    """AUROC of short series with a simulated forgery against their untouched twins, and the share called suspicious."""
    point = card.calibration.operating_point(Policy().suspicious_at)
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for one in simulate(volumes, FAMILIAR, FORGERIES, np.random.default_rng(11)):
        forged, twin = (calibrated(detector.detect(v), card.calibration).probability for v in (one.forged, one.twin))
        if forged is not None and twin is not None:
            pairs[one.attack].append((forged, twin))
    table: dict[str, JSON] = {}
    for name, both in pairs.items():
        area = auroc([forged for forged, _ in both], [twin for _, twin in both])
        found = sum(forged >= point.threshold for forged, _ in both) / len(both)
        table[name] = {"series": len(both), "auroc": round(area, 4), "found": round(found, 4)}
        print(f"simulated {name}: {len(both)} series, AUROC {area:.3f}, found {found:.2f}")
    return table


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cards", type=Path, default=weights.PACKAGED, help="those of the package unless given")
    parser.add_argument("--name", help="of one Card alone; what is known of the others stays")
    parser.add_argument("--write-cards", action="store_true", help="state the results in the Cards")
    return parser.parse_args()


if __name__ == "__main__":
    main()
