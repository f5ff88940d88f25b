"""STOW-RS by clients that others wrote."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading

import pydicom
import pytest
import requests

import hostile
from builders import ct, to_bytes
from nodes import free_port
from services import caller, chest, running, service, until, work
from tamperscope.service.config import Storage
from tamperscope.service.keeping import Keeper
from tamperscope.service.reading import CANNOT_UNDERSTAND, OTHER_STUDY

api = pytest.importorskip("dicomweb_client.api", reason="the extra dicom is not installed")
KIND = {"content-type": 'multipart/related; type="application/dicom"; boundary=x'}
SETTINGS = """
[service]
folder = "service"
[limits]
free_bytes = 0
[storage]
quiet_s = 1.5
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A running service, as httpx2 and as dicomweb-client see it."""
    folder = tmp_path_factory.mktemp("stow")
    (folder / "service.toml").write_text(SETTINGS)
    with (
        running(folder / "service", free_port(), "--config", str(folder / "service.toml")) as (_, client),
        requests.Session() as session,
    ):
        session.headers["authorization"] = client.headers["authorization"]
        session.trust_env = False
        yield (
            client,
            api.DICOMwebClient(f"{str(client.base_url).rstrip('/')}/dicomweb", session=session, timeout=60.0),
            folder,
        )


def series(folder, seed, slices=4):
    return [pydicom.dcmread(path) for path in sorted(chest(folder, seed, slices).iterdir())]


def studies(client, uid):
    return client.get("/api/v1/studies", params={"text": uid}).json()["studies"]


def body(*files):
    return b"".join(b"--x\r\nContent-Type: application/dicom\r\n\r\n" + f + b"\r\n" for f in files) + b"--x--\r\n"


def reasons(answer):
    return [one["00081197"]["Value"][0] for one in answer.json().get("00081198", {}).get("Value", ())]


def uids(told):
    return [one["00081155"]["Value"][0] for one in told["Value"]]


def test_a_series_in_one_request_becomes_a_study(place, tmp_path):
    client, web, folder = place
    datasets = series(tmp_path, 3)
    uid = datasets[0].StudyInstanceUID
    told = web.store_instances(datasets, uid)
    assert [str(one.ReferencedSOPInstanceUID) for one in told.ReferencedSOPSequence] == [
        str(one.SOPInstanceUID) for one in datasets
    ]
    until(lambda: [row["state"] for row in studies(client, uid)] == ["done"])
    (row,) = studies(client, uid)
    assert (row["slices"], row["modalities"], row["study_uid"]) == (4, ["CT"], uid)
    judged = [line for line in _log(folder) if line["event"] == "judged" and line["study"] == row["id"]]
    assert [line["version"] for line in judged] == [1]


def test_what_comes_piece_by_piece_is_one_study_and_judged_once(place, tmp_path):
    client, web, folder = place
    datasets = series(tmp_path, 4)
    uid = datasets[0].StudyInstanceUID
    for dataset in datasets:
        assert len(web.store_instances([dataset]).ReferencedSOPSequence) == 1
    web.store_instances(datasets[:1])  # sent twice is there once
    until(lambda: [row["state"] for row in studies(client, uid)] == ["done"])
    (row,) = studies(client, uid)
    assert row["slices"] == 4
    assert row["bytes"] == sum(
        path.stat().st_size for path in (folder / "service/studies" / row["id"] / "images").rglob("*.dcm")
    )
    judged = [line for line in _log(folder) if line["event"] == "judged" and line["study"] == row["id"]]
    assert len(judged) == 1


def _log(folder):
    return [json.loads(line) for line in (folder / "service" / "audit.jsonl").read_text().splitlines()]


def test_good_and_bad_parts(place):
    client, _, _ = place
    good = ct(StudyInstanceUID="1.2.77", SeriesInstanceUID="1.2.77.1")
    bad = (b"no DICOM", hostile.film(), to_bytes(ct(index=1))[:-100], to_bytes(ct(index=2, StudyInstanceUID=None)))
    answer = client.post("/dicomweb/studies", content=body(bad[0], to_bytes(good), *bad[1:]), headers=KIND)
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/dicom+json"
    assert uids(answer.json()["00081199"]) == [good.SOPInstanceUID]
    assert reasons(answer) == [CANNOT_UNDERSTAND] * 4
    none = client.post("/dicomweb/studies", content=body(*bad), headers=KIND)
    assert (none.status_code, reasons(none)) == (409, [CANNOT_UNDERSTAND] * 4)
    assert "00081199" not in none.json()
    read_back = pydicom.Dataset.from_json(answer.json())
    assert len(read_back.FailedSOPSequence) == 4


def test_instances_of_another_study(place):
    client, _, _ = place
    mine, other = ct(StudyInstanceUID="1.2.78"), ct(index=1, StudyInstanceUID="1.2.79")
    answer = client.post("/dicomweb/studies/1.2.78", content=body(to_bytes(mine), to_bytes(other)), headers=KIND)
    assert (answer.status_code, reasons(answer)) == (202, [OTHER_STUDY])
    assert uids(answer.json()["00081198"]) == [other.SOPInstanceUID]
    answer = client.post("/dicomweb/studies/1.2.80", content=body(to_bytes(other)), headers=KIND)
    assert (answer.status_code, reasons(answer)) == (409, [OTHER_STUDY])
    assert studies(client, "1.2.79") == []
    assert client.post("/dicomweb/studies/1.2.x", content=body(to_bytes(other)), headers=KIND).status_code == 422


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/dicom+json", 409),
        ("application/json", 409),
        ("*/*", 409),
        ("application/dicom+xml, application/dicom+json;q=0.5", 409),
        ("application/dicom+xml", 406),
        ("text/html", 406),
    ],
)
def test_what_the_caller_takes(place, accept, status):
    client, _, _ = place
    answer = client.post("/dicomweb/studies", content=body(b"none"), headers={**KIND, "accept": accept})
    assert answer.status_code == status


@pytest.mark.skipif(shutil.which("img2dcm") is None, reason="dcmtk is not installed")
def test_files_of_dcmtk(place, tmp_path):
    from PIL import Image

    client, _, _ = place
    Image.new("L", (64, 64), 90).save(tmp_path / "film.jpg")
    command = ["img2dcm", str(tmp_path / "film.jpg"), str(tmp_path / "film.dcm")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    answer = client.post("/dicomweb/studies", content=body((tmp_path / "film.dcm").read_bytes()), headers=KIND)
    assert answer.status_code == 200, answer.text
    uid = pydicom.dcmread(tmp_path / "film.dcm").StudyInstanceUID
    until(lambda: [row["state"] for row in studies(client, uid)] == ["done"])


def test_headers_that_no_database_takes(one):
    """A zero byte within a value: the upload is read all the same, on PostgreSQL too."""

    data = to_bytes(ct(StudyInstanceUID="1.2.11111", Modality="AAAAAA")).replace(b"1.2.11111", b"1.2\x0011\x0011")
    data = data.replace(b"AAAAAA", b"A\0A\0AA")
    done = threading.Event()

    def working():
        while not done.wait(0.05):
            work(one)

    worker = threading.Thread(target=working)
    worker.start()
    try:
        with caller(one, "submitter") as client:
            answer = client.post("/dicomweb/studies", content=body(data), headers=KIND)
            assert answer.status_code == 200, answer.text
            assert client.get("/api/v1/studies", params={"state": "gathering"}).json()["total"] == 1
    finally:
        done.set()
        worker.join()


def test_what_no_worker_looks_at_is_kept(tmp_path, monkeypatch):
    from tamperscope.service.routes import stow

    monkeypatch.setattr(stow, "READ_S", 0.2)
    one = service(tmp_path / "s", storage=Storage(quiet_s=0.0))
    with caller(one, "submitter") as client:
        answer = client.post("/dicomweb/studies", content=body(to_bytes(ct())), headers=KIND)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
        work(one)
        Keeper(one).look()
        work(one)
        assert client.get("/api/v1/studies").json()["studies"][0]["state"] in ("done", "failed")
    one.engine.dispose()
