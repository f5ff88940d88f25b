"""An upload is read: its files get their names back, its images are grouped into studies, each a folder of its own.

This is the first process that looks into what was handed in.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, delete, insert, select, update

from tamperscope import study as reader
from tamperscope.errors import TamperscopeError, UnreadableError
from tamperscope.formats import dicom
from tamperscope.jobs import database
from tamperscope.jobs.audit import Audit
from tamperscope.jobs.files import flush
from tamperscope.jobs.queue import Job
from tamperscope.jobs.tables import SCANS, UPLOAD_FILES, UPLOADS
from tamperscope.jobs.worker import Done
from tamperscope.limits import DEFAULT_LIMITS
from tamperscope.records import JSON, Instance, Reading, Study
from tamperscope.service.studies import IMAGES, Studies, queue_in
from tamperscope.service.uploads import Uploads, cleaned, placed, storable

TREE = "tree"
MOST_LISTED = 200
"""Of what was skipped and what failed; the rest is counted."""
ANY_STUDY = "STOW-RS"
"""What an upload by STOW-RS is called that is bound to no study; another has the UID of its study for a name."""
CANNOT_UNDERSTAND, OTHER_STUDY = 0xC000, 0xA900
"""Failure Reasons of STOW-RS (PS3.18 table 10.5.3-2, with those of PS3.4 table B.2-1)."""


@dataclass
class Reader:
    """Does the jobs of the kind "read"."""

    engine: Engine
    uploads: Uploads
    studies: Studies
    audit: Audit
    now: Callable[[], float] = time.time

    def read(self, job: Job) -> Done:
        """Make studies of an upload; the same ones, whichever try this is."""
        upload = self.uploads.one(str(job.payload["upload"]))
        if upload.state != "received":
            return Done()
        with database.reading(self.engine) as connection:
            origin = connection.execute(select(UPLOADS.c.origin).where(UPLOADS.c.id == upload.id)).scalar_one()
        place = self.uploads.place(upload.id)
        entries = self._tree(upload.id, place / TREE)
        with chdir(place / TREE):
            result = self._stored(upload.id) if origin == "stow" else {}
            reading = reader.read(entries)
            make = self._gathered if origin == "stow" else self._new
            names = _names(upload.name, reading.studies)
            made = [make(upload.id, upload.owner, number, *pair) for number, pair in enumerate(names)]
        result |= {"studies": list(dict.fromkeys(made)), **_listed(reading)}
        error = None if made else _why(reading)
        values = {"state": "read" if made else "failed", "result": result, "error": error, "changed": self.now()}
        with self.engine.begin() as connection:
            connection.execute(update(UPLOADS).where(UPLOADS.c.id == upload.id).values(**values))
            connection.execute(delete(UPLOAD_FILES).where(UPLOAD_FILES.c.upload == upload.id))
        shutil.rmtree(place, ignore_errors=True)
        facts: dict[str, JSON] = {"studies": list(made), "failed": len(reading.failed), "skipped": len(reading.skipped)}
        self.audit.write("received", upload=upload.id, user=upload.owner, **facts)
        return Done()

    def _tree(self, upload: str, tree: Path) -> list[str]:
        """Links to the files of an upload under the names that they were sent with; its uppermost entries."""
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir(parents=True)
        for file in self.uploads.files(upload):
            target = placed(tree, file.name, file.number)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(tree.parent / str(file.number), target)
        return sorted(path.name for path in tree.iterdir())

    def _new(self, upload: str, owner: str, number: int, name: str, one: Study) -> str:
        """A study of its own, waiting to be judged."""
        study = hashlib.sha256(f"{upload} {number}".encode()).hexdigest()[:32]
        with database.reading(self.engine) as connection:
            if connection.execute(select(SCANS.c.id).where(SCANS.c.id == study)).first():
                return study
        place = self.studies.place(study)
        shutil.rmtree(place, ignore_errors=True)
        size = _place(_instances(one), place / IMAGES, Path(name).name)
        row = _row(upload, owner, name, one, self.now()) | {"id": study, "bytes": size, "state": "waiting"}
        with self.engine.begin() as connection:
            connection.execute(insert(SCANS).values(**row))
            queue_in(connection, self.engine, study, self.now())
        return study

    def _gathered(self, upload: str, owner: str, _number: int, name: str, one: Study) -> str:
        """More of a study that comes piece by piece, which is judged when no more comes."""
        study = hashlib.sha256(f"stow {owner} {one.study_uid or upload}".encode()).hexdigest()[:32]
        folder = self.studies.place(study) / IMAGES
        size = _place(_instances(one), folder, one.study_uid or name, by_digest=True)
        with self.engine.begin() as connection:
            query = select(SCANS).where(SCANS.c.id == study)
            known = connection.execute(query).mappings().one_or_none()
            row = _row(upload, owner, one.study_uid or name, one, self.now()) | {"bytes": size}
            if known is None:
                connection.execute(insert(SCANS).values(**row, id=study, state="gathering"))
            else:
                more = {
                    "state": "gathering",
                    "changed": self.now(),
                    "slices": _images(folder),
                    "bytes": _bytes(folder),
                    "modalities": sorted({*known["modalities"], *row["modalities"]}),
                }
                connection.execute(update(SCANS).where(SCANS.c.id == study).values(**more))
        return study

    def _stored(self, upload: str) -> dict[str, Any]:
        """What each object of a STOW-RS request is, or why it was not taken; the working folder holds them."""
        query = select(UPLOADS.c.name).where(UPLOADS.c.id == upload)
        with database.reading(self.engine) as connection:
            wanted = str(connection.execute(query).scalar_one())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote what they find odd
            return {"instances": [_stored(Path(file.name), wanted) for file in self.uploads.files(upload)]}


def _stored(path: Path, wanted: str) -> dict[str, JSON]:
    """Class and UID of one object, and a Failure Reason or none.

    ``wanted`` is the study it has to be of, or `ANY_STUDY`. What is not taken is removed.
    """
    try:
        data = path.read_bytes()
        if not dicom.is_dicom(data):
            raise UnreadableError(f"{path.name}: no DICOM", hint="send instances")
        parsed = dicom.parse(data, path.name, DEFAULT_LIMITS)
        if dicom.skip_reason(parsed) is None:
            dicom.check_pixels(parsed, DEFAULT_LIMITS)  # what cannot be read is not said to be kept
    except (TamperscopeError, OSError):
        path.unlink(missing_ok=True)
        return {"class": None, "uid": None, "study": None, "reason": CANNOT_UNDERSTAND}
    header = dicom.read_header(parsed)
    found: dict[str, JSON] = {"class": dicom.sop_class_of(parsed), "uid": header.sop_instance_uid}
    reason = None
    if not (found["class"] and found["uid"] and header.study_uid):
        reason = CANNOT_UNDERSTAND
    elif wanted not in (ANY_STUDY, header.study_uid):
        reason = OTHER_STUDY
    if reason is not None:
        path.unlink(missing_ok=True)
    return {**found, "study": header.study_uid, "reason": reason}


def _instances(one: Study) -> list[Instance]:
    return [instance for series in one.series for instance in series.instances]


def _place(instances: Sequence[Instance], folder: Path, root: str, *, by_digest: bool = False) -> int:
    """Put the files of a study below ``folder``, on the disk; the bytes that they take.

    A member of an archive is written out, another file is linked. The working folder is the one they were read from.
    """
    names = [instance.source.replace(".zip!", "/").replace("!", "/") for instance in instances]
    common = os.path.commonpath(names) if len(names) > 1 else ""
    shared = len(common) + 1 if common else 0
    wholes = Path(names[0]).name if len(names) == 1 else root
    total, touched = 0, {folder}
    for number, (instance, name, data) in enumerate(zip(instances, names, reader.payloads(instances), strict=True)):
        total += len(data)
        if by_digest:
            target = folder / cleaned(root) / f"{hashlib.sha256(data).hexdigest()[:32]}.dcm"
            if target.exists():
                continue
        else:
            whole = cleaned(wholes) if len(names) == 1 else f"{cleaned(wholes)}/{cleaned(name[shared:])}"
            target = placed(folder, whole, number)
        target.parent.mkdir(parents=True, exist_ok=True)
        if instance.member is None and instance.path is not None:
            os.link(instance.path, target)
        else:
            target.write_bytes(data)
        touched |= {target, *(parent for parent in target.parents if parent.is_relative_to(folder))}
    flush((*touched, folder.parent, folder.parent.parent))
    return total


def _names(name: str, studies: Sequence[Study]) -> list[tuple[str, Study]]:
    """What each study is called: as the upload, and where that has several, with what tells them apart."""
    if len(studies) == 1:
        return [(name, studies[0])]
    told = []
    for number, one in enumerate(studies, start=1):
        files = [instance.source for instance in _instances(one)]
        shared = files[0] if len(files) == 1 else os.path.commonpath(files)
        told.append(Path(shared.replace("!", "/")).name or f"study {number}")
    clear = len(set(told)) == len(told)
    return [
        (f"{name}/{part}" if clear else f"{name}/{number} {part}", one)
        for number, (part, one) in enumerate(zip(told, studies, strict=True), start=1)
    ]


def _row(upload: str, owner: str, name: str, one: Study, now: float) -> dict[str, Any]:
    return {
        "upload": upload,
        "owner": owner,
        "name": storable(name),
        "study_uid": None if one.study_uid is None else storable(one.study_uid)[:64],
        "modalities": sorted({storable(series.modality) for series in one.series}),
        "series": len(one.series),
        "slices": sum(instance.frames for instance in _instances(one)),
        "version": 0,
        "progress": 0.0,
        "suspicion": 0.0,
        "made": now,
        "changed": now,
    }


def _listed(reading: Reading) -> dict[str, Any]:
    return {
        "skipped": [{"source": one.source, "reason": one.reason} for one in reading.skipped[:MOST_LISTED]],
        "failed": [
            {"source": one.source, "error": one.error, "hint": one.hint} for one in reading.failed[:MOST_LISTED]
        ],
        "skipped_count": len(reading.skipped),
        "failed_count": len(reading.failed),
    }


def _why(reading: Reading) -> str:
    if reading.failed:
        return storable(reading.failed[0].error[:500])
    return storable(f"no image in it: {reading.skipped[0].reason}") if reading.skipped else "no image in it"


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _images(folder: Path) -> int:
    return len(_files(folder))


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in _files(folder))
