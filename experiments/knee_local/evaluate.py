"""Measure the packaged network of knee radiographs on the patients of the part "test" and on KneeOAGen.

    python experiments/knee_local/evaluate.py --data DIR --set knee-set --write-cards

Films as they are and after what pictures go through (`films.Handling`), forgeries of them by every attack of the mix,
and the aligned set of experiments/benchmark/README.md, in which KneeOAGen is a generator that no training has met.
Prints the tables of the docs; with --write-cards they are stated in the Card.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from tamperscope import detectors, weights
from tamperscope.calibrate import calibrated
from tamperscope.datasets import images, table
from tamperscope.evaluate.metrics import auroc, wilson_interval
from tamperscope.records import JSON, FloatArray
from tamperscope.train import knees
from tamperscope.train.crops import Recipe
from tamperscope.train.films import Films, Handling, as_volume
from tamperscope.verdict import Policy, decide

HERE = Path(__file__).parent
FORGERIES = 600
SEED = 9
LABELS = ("suspicious", "inconclusive", "no_evidence", "refused")


def main() -> None:
    options = arguments()
    card = weights.read_card(options.cards / "knee.json")
    judge = Judge(card)
    films = knees.films(options.data / "knee-authentic", "test")
    shares = json.loads((HERE / "mix.json").read_text(encoding="utf-8"))["shares"]
    source, rng = Films(films, Recipe(attack_shares=tuple(shares.items())), SEED), np.random.default_rng(SEED)
    authentic = {
        "films as they are": [judge(film.plane) for film in films],
        "films after what pictures go through": [judge(Handling.drawn(rng)(f.plane, source.mean, rng)) for f in films],
    }
    made = islice((one for one in iter(lambda: source.made(rng), 0) if one is not None), FORGERIES)
    by_attack: dict[str, list[tuple[Answer, Answer]]] = defaultdict(list)
    for one in made:
        by_attack[one.attack].append((judge(one.forged), judge(one.film)))
    results: dict[str, JSON] = {
        "command": "python experiments/knee_local/evaluate.py --data DIR --set knee-set --write-cards",
        "authentic": {name: verdicts(name, answers) for name, answers in authentic.items()},
        "aligned_set": on_set(judge, options.set),
        "forgeries": {name: pairs(name, both) for name, both in sorted(by_attack.items())},
    }
    if options.write_cards:
        stated = replace(card, results=results)
        (card.folder / f"{card.name}.json").write_text(stated.to_json(), encoding="utf-8")
        (card.folder / f"{card.name}.md").write_text(weights.describe(stated), encoding="utf-8")


class Answer:
    """Label, and the raw score; the lowest for what was refused."""

    def __init__(self, label: str, score: float) -> None:
        self.label, self.score = label, score


class Judge:
    """A picture (H, W) of grey levels to its answer at the operating point that ships."""

    def __init__(self, card: weights.Card) -> None:
        self.card, self.detector = card, detectors.from_card(card, threads=1)

    def __call__(self, plane: FloatArray) -> Answer:
        """What is said of the picture."""
        volume = as_volume(plane)
        raw = self.detector.detect(volume)
        if raw.score is None:
            return Answer("refused", -1e9)
        found = calibrated(raw, self.card.calibration)
        return Answer(decide(volume, [found], self.card.calibration, Policy()).label, raw.score)


def verdicts(name: str, answers: Sequence[Answer]) -> dict[str, JSON]:
    """How many were called what."""
    counts = Counter(one.label for one in answers)
    low, high = wilson_interval(counts["suspicious"], len(answers))
    print(f"{name}: {len(answers)}: {dict(counts)}; suspicious {low:.3f} to {high:.3f} (95 % interval)")
    told = {label: counts[label] for label in LABELS}
    return {"pictures": len(answers), **told, "low": round(low, 4), "high": round(high, 4)}


def pairs(name: str, both: Sequence[tuple[Answer, Answer]]) -> dict[str, JSON]:
    """AUROC of forgeries by one attack against their films, and the share called suspicious."""
    area = auroc([forged.score for forged, _ in both], [film.score for _, film in both])
    found = sum(forged.label == "suspicious" for forged, _ in both) / len(both)
    print(f"{name}: {len(both)} pictures, AUROC {area:.3f}, found {found:.2f}")
    return {"pictures": len(both), "auroc": round(area, 4), "found": round(found, 4)}


def on_set(judge: Judge, folder: Path) -> dict[str, JSON]:
    """AUROC of each generator of the aligned set against its films of the test patients, refused ones ranked lowest."""
    scores: dict[str, list[Answer]] = defaultdict(list)
    for entry in table.read(folder / "manifest.csv").entries:
        if entry.part == "test":
            scores[entry.generator or "films"].append(judge(images.planes(entry.path)[0]))
    films = scores.pop("films")
    told: dict[str, JSON] = {"films": verdicts("aligned films", films)}
    for name, answers in sorted(scores.items()):
        area = auroc([one.score for one in answers], [one.score for one in films])
        print(f"aligned {name}: AUROC {area:.3f}")
        told[name] = {**verdicts(f"aligned {name}", answers), "auroc": round(area, 4)}
    return told


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", type=Path, required=True, help="folder of the aligned set")
    parser.add_argument("--cards", type=Path, default=weights.PACKAGED)
    parser.add_argument("--write-cards", action="store_true", help="state the results in the Card")
    return parser.parse_args()


if __name__ == "__main__":
    main()
