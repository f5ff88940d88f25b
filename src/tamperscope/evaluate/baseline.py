"""A trained system as a detector, so that it is judged as any other model is.

A run folder holds ``model.json``, which says how the system looks and how its score is read, and the networks that it
names. How each system looks stands in `systems`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamperscope.calibrate import fit_curve
from tamperscope.errors import WeightsError
from tamperscope.evaluate import systems
from tamperscope.evaluate.decisions import threshold_for
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.outcomes import Tested
from tamperscope.evaluate.systems import System
from tamperscope.records import Evidence, OperatingPoint, Volume
from tamperscope.verdict import Policy

SCHEMA = "tamperscope/baseline/1"
MODEL = "model.json"
ROUNDING = 1e-4
"""What the order of a sum may move a logit by: machines and numbers of threads differ. Thresholds lie above it."""


@dataclass(frozen=True, slots=True)
class PlattCurve:
    """Logistic curve from a series' score to a probability; see `calibrate.Curve`. Places play no role here."""

    slope: float
    offset: float
    authentic: tuple[float, ...]
    """Scores of the authentic series of the part calibrate, from which thresholds are taken."""

    @classmethod
    def fit(cls, authentic: Iterable[float], forged: Iterable[float]) -> PlattCurve:
        """From the scores of series that the network was not trained on (Platt 1999, see `calibrate.fit_curve`)."""
        held = tuple(authentic)
        return cls(*fit_curve(held, tuple(forged)), tuple(sorted(held)))

    def probability(self, score: ArrayLike, places: float = 1.0) -> NDArray[np.float64]:  # noqa: ARG002
        """Probability of tampering, in double precision so that strong scores keep their order."""
        logit = self.slope * np.asarray(score, np.float64) + self.offset
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logit, -500.0, 500.0))))

    def operating_point(self, false_positive_rate: float) -> OperatingPoint:
        """The lowest probability that at most this share of the authentic series reaches.

        With fewer series than one false alarm needs, just above the highest of them: see `measured`.
        """
        rate = false_positive_rate if self.measured(false_positive_rate) else 0.0
        border = threshold_for(self.authentic, rate) + ROUNDING
        return OperatingPoint(false_positive_rate, float(self.probability(border)))

    def measured(self, false_positive_rate: float) -> bool:
        """Whether there are enough authentic series for this rate."""
        return not np.isnan(threshold_for(self.authentic, false_positive_rate))

    def told(self, false_positive_rate: float) -> str:
        """How the threshold was found, in words."""
        count = len(self.authentic)
        if self.measured(false_positive_rate):
            return f"{false_positive_rate:g} false alarms per series among {count} authentic series"
        return (
            f"just above the highest of {count} authentic series: "
            f"{false_positive_rate:g} false alarms per series would need {round(1 / false_positive_rate)}"
        )


@dataclass(frozen=True, slots=True)
class Baseline:
    """What ``model.json`` says."""

    name: str
    system: str
    """As the recipe calls it."""
    look: str
    """How it looks: one of `systems.LOOKS`."""
    settings: Mapping[str, Any]
    """Of its look."""
    modalities: tuple[str, ...]
    """What it was trained on; about anything else it has no answer."""
    curve: PlattCurve
    files: Mapping[str, str]
    """SHA-256 of each network by its file name."""
    manifest: str
    """Digest of the manifest that it was trained on."""
    training: Mapping[str, Any]
    """Recipe, steps, slices and what else is known of the training."""

    @property
    def sha256(self) -> str:
        """Of the model: of its one network, or of the digests of all."""
        digests = [self.files[name] for name in sorted(self.files)]
        return digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()

    def to_json(self, false_alarms: float = 0.01) -> str:
        """As it is stored; the threshold for ``false_alarms`` stands in it for people, and follows from the curve."""
        point = self.curve.operating_point(false_alarms)
        tree = {
            "schema": SCHEMA,
            "name": self.name,
            "system": self.system,
            "input": {"look": self.look, **self.settings, "modalities": list(self.modalities)},
            "calibration": {
                "slope": self.curve.slope,
                "offset": self.curve.offset,
                "authentic_scores": list(self.curve.authentic),
            },
            "threshold": {
                "false_positive_rate": false_alarms,
                "probability": point.threshold,
                "how": self.curve.told(false_alarms),
            },
            "manifest": self.manifest,
            "files": dict(self.files),
            "training": dict(self.training),
        }
        return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def read_baseline(folder: Path) -> Baseline:
    """What the ``model.json`` of a run says.

    Raises:
        WeightsError: it is missing, is of another schema, or lacks something.
    """
    path = folder / MODEL
    hint = "give the folder of a run of tamperscope train that has ended"
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        if tree["schema"] != SCHEMA:
            raise WeightsError(f"{path} is not of schema {SCHEMA}", hint=hint)
        settings, scale = dict(tree["input"]), tree["calibration"]
        look, modalities = str(settings.pop("look")), tuple(settings.pop("modalities"))
        held = tuple(float(score) for score in scale["authentic_scores"])
        curve = PlattCurve(float(scale["slope"]), float(scale["offset"]), held)
        texts = {key: str(tree[key]) for key in ("name", "system", "manifest")}
        files = {str(name): str(digest) for name, digest in tree["files"].items()}
        return Baseline(
            **texts,
            look=look,
            settings=settings,
            modalities=modalities,
            curve=curve,
            files=files,
            training=tree["training"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"cannot read {path}: {error}", hint=hint) from error


@dataclass(slots=True)
class BaselineDetector:
    """The system of a run folder; see `detectors.Detector`. Its networks are read and verified at once.

    Raises:
        WeightsError: ``model.json`` or a network is missing, damaged or not the one that was promised.
    """

    folder: Path
    threads: int | None = None
    baseline: Baseline = field(init=False)
    system: System = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.baseline = found = read_baseline(self.folder)
        self.system = systems.made(found.look, found.settings, Networks.read(self.folder, found.files, self.threads))

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.baseline.name

    def detect(self, volume: Volume) -> Evidence:
        """Raw values are those of the system."""
        known = self.baseline.modalities
        if volume.modality not in known:
            reason = f"the model was trained on {', '.join(known)}, this is {volume.modality}"
            return Evidence(self.name, None, reasons=(reason,))
        found = self.system.answer(volume)
        return Evidence(self.name, found.highest, heatmap=found.heatmap, slice_scores=found.slices)


def as_tested(folder: Path, policy: Policy | None = None, threads: int | None = None) -> Tested:
    """The model of a run folder as `outcomes.outcome` judges it.

    Raises:
        WeightsError: there is none, or it is damaged.
    """
    detector = BaselineDetector(folder, threads)
    return Tested(detector.name, detector, detector.baseline.curve, policy or Policy())
