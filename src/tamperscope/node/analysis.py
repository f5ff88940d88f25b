"""One study judged: its images scanned, its result objects on the disk, their deliveries in the table of jobs."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydicom import dcmread

import tamperscope
from tamperscope import study
from tamperscope.decode import decode
from tamperscope.errors import InputError, TamperscopeError, UnreadableError
from tamperscope.jobs.audit import Audit
from tamperscope.jobs.deliver import Courier
from tamperscope.jobs.files import flush
from tamperscope.jobs.ledger import Ledger
from tamperscope.jobs.queue import Job, Order, Queue
from tamperscope.jobs.worker import Done, Later
from tamperscope.node.config import Config
from tamperscope.node.store import ANALYSE, Store
from tamperscope.records import JSON, Report
from tamperscope.report.dicom import DEFAULT_KINDS

RESULTS = "results"


@dataclass(frozen=True, slots=True)
class Analysis:
    """Does the jobs of the kind "analyse"."""

    config: Config
    store: Store
    courier: Courier
    audit: Audit
    queue: Queue

    def analyse(self, job: Job) -> Done:
        """Judge the study as it is now. The same study and model give the same objects, whichever try this is.

        Raises:
            Later: another worker has an earlier version of the study.
            UnreadableError: nothing of it is there.
            TamperscopeError: nothing could be judged, a model is damaged, or a file cannot be written.
        """
        uid, version = str(job.payload["study"]), int(job.payload["version"])
        if self.store.version(uid) > version:
            return Done({"superseded": True})
        if self.queue.held_beside(job, f"{ANALYSE}:{uid}:"):
            raise Later("another worker has an earlier version of the study")
        paths, copies = self.store.images(uid)
        if not paths:
            raise UnreadableError("the study has no images", hint="send it again")
        out = self.config.folder / RESULTS / _safe(uid) / str(version)
        seen = Ledger(self.store.engine)
        answer = self._scan(job, paths, out, seen)
        if not answer.series:
            first = answer.failed[0].error if answer.failed else "it holds no images"
            raise TamperscopeError(f"nothing of the study could be judged: {first}", hint="see its files")
        orders = self._orders(out, answer)
        altered = _altered(copies, seen)
        if altered:
            # Whoever sends first must not keep what comes later from being looked at.
            again = self._scan(job, altered, out / "altered", seen)
            orders += self._orders(out / "altered", again)
        if self.config.destinations and not orders:
            raise TamperscopeError("no result object could be made", hint="see the report in the results folder")
        self._tell(job, paths, answer, seen)
        return Done(_summary(answer), orders)

    def _scan(self, job: Job, paths: list[Path], out: Path, seen: Ledger) -> Report:
        answer = tamperscope.scan(
            paths,
            out=out,
            keep_heatmaps=False,
            **self.config.model.settings(),
            dicom_out=out,
            dicom_kinds=self._kinds(),
            when=datetime.fromtimestamp(job.payload["when"]),  # each try writes the same bytes
            decoded=seen.see,
        )
        flush((*out.iterdir(), out, out.parent, out.parent.parent))
        return answer

    def _kinds(self) -> tuple[str, ...]:
        wanted = (kind for one in self.config.destinations.values() for kind in one.objects)
        return tuple(dict.fromkeys(wanted)) or DEFAULT_KINDS

    def _tell(self, job: Job, paths: list[Path], answer: Report, seen: Ledger) -> None:
        about_study = str(job.payload["study"])
        for uid in dict.fromkeys(seen.changed):
            self.audit.write("conflict", study=about_study, instance=uid, reason="other pixels than at first sight")
        about: dict[str, JSON] = {"patient": _patient(paths[0])} if self.config.audit.patient else {}
        self.audit.write("judged", study=about_study, ledger=seen.head(), **_summary(answer), **about)

    def _orders(self, out: Path, answer: Report) -> list[Order]:
        orders: list[Order] = []
        for series in answer.series:
            files = {kind: out / f"{series.name}.{kind}.dcm" for kind in self._kinds()}
            orders += self.courier.orders({kind: path for kind, path in files.items() if path.is_file()})
        return orders


def _summary(answer: Report) -> dict[str, JSON]:
    """Verdicts and states of provenance by number, and what decided; no patient in it."""
    verdicts = Counter(series.verdict for series in answer.series)
    origins = Counter(series.provenance.state for series in answer.series)
    return {
        "provenance": {str(key): origins[key] for key in sorted(origins)},
        "verdicts": {str(key): verdicts[key] for key in sorted(verdicts)},
        "failed": len(answer.failed),
        "models": [f"{model.name} {model.sha256[:12]}" for model in answer.models],
    }


def _patient(path: Path) -> str:
    """Patient ID, for an audit log that is allowed to hold it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return str(dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"]).get("PatientID", ""))


def _altered(copies: list[Path], seen: Ledger) -> list[Path]:
    """Of further objects under UIDs that are known, those whose pixels are not those of first sight."""
    found = []
    for path in copies:
        before = len(seen.changed)
        for one in study.read(path).studies:
            for series in one.series:
                with suppress(InputError):
                    seen.see(decode(series))
        if len(seen.changed) > before:
            found.append(path)
    return found


def _safe(uid: str) -> str:
    """A UID as a folder's name; what is none by the standard is named by its digest."""
    return uid if re.fullmatch(r"[0-9]+(\.[0-9]+)*", uid) else hashlib.sha256(uid.encode()).hexdigest()
