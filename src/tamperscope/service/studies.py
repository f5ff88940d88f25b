"""The studies that were handed in: found, sorted, reviewed, deleted; what was found in them lies in their folders."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import ColumnElement, Engine, String, and_, cast, delete, func, insert, or_, select, update

from tamperscope.errors import UsageError
from tamperscope.jobs import database
from tamperscope.jobs.queue import Order, Queue
from tamperscope.jobs.tables import COMPARISONS, REVIEWS, SCANS, UPLOADS
from tamperscope.records import Report
from tamperscope.report import json as report_json
from tamperscope.service.uploads import MissingError

FOLDER, IMAGES, RESULTS, VIEWS = "studies", "images", "results", "views"
JUDGE = "judge"
"""The kind of the job that judges a study."""
Opinion = Literal["tampered", "authentic", "unsure"]
OPINIONS: tuple[Opinion, ...] = ("tampered", "authentic", "unsure")
Sort = Literal["suspicion", "made", "name"]
KINDS = {
    ".json": "report",
    ".csv": "report",
    ".html": "report",
    ".pdf": "report",
    ".png": "picture",
    ".gz": "heat map",
    ".dcm": "DICOM object",
    ".sha256": "digests",
    ".sig": "signature",
}
REVIEW_COLUMNS = tuple(REVIEWS.c[name] for name in ("id", "series", "digest", "opinion", "comment", "user", "time"))


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A study in a list."""

    id: str
    name: str
    study_uid: str | None
    upload: str
    owner: str
    state: str
    """gathering, waiting, running, done or failed."""
    progress: float
    verdict: str | None
    """Of the most suspicious series."""
    probability: float | None
    provenance: str | None
    modalities: tuple[str, ...]
    series: int
    slices: int
    bytes: int
    opinion: str | None
    """Of the latest review."""
    error: str | None
    made: float
    changed: float
    ended: float | None
    expires: float | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which studies, in which order."""

    state: str | None = None
    verdict: str | None = None
    modality: str | None = None
    opinion: str | None = None
    upload: str | None = None
    text: str = ""
    """Part of the name, the owner or the study's UID."""
    sort: Sort = "suspicion"
    descending: bool = True
    limit: int = 50
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the studies, and how many there are in all."""

    total: int
    rows: tuple[StudyRow, ...]


@dataclass(frozen=True, slots=True)
class Review:
    """What a person thought."""

    id: int
    series: str
    """Name of the series in the report."""
    digest: str
    """Of its pixels."""
    opinion: Opinion
    comment: str
    user: str
    time: float


@dataclass(frozen=True, slots=True)
class File:
    """A result."""

    name: str
    bytes: int
    kind: str


@dataclass(frozen=True, slots=True)
class View:
    """How a series is shown."""

    shape: tuple[int, int, int]
    """Slices, rows, columns."""
    spacing_mm: tuple[float, float, float] | None
    windows: tuple[tuple[str, float, float], ...]
    """Name, and the values that are black and white."""
    has_heatmap: bool
    step: int = 1
    """Every how many rows and columns are shown."""


@dataclass
class Studies:
    """Studies in the database and below ``folder``."""

    folder: Path
    engine: Engine
    now: Callable[[], float] = time.time

    def place(self, study: str) -> Path:
        """The folder of a study."""
        return self.folder / FOLDER / study

    def one(self, study: str) -> StudyRow:
        """A study.

        Raises:
            MissingError: there is none.
        """
        with database.reading(self.engine) as connection:
            row = connection.execute(select(SCANS).where(SCANS.c.id == study)).mappings().one_or_none()
        if row is None:
            raise MissingError("there is no such study", hint="it was deleted, or its time is over")
        return _row(row)

    def find(self, wanted: Filter) -> Page:
        """Studies that fit, in order."""
        chosen = and_(True, *_conditions(wanted))
        columns = {"suspicion": SCANS.c.suspicion, "made": SCANS.c.made, "name": func.lower(SCANS.c.name)}
        first = columns[wanted.sort]
        order = (first.desc() if wanted.descending else first.asc(), SCANS.c.made.desc(), SCANS.c.id)
        query = select(SCANS).where(chosen).order_by(*order).limit(wanted.limit).offset(wanted.offset)
        with database.reading(self.engine) as connection:
            total = connection.execute(select(func.count()).select_from(SCANS).where(chosen)).scalar_one()
            return Page(total, tuple(_row(row) for row in connection.execute(query).mappings()))

    def changed(self, since: float) -> Sequence[StudyRow]:
        """Those that changed at or after a moment."""
        query = select(SCANS).where(SCANS.c.changed >= since).order_by(SCANS.c.changed)
        with database.reading(self.engine) as connection:
            return [_row(row) for row in connection.execute(query).mappings()]

    # --- results ---

    def report(self, study: str) -> Report | None:
        """What was found; None while nothing was."""
        path = self.place(study) / RESULTS / "report.json"
        return report_json.parse(path.read_text(encoding="utf-8")) if path.is_file() else None

    def files(self, study: str) -> tuple[File, ...]:
        """The results of a study by name."""
        folder = self.place(study) / RESULTS
        paths = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
        return tuple(File(path.name, path.stat().st_size, KINDS.get(path.suffix, "other")) for path in paths)

    def file(self, study: str, name: str, folder: str = RESULTS) -> Path:
        """A file in one of the folders of a study.

        Raises:
            MissingError: there is none of this name.
        """
        self.one(study)
        place = self.place(study) / folder
        # The name comes from outside: it is looked up, never joined.
        found = {path.name: path for path in place.iterdir()} if place.is_dir() else {}
        if name not in found:
            raise MissingError("there is no such file", hint="the study may not be judged yet")
        return found[name]

    def views(self, study: str) -> dict[str, View]:
        """How each series is shown, by its name in the report."""
        path = self.place(study) / VIEWS / "views.json"
        if not path.is_file():
            return {}
        tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {name: _view(view) for name, view in tree.items()}

    # --- reviews ---

    def review(self, study: str, series: str, opinion: Opinion, comment: str, user: str) -> Review:
        """Keep what a person thinks of a series; nothing that was said before is changed.

        Raises:
            MissingError: no study or series is called so.
        """
        self.one(study)
        answer = self.report(study)
        found = [one for one in answer.series if one.name == series] if answer else []
        if not found:
            raise MissingError("the study has no series of that name", hint="see its report")
        values = {"series": series, "digest": found[0].digest, "opinion": opinion, "comment": comment, "user": user}
        with self.engine.begin() as connection:
            kept = insert(REVIEWS).values(scan=study, time=self.now(), **values).returning(*REVIEW_COLUMNS)
            row = connection.execute(kept).one()
            changed = {"opinion": opinion, "changed": self.now()}
            connection.execute(update(SCANS).where(SCANS.c.id == study).values(**changed))
        return Review(*row)

    def reviews(self, study: str) -> tuple[Review, ...]:
        """What was thought of a study, the newest first."""
        query = select(*REVIEW_COLUMNS).where(REVIEWS.c.scan == study).order_by(REVIEWS.c.id.desc())
        with database.reading(self.engine) as connection:
            return tuple(Review(*row) for row in connection.execute(query))

    def reviewed(self) -> list[tuple[StudyRow, Review]]:
        """The latest opinion on each series of each study that has one, for a manifest."""
        latest = select(func.max(REVIEWS.c.id)).group_by(REVIEWS.c.scan, REVIEWS.c.series)
        with database.reading(self.engine) as connection:
            query = select(REVIEWS.c.scan, *REVIEW_COLUMNS).where(REVIEWS.c.id.in_(latest)).order_by(REVIEWS.c.id)
            found = [(study, Review(*rest)) for study, *rest in connection.execute(query)]
        return [(self.one(study), review) for study, review in found]

    # --- life ---

    def again(self, study: str) -> StudyRow:
        """Let a study be judged anew.

        Raises:
            MissingError: there is none.
            UsageError: it is being judged, or waits for it.
        """
        row = self.one(study)
        if row.state not in ("done", "failed"):
            raise UsageError(f"the study is {row.state}", hint="wait until it is done")
        with self.engine.begin() as connection:
            queue_in(connection, self.engine, study, self.now())
        return self.one(study)

    def delete(self, study: str) -> None:
        """Remove a study with everything that was made of it, comparisons too.

        Raises:
            MissingError: there is none.
        """
        row = self.one(study)
        with self.engine.begin() as connection:
            compared = or_(COMPARISONS.c.before == study, COMPARISONS.c.after == study)
            gone = list(connection.execute(select(COMPARISONS.c.id).where(compared)).scalars())
            connection.execute(delete(COMPARISONS).where(compared))
            connection.execute(delete(REVIEWS).where(REVIEWS.c.scan == study))
            connection.execute(delete(SCANS).where(SCANS.c.id == study))
            left = select(func.count()).select_from(SCANS).where(SCANS.c.upload == row.upload)
            last = not connection.execute(left).scalar_one()
            if last:  # its name, and what could not be read of it
                connection.execute(delete(UPLOADS).where(UPLOADS.c.id == row.upload))
        for comparison in gone:
            shutil.rmtree(self.folder / "comparisons" / comparison, ignore_errors=True)
        shutil.rmtree(self.place(study), ignore_errors=True)
        if last:
            shutil.rmtree(self.folder / "uploads" / row.upload, ignore_errors=True)

    def sweep(self, abandoned_s: float) -> None:
        """Remove folders that nothing knows of: of what was deleted while somebody worked on it."""
        with database.reading(self.engine) as connection:
            known = {
                FOLDER: set(connection.execute(select(SCANS.c.id)).scalars()),
                "comparisons": set(connection.execute(select(COMPARISONS.c.id)).scalars()),
                "work": set[str](),
            }
        for name, ids in known.items():
            root = self.folder / name
            for path in root.iterdir() if root.is_dir() else ():
                if path.name not in ids and path.stat().st_mtime < self.now() - abandoned_s:
                    shutil.rmtree(path, ignore_errors=True)

    def expire(self) -> list[str]:
        """Delete the studies whose time is over; which they were."""
        query = select(SCANS.c.id).where(SCANS.c.expires < self.now(), SCANS.c.state.in_(("done", "failed")))
        with database.reading(self.engine) as connection:
            over = list(connection.execute(query).scalars())
        for study in over:
            self.delete(study)
        return over

    def gathered(self, quiet_s: float) -> int:
        """Let those be judged of which nothing more has come for so long; how many."""
        with self.engine.begin() as connection:
            query = select(SCANS.c.id).where(SCANS.c.state == "gathering", SCANS.c.changed < self.now() - quiet_s)
            ready = list(connection.execute(query).scalars())
            for study in ready:
                queue_in(connection, self.engine, study, self.now())
        return len(ready)


def queue_in(connection: Any, engine: Engine, study: str, now: float) -> None:
    """Within a transaction: a study waits to be judged, as the next version of itself."""
    values = {"state": "waiting", "version": SCANS.c.version + 1, "changed": now, "error": None, "progress": 0.0}
    changed = update(SCANS).where(SCANS.c.id == study).values(**values).returning(SCANS.c.version)
    version = connection.execute(changed).scalar_one()
    order = Order(JUDGE, f"{JUDGE}:{study}:{version}", {"scan": study, "version": version, "when": now}, now)
    Queue(engine).add_in(connection, order)


def suspicion(verdict: str | None, probability: float | None, provenance: str | None) -> float:
    """By what studies are sorted: what speaks louder first, and among equals the more probable."""
    rank = {"suspicious": 3.0, "inconclusive": 2.0, "no_evidence": 1.0}.get(verdict or "", 0.0)
    return (4.0 if provenance == "broken" else rank) + 0.99 * (probability or 0.0)


def _conditions(wanted: Filter) -> Iterable[ColumnElement[bool]]:
    for name in ("state", "verdict", "opinion", "upload"):
        value = getattr(wanted, name)
        if value is not None:
            yield SCANS.c[name] == value
    if wanted.modality is not None:
        yield cast(SCANS.c.modalities, String).contains(json.dumps(wanted.modality), autoescape=True)
    if wanted.text:
        columns = (SCANS.c.name, SCANS.c.owner, SCANS.c.study_uid)
        yield or_(*(column.icontains(wanted.text, autoescape=True) for column in columns))


def _row(row: Mapping[Any, Any]) -> StudyRow:
    values = {name: row[name] for name in StudyRow.__slots__}
    return StudyRow(**{**values, "modalities": tuple(row["modalities"])})


def _view(tree: dict[str, Any]) -> View:
    spacing = tree["spacing_mm"]
    return View(
        shape=tuple(tree["shape"]),
        spacing_mm=None if spacing is None else tuple(spacing),
        windows=tuple((name, low, high) for name, low, high in tree["windows"]),
        has_heatmap=tree["has_heatmap"],
        step=tree["step"],
    )
