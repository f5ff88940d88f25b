"""A study is judged: scanned with every report, its views made, and all of it put in place in one step."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, update

import tamperscope
from tamperscope.errors import InputError, TamperscopeError, UnreadableError
from tamperscope.jobs.audit import Audit
from tamperscope.jobs.files import flush
from tamperscope.jobs.queue import Job
from tamperscope.jobs.tables import SCANS
from tamperscope.jobs.worker import Done
from tamperscope.records import JSON, Report
from tamperscope.report import signature
from tamperscope.service.config import Config
from tamperscope.service.studies import IMAGES, RESULTS, VIEWS, Studies, suspicion
from tamperscope.service.uploads import MissingError, storable
from tamperscope.service.views import Views

WORK = "work"
NO_ANSWER = {"verdict": None, "probability": None, "provenance": None, "suspicion": 0.0}
"""Of a study that could not be judged, whatever an earlier version of it was."""
TELL_S = 0.5
"""Between two words of how far it is."""


@dataclass
class Judge:
    """Does the jobs of the kind "judge"."""

    config: Config
    engine: Engine
    studies: Studies
    audit: Audit
    now: Callable[[], float] = time.time

    def judge(self, job: Job) -> Done:
        """Judge a study as it is now. The same study and model give the same results, whichever try this is.

        Raises:
            UnreadableError: nothing of it could be judged, and nothing ever will.
            TamperscopeError: a model is damaged, or a file cannot be written.
        """
        study, version = str(job.payload["scan"]), int(job.payload["version"])
        try:
            row = self.studies.one(study)
        except MissingError:
            return Done({"deleted": True})
        if not self._say(study, version, state="running", error=None):
            return Done({"superseded": True})
        try:
            answer = self._scan(study, version, row.slices, float(job.payload["when"]))
        except TamperscopeError as error:
            final = isinstance(error, InputError)  # another try may do better with anything else
            told: dict[str, Any] = {"error": storable(str(error)[:500]), "state": "failed" if final else "waiting"}
            self._say(study, version, **told, **NO_ANSWER, **self._kept())
            raise
        if answer is None:
            return Done({"superseded": True})
        facts = _facts(answer)
        told = {"state": "done", "progress": 1.0, **self._kept(), **facts}
        self._say(study, version, **told)
        said: dict[str, JSON] = {"verdict": facts["verdict"], "provenance": facts["provenance"]}
        models: list[JSON] = [f"{model.name} {model.sha256[:12]}" for model in answer.models]
        self.audit.write("judged", study=study, version=version, models=models, **said)
        return Done(said)

    def _scan(self, study: str, version: int, slices: int, when: float) -> Report | None:
        """What was found, with its files in place; None if the study was deleted or has grown in the meantime."""
        place = self.studies.place(study)
        # Not in the study's folder, which may be deleted at any time; of one's own, for a lease can be lost.
        work = self.config.folder / WORK / f"{study}-{version}-{os.getpid()}"
        shutil.rmtree(work, ignore_errors=True)
        try:
            return self._scanned(place, work, study, version, slices, when)
        finally:
            shutil.rmtree(work, ignore_errors=True)  # pictures of a patient do not outlive their study

    def _scanned(self, place: Path, work: Path, study: str, version: int, slices: int, when: float) -> Report | None:
        for name in (RESULTS, VIEWS):
            (work / name).mkdir(parents=True)
        views, signing = Views(work / VIEWS), self.config.signing
        with chdir(place / IMAGES):
            answer = tamperscope.scan(
                sorted(path.name for path in Path().iterdir()),  # relative: reports tell nothing of this machine
                out=work / RESULTS,
                write_heatmaps=True,
                keep_heatmaps=False,
                dicom_out=work / RESULTS,
                when=datetime.fromtimestamp(when),  # each try writes the same bytes
                pdf=True,
                sign_key=signing.key if signing else None,
                sign_password=os.environ.get(signature.PASSWORD),
                sign_certificate=signing.certificate if signing else None,
                judged=views.see,
                tick=self._teller(study, version, slices),
                **self.config.model.settings(),
            )
        if not answer.series:
            first = answer.failed[0].error if answer.failed else "it holds no images"
            raise UnreadableError(f"nothing of the study could be judged: {first}", hint="see its files")
        views.finish()
        if not self._say(study, version, progress=1.0):
            return None
        self._placed(place, work)
        return answer

    def _placed(self, place: Path, work: Path) -> None:
        """Put new results where the old ones were."""
        flush((*(work / RESULTS).iterdir(), *(work / VIEWS).iterdir(), work / RESULTS, work / VIEWS))
        for name in (RESULTS, VIEWS):
            shutil.rmtree(place / name, ignore_errors=True)
            (work / name).rename(place / name)
        flush((place,))

    def _teller(self, study: str, version: int, slices: int) -> Callable[[str, int, int], None]:
        """Says how far it is: slices of all series so far, by the number of them that the headers state."""
        before, last, said = 0, 0, 0.0

        def tell(_: str, done: int, total: int) -> None:
            nonlocal before, last, said
            if done < last:
                before += last
            last = done
            if time.monotonic() - said > TELL_S:
                said = time.monotonic()
                self._say(study, version, progress=min((before + done) / max(slices, total, 1), 1.0))

        return tell

    def _kept(self) -> dict[str, float | None]:
        now = self.now()
        return {"ended": now, "expires": self.config.storage.expires(now)}

    def _say(self, study: str, version: int, **values: Any) -> bool:
        """Change the row of a study; False if there is a newer version of it, which another job judges."""
        mine = (SCANS.c.id == study, SCANS.c.version == version, SCANS.c.state != "gathering")
        with self.engine.begin() as connection:
            changed = connection.execute(update(SCANS).where(*mine).values(**values, changed=self.now()))
        return bool(changed.rowcount)


def _facts(answer: Report) -> dict[str, Any]:
    """What the list says of a study: its most suspicious series, and the worst of its provenance."""
    strongest = max(answer.series, key=lambda one: suspicion(one.verdict, one.probability, None))
    states = {one.provenance.state for one in answer.series}
    order = ("broken", "contradictory", "verified", "absent")
    provenance = next((state for state in order if state in states), "absent")
    if provenance == "verified" and "absent" in states:
        provenance = "absent"
    return {
        "verdict": strongest.verdict,
        "probability": strongest.probability,
        "provenance": provenance,
        "suspicion": suspicion(strongest.verdict, strongest.probability, provenance),
        "modalities": sorted({storable(one.modality) for one in answer.series}),
        "series": len(answer.series),
        "slices": sum(one.shape[0] for one in answer.series),
    }
