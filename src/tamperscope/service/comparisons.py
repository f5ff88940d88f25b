"""Two versions of a study side by side: which voxels differ, and what was said of each."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import chdir, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine, insert, select, update

from tamperscope import study as reader
from tamperscope.decode import decode
from tamperscope.errors import TamperscopeError, UsageError
from tamperscope.jobs import database
from tamperscope.jobs.queue import Job, Order, Queue
from tamperscope.jobs.tables import COMPARISONS
from tamperscope.jobs.worker import Done
from tamperscope.records import JSON, Series, SeriesResult, Volume
from tamperscope.service import views
from tamperscope.service.studies import IMAGES, Studies, StudyRow
from tamperscope.service.uploads import MissingError, storable

FOLDER = "comparisons"
COMPARE = "compare"
"""The kind of the job that compares."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison, and what came of it."""

    id: str
    owner: str
    before: StudyRow
    after: StudyRow
    state: str
    """waiting, done or failed."""
    error: str | None
    result: dict[str, Any] | None
    made: float


@dataclass
class Comparisons:
    """Comparisons in the database and below ``folder``."""

    folder: Path
    engine: Engine
    studies: Studies
    now: Callable[[], float] = time.time

    def place(self, comparison: str) -> Path:
        """The folder of a comparison."""
        return self.folder / FOLDER / comparison

    def begin(self, before: str, after: str, owner: str) -> Comparison:
        """Let two studies be compared.

        Raises:
            MissingError: one of them is not there.
            UsageError: they are one, or one is not judged yet.
        """
        if before == after:
            raise UsageError("a study is compared with itself", hint="choose two")
        for one in (self.studies.one(before), self.studies.one(after)):
            if one.state != "done":
                raise UsageError(f"a study is {one.state}", hint="wait until both are judged")
        comparison, now = secrets.token_hex(16), self.now()
        values = {"id": comparison, "owner": owner, "before": before, "after": after, "state": "waiting"}
        with self.engine.begin() as connection:
            connection.execute(insert(COMPARISONS).values(**values, made=now, changed=now))
            order = Order(COMPARE, f"{COMPARE}:{comparison}", {"comparison": comparison})
            Queue(self.engine, now=self.now).add_in(connection, order)
        return self.one(comparison)

    def one(self, comparison: str) -> Comparison:
        """A comparison.

        Raises:
            MissingError: there is none.
        """
        query = select(COMPARISONS).where(COMPARISONS.c.id == comparison)
        with database.reading(self.engine) as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise MissingError("there is no such comparison", hint="one of its studies may have been deleted")
        before, after = self.studies.one(row["before"]), self.studies.one(row["after"])
        told = (row["state"], row["error"], row["result"], row["made"])
        return Comparison(row["id"], row["owner"], before, after, *told)

    def newest(self) -> list[Comparison]:
        """The newest hundred."""
        query = select(COMPARISONS.c.id).order_by(COMPARISONS.c.made.desc()).limit(100)
        with database.reading(self.engine) as connection:
            found = list(connection.execute(query).scalars())
        told = []
        for comparison in found:  # not within: SQLite lets one connection in at a time
            with suppress(MissingError):  # its study went in between
                told.append(self.one(comparison))
        return told

    def file(self, comparison: str, name: str) -> Path:
        """A file of a comparison.

        Raises:
            MissingError: there is none of this name.
        """
        place = self.place(comparison)
        found = {path.name: path for path in place.iterdir()} if place.is_dir() else {}
        if name not in found:
            raise MissingError("there is no such file", hint="the comparison may not be done yet")
        return found[name]

    def compare(self, job: Job) -> Done:
        """Do a job of the kind "compare"."""
        comparison = str(job.payload["comparison"])
        work = self.place(f"{comparison}.work")
        shutil.rmtree(work, ignore_errors=True)
        try:
            one = self.one(comparison)
            work.mkdir(parents=True)
            result = self._result(one, work)
            shutil.rmtree(self.place(comparison), ignore_errors=True)
            work.rename(self.place(comparison))
        except MissingError:
            return Done({"deleted": True})
        except TamperscopeError as error:
            self._say(comparison, state="failed", error=storable(str(error)[:500]))
            raise
        finally:
            shutil.rmtree(work, ignore_errors=True)  # differences of a patient's pictures do not outlive them
        self._say(comparison, state="done", result=result)
        return Done()

    def _say(self, comparison: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            mine = update(COMPARISONS).where(COMPARISONS.c.id == comparison)
            connection.execute(mine.values(**values, changed=self.now()))

    def _result(self, one: Comparison, work: Path) -> dict[str, Any]:
        sides = [self._sides(row.id) for row in (one.before, one.after)]
        pairs, alone = matched(*(tuple(side) for side in sides))
        told = [
            self._pair(number, one, sides[0][before], sides[1][after], (before, after), work)
            for number, (before, after) in enumerate(pairs)
        ]
        return {"series": told, "alone": alone}

    def _sides(self, study: str) -> dict[str, tuple[Series, SeriesResult]]:
        """The series of a study that were judged, by their names in the report, with the headers that were read."""
        answer = self.studies.report(study)
        with chdir(self.studies.place(study) / IMAGES):
            reading = reader.read(sorted(path.name for path in Path().iterdir()))
        by_files = {
            frozenset(instance.source for instance in series.instances): series
            for one in reading.studies
            for series in one.series
        }
        found = {}
        for result in answer.series if answer else ():
            files = frozenset(result.files)
            series = next((series for known, series in by_files.items() if files <= known), None)
            if series is not None:
                found[result.name] = series, result
        return found

    def _pair(
        self,
        number: int,
        one: Comparison,
        before: tuple[Series, SeriesResult],
        after: tuple[Series, SeriesResult],
        names: tuple[str, str],
        work: Path,
    ) -> dict[str, JSON]:
        first, second = self._decoded(one.before.id, before[0]), self._decoded(one.after.id, after[0])
        told: dict[str, JSON] = {"before_name": names[0], "after_name": names[1]}
        for side, result in (("before", before[1]), ("after", after[1])):
            told |= {f"{side}_verdict": result.verdict, f"{side}_probability": result.probability}
        return told | difference(first, second, work / f"{number}.difference.nii.gz")

    def _decoded(self, study: str, series: Series) -> Volume:
        with chdir(self.studies.place(study) / IMAGES):
            return decode(series)


def matched(before: Sequence[str], after: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Series of two studies that belong together, by name and else by order; and those that stay alone."""
    pairs = [(name, name) for name in before if name in after]
    rest = [name for name in before if name not in after], [name for name in after if name not in before]
    pairs += zip(*rest, strict=False)
    taken = len(min(rest, key=len))
    return pairs, [*rest[0][taken:], *rest[1][taken:]]


def difference(before: Volume, after: Volume, path: Path) -> dict[str, JSON]:
    """What changed from one volume to the other; the difference is written to ``path`` where they share a grid."""
    told: dict[str, JSON] = {"same_grid": before.voxels.shape == after.voxels.shape, "has_map": False}
    if not told["same_grid"]:
        return told
    change = np.nan_to_num(after.luminance) - np.nan_to_num(before.luminance)
    changed = change != 0.0
    told |= {
        "changed_voxels": int(changed.sum()),
        "changed_share": float(changed.mean()),
        "largest_difference": float(np.abs(change).max()),
        "slices": [float(share) for share in changed.mean(axis=(1, 2))],
        "box_index": None,
        "centre_index": None,
    }
    if changed.any():
        places = [np.flatnonzero(changed.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        box: list[JSON] = [[int(place[end]) for place in places] for end in (0, -1)]
        strongest = np.unravel_index(int(np.abs(change).argmax()), change.shape)
        told |= {"box_index": box, "centre_index": [int(v) for v in strongest]}
    step = views.thinning(after)  # as the two volumes beside it
    dk, dj, di = after.spacing_mm if after.geometry != "none" else (1.0, 1.0, 1.0)
    seen = views.stored(np.asarray(change, dtype=np.float32))[:, ::step, ::step]
    views.save(path, seen, (dk, dj * step, di * step))
    return told | {"has_map": True, "step": step}
