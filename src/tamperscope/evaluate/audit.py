"""Shortcuts: can forged be told from authentic by what has nothing to do with the forgery?

Three probes see no forged place and are trained and judged on the set itself, patients held out in turn: one on the
header, one on the histogram of the values, one on what lies outside of the body. They ought to fail; where one does
not, a model may have learned the export instead of the forgery. Two checks are of the model: with the place blanked in
forgery and twin alike it must know nothing more, and a forgery must rank above its own twin. The probes with permuted
labels say how far from 0.5 chance alone gets in a set of this size.

The battery follows the audits of published code that found such shortcuts (CT-GAN's copied headers; contrast recipes of
one class): a probe that works is a finding about the set, one that fails is no proof that there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tamperscope import anatomy
from tamperscope.datasets.cases import Case
from tamperscope.errors import MissingExtraError
from tamperscope.evaluate.metrics import auroc
from tamperscope.evaluate.outcomes import Tested
from tamperscope.records import JSON, MaskArray, Volume

FACTS = ("manufacturer", "model", "kernel", "slice_thickness_mm", "body_part", "photometric")
BINS = np.linspace(-1024.0, 3072.0, 65)
FOLDS = 5
FEWEST = 10
"""Series of each class below which a probe says nothing."""
SUSPECT = 0.15
"""Distance of an AUROC from 0.5 that is called a shortcut, if it is also further than permuted labels get."""
PERMUTATIONS, TREES = 3, 50
SEED = 0
Pair: TypeAlias = tuple[float, float]
"""Of a forgery and its twin."""


@dataclass(frozen=True, slots=True, eq=False)
class Traits:
    """What the probes may see of a case."""

    header: Mapping[str, float | str]
    histogram: NDArray[np.float64]
    background: NDArray[np.float64]


def traits(case: Case) -> Traits:
    """Header facts; shares of values (64), over the whole volume and outside of the body, forged voxels left out."""
    volume = case.volume
    untouched = np.ones(volume.shape, dtype=bool) if case.mask is None else ~case.mask
    outside = ~anatomy.body(volume.luminance) if volume.modality == "CT" else np.zeros(volume.shape, dtype=bool)
    return Traits(_header(volume), _shares(volume.luminance[untouched]), _shares(volume.luminance[outside & untouched]))


def _header(volume: Volume) -> dict[str, float | str]:
    depth, height, width = volume.shape
    found: dict[str, float | str] = {
        "slices": depth,
        "rows": height,
        "columns": width,
        "bits": volume.bits_stored,
        "lowest": float(volume.voxels.min()),
        "highest": float(volume.voxels.max()),
    }
    found |= {f"spacing {axis}": round(mm, 4) for axis, mm in zip("kji", volume.spacing_mm, strict=True)}
    for fact in FACTS:
        value = volume.header.get(fact)
        if isinstance(value, int | float | str):
            found[fact] = value
    return found


def _shares(values: NDArray[np.float32]) -> NDArray[np.float64]:
    counts, _ = np.histogram(np.clip(values, BINS[0], BINS[-1]), bins=BINS)
    return counts / max(int(counts.sum()), 1)


def probes(seen: Sequence[Traits], forged: Sequence[bool], patients: Sequence[str]) -> list[dict[str, JSON]]:
    """AUROC of each probe, beside the furthest that it gets with permuted labels; None where there are too few."""
    tables: dict[str, Callable[[], NDArray[np.float64]]] = {
        "header only": lambda: _vectors([one.header for one in seen]),
        "histogram only": lambda: np.array([one.histogram for one in seen]),
        "background only": lambda: np.array([one.background for one in seen]),
    }
    truth = np.array(forged, dtype=bool)
    enough = min(int(truth.sum()), int((~truth).sum())) >= FEWEST and len(set(patients)) >= 2
    return [
        _probe(name, make(), truth, patients) if enough else _finding(name, None, None) for name, make in tables.items()
    ]


def _probe(name: str, table: NDArray[np.float64], truth: NDArray[np.bool_], patients: Sequence[str]) -> dict[str, JSON]:
    rng = np.random.default_rng(SEED)
    chance = [_held_out(table, rng.permutation(truth), patients) for _ in range(PERMUTATIONS)]
    return _finding(name, _held_out(table, truth, patients), max(abs(area - 0.5) for area in chance))


def _held_out(table: NDArray[np.float64], truth: NDArray[np.bool_], patients: Sequence[str]) -> float:
    """AUROC of a forest whose answers are all on patients that it was not trained on."""
    try:
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.model_selection import GroupKFold
    except ModuleNotFoundError as error:
        raise MissingExtraError("scikit-learn", "train") from error
    scores = np.full(truth.size, 0.5)
    for train, test in GroupKFold(min(FOLDS, len(set(patients)))).split(table, truth, patients):
        if truth[train].any() and not truth[train].all():
            forest = RandomForestClassifier(TREES, random_state=SEED, min_samples_leaf=2).fit(
                table[train], truth[train]
            )
            scores[test] = forest.predict_proba(table[test])[:, 1]
    return auroc(scores[truth], scores[~truth])


def _vectors(facts: Sequence[Mapping[str, float | str]]) -> NDArray[np.float64]:
    """Numbers as they are, words as one column for each value."""
    try:
        from sklearn.feature_extraction import DictVectorizer
    except ModuleNotFoundError as error:
        raise MissingExtraError("scikit-learn", "train") from error
    return np.asarray(DictVectorizer(sparse=False).fit_transform([dict(one) for one in facts]), dtype=np.float64)


def twin_of(forged: Case, authentic: Iterable[Case]) -> Case | None:
    """The authentic case that shares every voxel outside of the mask with a forged one, and none in it."""
    mask = forged.mask
    if mask is None:
        return None
    for other in authentic:
        same = other.patient == forged.patient and other.volume.shape == forged.volume.shape
        if same and np.array_equal(other.volume.voxels != forged.volume.voxels, mask):
            return other
    return None


def pair_scores(forged: Case, twin: Case, tested: Tested) -> tuple[Pair, Pair] | None:
    """Probabilities of forgery and twin, as they are and with the place blanked in both; None where one is refused."""
    mask = forged.mask
    if mask is None or not mask.any():
        return None
    plain = [tested.judge(case.volume).probability for case in (forged, twin)]
    blanked = [tested.judge(_blanked(case.volume, mask)).probability for case in (forged, twin)]
    if plain[0] is None or plain[1] is None or blanked[0] is None or blanked[1] is None:
        return None
    return (plain[0], plain[1]), (blanked[0], blanked[1])


def of_model(scores: Sequence[tuple[Pair, Pair]]) -> list[dict[str, JSON]]:
    """AUROC of forgeries against their twins, as they are and with the place blanked in both alike."""
    rows: list[dict[str, JSON]] = []
    checks = (("forgery against its twin", "high"), ("the same with the place blanked", "0.5"))
    for which, (name, expected) in enumerate(checks):
        pairs = [both[which] for both in scores]
        area = auroc([forged for forged, _ in pairs], [twin for _, twin in pairs])
        rows.append({"check": name, "auroc": _rounded(area), "expected": expected, "pairs": len(pairs)})
    return rows


def _blanked(volume: Volume, mask: MaskArray) -> Volume:
    """The volume with one value in the box round the mask: the median of what the box holds beside it."""
    changed = np.argwhere(mask)
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(changed.min(axis=0), changed.max(axis=0), strict=True))
    voxels = volume.voxels.copy()
    beside = volume.voxels[box][~mask[box]]
    voxels[box] = np.median(beside) if beside.size else volume.voxels.min()
    return replace(volume, voxels=voxels, digest=f"{volume.digest} blanked")


def _finding(name: str, area: float | None, chance: float | None) -> dict[str, JSON]:
    shortcut = area is not None and chance is not None and abs(area - 0.5) > max(SUSPECT, chance)
    return {
        "check": name,
        "auroc": _rounded(area),
        "expected": "0.5",
        "permuted": _rounded(None if chance is None else 0.5 + chance),
        "shortcut": shortcut,
    }


def _rounded(value: float | None) -> JSON:
    return None if value is None or not np.isfinite(value) else round(float(value), 4)


def in_words(rows: Sequence[Mapping[str, JSON]]) -> list[str]:
    """What the battery found, a sentence each."""
    said = []
    for row in rows:
        name, area = row["check"], row["auroc"]
        if area is None:
            said.append(f"{name}: too few series to say.")
        elif row.get("shortcut"):
            said.append(
                f"{name}: tells forged from authentic (AUROC {area}). A model can be right here for a wrong reason."
            )
        elif "permuted" in row:
            said.append(f"{name}: no shortcut seen (AUROC {area}, permuted labels reach {row['permuted']}).")
        elif row["expected"] == "0.5" and isinstance(area, float) and abs(area - 0.5) > SUSPECT:
            said.append(f"{name}: the model still tells them apart (AUROC {area}): it looks at something else.")
        else:
            said.append(f"{name}: AUROC {area}.")
    return said
