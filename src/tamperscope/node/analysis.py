"""One study judged: its images scanned, its result objects on the disk, their deliveries in the table of jobs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydicom import dcmread

import tamperscope
from tamperscope import detectors
from tamperscope.errors import UnreadableError
from tamperscope.jobs.deliver import Courier
from tamperscope.jobs.ledger import Ledger
from tamperscope.jobs.queue import Job, Order
from tamperscope.jobs.worker import Done
from tamperscope.node.audit import Audit
from tamperscope.node.config import Config
from tamperscope.node.store import Store
from tamperscope.records import JSON, Report
from tamperscope.report.dicom import DEFAULT_KINDS
from tamperscope.verdict import Policy

RESULTS = "results"


@dataclass(frozen=True, slots=True)
class Analysis:
    """Does the jobs of the kind "analyse"."""

    config: Config
    store: Store
    courier: Courier
    audit: Audit

    def analyse(self, job: Job) -> Done:
        """Judge the study as it is now. The same study and model give the same objects, whichever try this is.

        Raises:
            UnreadableError: nothing of it is there.
            TamperscopeError: a model is damaged, or a file cannot be written.
        """
        study = str(job.payload["study"])
        paths = self.store.images(study)
        if not paths:
            raise UnreadableError("the study has no images", hint="send it again")
        out = self.config.folder / RESULTS / _safe(study) / str(job.payload["version"])
        model = self.config.model
        wanted = tuple(dict.fromkeys(kind for one in self.config.destinations.values() for kind in one.objects))
        seen = Ledger(self.store.engine)
        answer = tamperscope.scan(
            paths,
            out=out,
            keep_heatmaps=False,
            policy=Policy.at(model.false_alarms),
            cards=(detectors.chosen_card(model.name),) if model.name else None,
            threads=model.threads or None,
            dicom_out=out,
            dicom_kinds=wanted or DEFAULT_KINDS,
            when=datetime.fromtimestamp(job.payload["when"]),  # each try writes the same bytes
            decoded=seen.see,
        )
        _on_disk(out)
        self._tell(job, paths, answer, seen)
        return Done(_summary(answer), self._orders(out, answer, wanted))

    def _tell(self, job: Job, paths: list[Path], answer: Report, seen: Ledger) -> None:
        study = str(job.payload["study"])
        for uid in seen.changed:
            self.audit.write("conflict", study=study, instance=uid, reason="other pixels than at first sight")
        about: dict[str, JSON] = {"patient": _patient(paths[0])} if self.config.audit.patient else {}
        self.audit.write("judged", study=study, ledger=seen.head(), **_summary(answer), **about)

    def _orders(self, out: Path, answer: Report, kinds: tuple[str, ...]) -> list[Order]:
        orders: list[Order] = []
        for series in answer.series:
            files = {kind: out / f"{series.name}.{kind}.dcm" for kind in kinds}
            orders += self.courier.orders({kind: path for kind, path in files.items() if path.is_file()})
        return orders


def _summary(answer: Report) -> dict[str, JSON]:
    """Verdicts by number, and what decided; no patient in it."""
    verdicts: dict[str, int] = {}
    for series in answer.series:
        verdicts[series.verdict] = verdicts.get(series.verdict, 0) + 1
    told: Mapping[str, JSON] = {str(key): value for key, value in sorted(verdicts.items())}
    return {
        "verdicts": dict(told),
        "failed": len(answer.failed),
        "models": [f"{model.name} {model.sha256[:12]}" for model in answer.models],
    }


def _patient(path: Path) -> str:
    """Patient ID, for an audit log that is allowed to hold it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return str(dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"]).get("PatientID", ""))


def _safe(uid: str) -> str:
    """A UID as a folder's name: digits and dots, whatever a sender put there."""
    return "".join(letter if letter in "0123456789." else "_" for letter in uid).strip(".") or "_"


def _on_disk(folder: Path) -> None:
    """Flush the files of a folder, and itself: the job is called done after this."""
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
