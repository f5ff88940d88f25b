"""A trained classifier of pictures as a detector, so that it is judged as any other model is.

A run folder holds ``model.onnx`` and ``model.json``, which says what pictures it takes and how its score is read. Its
score of a series is the highest logit of a slice, as the literature decides on a patient.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamperscope import pictures, weights
from tamperscope.calibrate import fit_curve
from tamperscope.errors import LimitError, WeightsError
from tamperscope.evaluate.decisions import threshold_for
from tamperscope.evaluate.outcomes import Tested
from tamperscope.pictures import Grey, PictureSpec
from tamperscope.records import Evidence, OperatingPoint, Volume
from tamperscope.verdict import Policy

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SCHEMA = "tamperscope/baseline/1"
MODEL, NETWORK = "model.json", "model.onnx"
INPUT, OUTPUT = "pictures", "logits"
"""Names in the ONNX file: float32 (N, 1, side, side) of 0 to 1, and float32 (N, 1)."""
ROUNDING = 1e-4
"""What the order of a sum may move a logit by: machines and numbers of threads differ. Thresholds lie above it."""
BATCH = 8
"""Pictures that the network sees at once."""


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
    spec: PictureSpec
    modalities: tuple[str, ...]
    """What it was trained on; about anything else it has no answer."""
    curve: PlattCurve
    sha256: str
    """Of ``model.onnx``."""
    manifest: str
    """Digest of the manifest that it was trained on."""
    training: Mapping[str, Any]
    """Recipe, steps, slices and what else is known of the training."""

    def to_json(self, false_alarms: float = 0.01) -> str:
        """As it is stored; the threshold for ``false_alarms`` stands in it for people, and follows from the curve."""
        point = self.curve.operating_point(false_alarms)
        tree = {
            "schema": SCHEMA,
            "name": self.name,
            "system": self.system,
            "input": {
                "side": self.spec.side,
                "window_hu": list(self.spec.window_hu),
                "clahe": self.spec.clahe,
                "values": "0-1",
                "modalities": list(self.modalities),
            },
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
            "sha256": self.sha256,
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
        seen, scale = tree["input"], tree["calibration"]
        low, high = seen["window_hu"]
        spec = PictureSpec(int(seen["side"]), (float(low), float(high)), bool(seen["clahe"]))
        held = tuple(float(score) for score in scale["authentic_scores"])
        curve = PlattCurve(float(scale["slope"]), float(scale["offset"]), held)
        texts = {key: str(tree[key]) for key in ("name", "system", "sha256", "manifest")}
        return Baseline(
            **texts, spec=spec, modalities=tuple(seen["modalities"]), curve=curve, training=tree["training"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"cannot read {path}: {error}", hint=hint) from error


@dataclass(slots=True)
class PictureDetector:
    """Runs the network of a run folder over every slice; see `detectors.Detector`. The session opens at first use."""

    folder: Path
    threads: int | None = None
    baseline: Baseline = field(init=False)
    _session: InferenceSession | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.baseline = read_baseline(self.folder)

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.baseline.name

    def detect(self, volume: Volume) -> Evidence:
        """Raw values are logits; there is no heat map.

        Raises:
            WeightsError: the network is missing or not the one that ``model.json`` promises.
        """
        known = self.baseline.modalities
        if volume.modality not in known:
            reason = f"the model was trained on {', '.join(known)}, this is {volume.modality}"
            return Evidence(self.name, None, reasons=(reason,))
        scores = self.logits(
            pictures.grey(plane, volume.modality, self.baseline.spec) for plane in pictures.planes(volume)
        )
        return Evidence(self.name, max(scores), slice_scores=scores)

    def logits(self, shown: Iterable[Grey]) -> tuple[float, ...]:
        """One for each picture (side, side)."""
        if self._session is None:
            self._session = weights.opened(self._verified(), NETWORK, self.threads)
        return logits(self._session, shown)

    def _verified(self) -> bytes:
        path = self.folder / NETWORK
        try:
            data = path.read_bytes()
        except OSError as error:
            raise WeightsError(f"cannot read {path}: {error.strerror}", hint="train the model again") from error
        found = hashlib.sha256(data).hexdigest()
        if found != self.baseline.sha256:
            raise WeightsError(
                f"{path} has SHA-256 {found}, {MODEL} promises {self.baseline.sha256}",
                hint="the file was changed or damaged: train the model again",
            )
        return data


def as_tested(folder: Path, policy: Policy | None = None, threads: int | None = None) -> Tested:
    """The model of a run folder as `outcomes.outcome` judges it.

    Raises:
        WeightsError: there is none, or it is damaged.
    """
    detector = PictureDetector(folder, threads)
    return Tested(detector.name, detector, detector.baseline.curve, policy or Policy())


def logits(session: InferenceSession, shown: Iterable[Grey]) -> tuple[float, ...]:
    """What the network answers to each picture (side, side).

    Raises:
        LimitError: ONNX Runtime fails.
        WeightsError: it does not answer with one finite number a picture.
    """
    found: list[float] = []
    stream = iter(shown)
    while some := tuple(islice(stream, BATCH)):
        found += _run(session, pictures.unit(np.stack(some)))
    return tuple(found)


def _run(session: InferenceSession, seen: NDArray[np.float32]) -> list[float]:
    try:
        (answer,) = session.run([OUTPUT], {INPUT: seen})
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        raise LimitError(
            f"the network failed on {len(seen)} pictures of {seen.shape[-1]} pixels a side: {error}",
            hint="most likely memory: close other programs; or the file takes other pictures: train the model again",
        ) from error
    found = np.asarray(answer, np.float64).reshape(-1)
    if found.size != len(seen) or not np.isfinite(found).all():
        raise WeightsError(
            f"the network gave {np.isfinite(found).sum()} finite numbers for {len(seen)} pictures",
            hint="it gives one finite logit a picture: train the model again",
        )
    return [float(logit) for logit in found]
