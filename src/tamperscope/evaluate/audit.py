"""Shortcuts: can forged be told from authentic by what has nothing to do with the forgery?

Three probes see no forged place and are trained and judged on the set itself, patients held out in turn: one on the
header, one on the histogram of the values, one on what lies outside of the body. They ought to fail; where one does
not, a model may have learned the export instead of the forgery. The probes with permuted labels say how far from 0.5
chance alone gets in a set of this size.

Two checks are of the model. A forgery must rank above its own pristine twin. And with the place blanked, in it and in
an authentic series of the same patient alike, it must not: a model that still tells them apart looks at something else.
An exact twin is then the very same picture, which needs no judging; it is counted as what it is.

The battery follows the audits of published code that found such shortcuts (CT-GAN's copied headers; contrast recipes of
one class): a probe that works is a finding about the set, one that fails is no proof that there is none. A long scan
is seen through `SEEN_SLICES` of its slices, and at most `PAIRS` pairs are judged again, each through `NEAR_SLICES`
round the place: with whole scans the battery would take longer than the evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
BINS, RANGE_HU = 64, (-1024.0, 3072.0)
WHOLE = 0.1
"""Share of the voxels from which a forgery counts as of the whole picture: what is left without them is another part of
the body, and that alone would tell it."""
FOLDS = 5
FEWEST = 10
"""Series of each class below which a probe says nothing."""
SUSPECT = 0.15
"""Distance of an AUROC from 0.5 that is called a shortcut, if it is also further than permuted labels get."""
PERMUTATIONS, TREES = 3, 50
SEED = 0
SEEN_SLICES = 16
"""Slices of a series, evenly spaced, that histogram and background are taken from."""
PAIRS, NEAR_SLICES = 24, 9
"""Pairs that are judged with the place blanked, the first that come, and the slices round the place that are shown."""
Pair: TypeAlias = tuple[float, float]
"""Of a forgery and its twin."""


@dataclass(frozen=True, slots=True, eq=False)
class Traits:
    """What the probes may see of a case."""

    header: Mapping[str, float | str]
    histogram: NDArray[np.float64]
    background: NDArray[np.float64]


def traits(case: Case) -> Traits:
    """Header facts; shares of values (64), over the whole picture and outside of the body, forged voxels left out.

    Of at most `SEEN_SLICES` slices; the header's lowest and highest value are of all. Where much of the picture was
    made, its voxels stay in: the histogram then is that of what was made.
    """
    volume = case.volume
    depth = volume.shape[0]
    shown = np.unique(np.linspace(0, depth - 1, min(depth, SEEN_SLICES)).round().astype(np.intp))
    seen = replace(volume, voxels=volume.voxels[shown]).luminance
    local = case.mask is not None and case.mask.mean() < WHOLE
    untouched = ~case.mask[shown] if local and case.mask is not None else np.ones(seen.shape, dtype=bool)
    outside = ~anatomy.body(seen) if volume.modality == "CT" else np.zeros(seen.shape, dtype=bool)
    low, high = RANGE_HU if volume.modality == "CT" else (0.0, 2.0**volume.bits_stored)
    bins = np.linspace(low, high, BINS + 1)
    return Traits(_header(volume), _shares(seen[untouched], bins), _shares(seen[outside & untouched], bins))


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


def _shares(values: NDArray[np.float32], bins: NDArray[np.float64]) -> NDArray[np.float64]:
    counts, _ = np.histogram(np.clip(values, bins[0], bins[-1]), bins=bins)
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
    chance = [held_out(table, rng.permutation(truth), patients) for _ in range(PERMUTATIONS)]
    return _finding(name, held_out(table, truth, patients), max(abs(area - 0.5) for area in chance))


def held_out(table: NDArray[np.float64], truth: NDArray[np.bool_], patients: Sequence[str]) -> float:
    """AUROC of a forest on rows of numbers (N, F), whose answers are all on patients that it was not trained on.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
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


@dataclass(slots=True)
class Battery:
    """What the checks have gathered so far, case by case: a patient's authentic series before the forged ones."""

    tested: Tested
    scores: Mapping[str, float | None]
    """What the model said of each series."""
    seen: list[Traits] = field(default_factory=list)
    truths: list[bool] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    twins: list[Pair] = field(default_factory=list)
    blanked: list[Pair] = field(default_factory=list)
    identical: int = 0
    """Pairs beside them that are one and the same picture."""
    _authentic: list[Case] = field(default_factory=list)

    def add(self, case: Case) -> None:
        """Look at a case, and hold a forged one against the patient's authentic series."""
        self.seen.append(traits(case))
        self.truths.append(case.forged)
        self.patients.append(case.patient)
        self._authentic = [one for one in self._authentic if one.patient == case.patient]
        if not case.forged:
            self._authentic.append(case)
            return
        twin = twin_of(case, self._authentic)
        if twin is not None:
            self._twin(case, twin)
        elif (partner := partner_of(case, self._authentic)) is not None and self._judged < PAIRS:
            found = blanked_scores(case, partner, self.tested)
            self.blanked += [] if found is None else [found]

    def rows(self) -> list[dict[str, JSON]]:
        """The finding of every check; see `in_words`."""
        return [*probes(self.seen, self.truths, self.patients), *self.of_model()]

    def of_model(self) -> list[dict[str, JSON]]:
        """The findings about the model alone."""
        return [twin_row(self.twins), blanked_row(self.blanked, self.identical)]

    @property
    def _judged(self) -> int:
        return len(self.blanked)

    def _twin(self, case: Case, twin: Case) -> None:
        forged, authentic = self.scores.get(case.name), self.scores.get(twin.name)
        if forged is not None and authentic is not None:
            self.twins.append((forged, authentic))
        # They are equal beside the mask: with its box blanked they are one picture, of which any model says one thing.
        self.identical += 1


def partner_of(forged: Case, authentic: Iterable[Case]) -> Case | None:
    """An authentic series of the same patient on a grid of the same shape."""
    for other in authentic:
        if other.patient == forged.patient and other.volume.shape == forged.volume.shape:
            return other
    return None


def blanked_scores(forged: Case, authentic: Case, tested: Tested) -> Pair | None:
    """Probabilities of the slices round the forgery, its place blanked in both; None where one is refused."""
    mask = forged.mask
    if mask is None or not mask.any():
        return None
    middle = round(float(np.flatnonzero(mask.any(axis=(1, 2))).mean()))
    first = max(min(middle - NEAR_SLICES // 2, mask.shape[0] - NEAR_SLICES), 0)
    near = slice(first, first + NEAR_SLICES)
    shown = [_blanked(case.volume.slab(near.start, near.stop), mask[near]) for case in (forged, authentic)]
    one, other = (tested.judge(volume).probability for volume in shown)
    return None if one is None or other is None else (one, other)


def twin_row(pairs: Sequence[Pair]) -> dict[str, JSON]:
    """AUROC of forgeries against twins, and the share of forgeries that rank above their own, ties counted half."""
    return {
        "check": "forgery against its twin",
        "auroc": _rounded(auroc([forged for forged, _ in pairs], [twin for _, twin in pairs])),
        "expected": "high",
        "pairs": len(pairs),
        "above": _above(pairs),
    }


def blanked_row(pairs: Sequence[Pair], identical: int) -> dict[str, JSON]:
    """Share of judged pairs in which the forged one ranks above, its place blanked in both.

    ``identical`` more were then one and the same picture: no model can tell them apart, so they are counted beside.
    """
    return {
        "check": "place blanked",
        "above": _above(pairs),
        "expected": "0.5",
        "pairs": len(pairs),
        "identical": identical,
    }


def _above(pairs: Sequence[Pair]) -> JSON:
    """Share of pairs whose first is the higher, ties counted half; None without pairs."""
    won = [1.0 if first > second else 0.5 if first == second else 0.0 for first, second in pairs]
    return _rounded(float(np.mean(won)) if won else None)


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
    said = {"forgery against its twin": _twins_said, "place blanked": _blanked_said}
    return [said.get(str(row["check"]), _probe_said)(row) for row in rows]


def _probe_said(row: Mapping[str, JSON]) -> str:
    name, area = row["check"], row["auroc"]
    if area is None:
        return f"{name}: too few series to say."
    if row["shortcut"]:
        return (
            f"{name}: tells forged from authentic (AUROC {area}, permuted labels reach {row['permuted']}). "
            "A model can be right here for a wrong reason."
        )
    return f"{name}: no shortcut seen (AUROC {area}, permuted labels reach {row['permuted']})."


def _twins_said(row: Mapping[str, JSON]) -> str:
    above = row["above"]
    if not isinstance(above, float):
        return "forgery against its twin: the set holds no forgery with its exact twin."
    return (
        f"forgery against its twin: AUROC {row['auroc']}; {above:.0%} of {row['pairs']} forgeries rank above their own"
        " twin (50% by chance)."
    )


def _blanked_said(row: Mapping[str, JSON]) -> str:
    area, pairs, same = row["above"], row["pairs"], row["identical"]
    if not isinstance(area, float):
        if not same:
            return "place blanked: no forgery with a mask and an authentic series of the same shape and patient."
        return (
            f"place blanked: forgery and twin are then the same picture in all {same} pairs: "
            "no pixel beside the place gives the forgery away."
        )
    how = f"the forged one ranks above in {area:.0%} of {pairs} pairs"
    how += f", beside {same} that are then the same picture" if same else ""
    if abs(area - 0.5) > SUSPECT:
        return f"place blanked: the model still tells forged from authentic ({how}): it looks at something else."
    return f"place blanked: the model does not tell forged from authentic ({how})."
