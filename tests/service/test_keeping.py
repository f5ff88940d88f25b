"""What is done from time to time."""

import pytest
from sqlalchemy import update

from databases import Clock
from services import chest, handed_in, jobs, studies_of, work
from tamperscope.jobs.tables import JOBS, SCANS, UPLOADS
from tamperscope.service.keeping import Keeper
from tamperscope.service.studies import Studies


def test_a_study_whose_time_is_over_is_deleted(one, submitter, tmp_path):
    upload = handed_in(submitter, chest(tmp_path / "ct", slices=2))
    work(one)
    (study,) = studies_of(submitter, upload)
    clock = Clock()
    clock.time = one.studies.one(study).expires - 1.0
    studies = Studies(one.config.folder, one.engine, clock)
    assert studies.expire() == []
    clock.time += 2.0
    assert study in studies.expire()
    assert not one.studies.place(study).exists()
    assert submitter.get(f"/api/v1/studies/{study}").status_code == 404


@pytest.mark.parametrize("kind", ["read", "judge"])
def test_a_job_that_killed_its_worker_is_told_as_failed(one, submitter, tmp_path, kind):
    upload = handed_in(submitter, chest(tmp_path / "ct", slices=2))
    with one.engine.begin() as connection:
        # As `Queue.take` leaves one whose worker died each time.
        if kind == "judge":
            values = {
                "upload": upload,
                "owner": "submitter",
                "name": "x",
                "modalities": ["CT"],
                "series": 1,
                "slices": 2,
            }
            more = {"bytes": 1, "version": 1, "progress": 0.0, "suspicion": 0.0, "made": 1.0, "changed": 1.0}
            connection.execute(SCANS.insert().values(id=upload, state="running", **values, **more))
            job = {"kind": "judge", "key": f"judge:{upload}:1", "payload": {}, "tries": 4, "due": 0.0, "made": 0.0}
            connection.execute(JOBS.insert().values(state="dead", error="its worker died each time", **job))
        else:
            dead = {"state": "dead", "error": "its worker died each time"}
            connection.execute(update(JOBS).where(JOBS.c.key == f"read:{upload}").values(**dead))
    Keeper(one).look()
    told = submitter.get(f"/api/v1/{'uploads' if kind == 'read' else 'studies'}/{upload}").json()
    assert (told["state"], told["error"]) == ("failed", "its worker died each time")


def test_pieces_of_a_study_are_judged_once_when_no_more_come(one, tmp_path):
    uploads = []
    for file in sorted(chest(tmp_path / "ct", slices=3).iterdir()):
        begun = one.uploads.begin("submitter", "STOW-RS", [_declared(file)], "stow")
        (one.uploads.place(begun.id) / "0").write_bytes(file.read_bytes())
        one.uploads.complete(begun.id)
        uploads.append(begun.id)
        work(one)
    (study,) = {study for upload in uploads for study in one.uploads.one(upload).result["studies"]}
    row = one.studies.one(study)
    assert (row.state, row.slices) == ("gathering", 3)
    assert one.studies.gathered(60.0) == 0
    clock = Clock()
    clock.time = row.changed + 61.0
    Studies(one.config.folder, one.engine, clock).gathered(60.0)
    assert [key for key in jobs(one) if key.startswith(f"judge:{study}")] == [f"judge:{study}:1"]
    with one.engine.begin() as connection:
        connection.execute(update(JOBS).where(JOBS.c.key == f"judge:{study}:1").values(due=0.0))
    work(one)
    assert one.studies.one(study).state == "done"
    assert one.studies.report(study).series[0].shape[0] == 3


def _declared(file):
    from tamperscope.service.uploads import Declared

    return Declared("0.dcm", file.stat().st_size)


def test_an_upload_that_is_not_complete_is_given_up(one, submitter):
    begun = submitter.post("/api/v1/uploads", json={"name": "x", "files": [{"name": "a", "bytes": 3}]}).json()["id"]
    with one.engine.begin() as connection:
        connection.execute(update(UPLOADS).where(UPLOADS.c.id == begun).values(changed=1.0))
    Keeper(one).look()
    assert submitter.get(f"/api/v1/uploads/{begun}").status_code == 404
