"""kill -9 of every process of a real service, amid uploads and jobs: nothing that was accepted is lost."""

import json
import os
import signal
import socket

import pytest

from services import chest, running, until
from tamperscope.client import Client
from tamperscope.errors import RefusedError


@pytest.fixture(scope="module")
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pids(folder, part):
    """Process numbers of a part, the newest first."""
    log = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    return [entry["pid"] for entry in reversed(log) if entry["event"] == "process" and entry["part"] == part]


def killed(folder, part):
    """Kill a part, and wait until it is back."""
    before = pids(folder, part)
    os.kill(before[0], signal.SIGKILL)
    until(lambda: len(pids(folder, part)) > len(before))


def test_nothing_accepted_is_lost_whatever_dies(tmp_path, port):
    folder, study = tmp_path / "service", chest(tmp_path / "ct", slices=8)
    files = sorted(study.iterdir())
    told = [{"name": file.name, "bytes": file.stat().st_size} for file in files]
    with running(folder, port) as (_, http):
        token = http.headers["authorization"].split()[1]
        until(lambda: len(pids(folder, "judge")) == 1)
        # The web process, in the middle of a file.
        upload = http.post("/api/v1/uploads", json={"name": "broken off", "files": told}).json()["id"]
        half = files[0].read_bytes()[: told[0]["bytes"] // 2]
        assert http.patch(f"/api/v1/uploads/{upload}/files/0", content=half).json()["received"] == len(half)
        killed(folder, "web")
        with Client(str(http.base_url), token) as client:
            assert client.submit(study, resume=upload).state == "received"
            # The reader and the judge, as soon as they have it.
            killed(folder, "reader")
            until(lambda: client.upload(upload).state == "read", 90.0)
            until(lambda: any(one.state == "running" for one in client.studies(upload=upload)))
            killed(folder, "judge")
            (found,) = client.wait(upload, timeout_s=120.0)
            assert (found.state, found.slices) == ("done", 8)
            assert len(client.report(found).series[0].slices) == 8
            names = client.files(found)
            assert client.fetch(found, "report.json", tmp_path / "out").is_file()
            with pytest.raises(RefusedError, match="no such file"):
                client.fetch(found, "service.db", tmp_path / "out")
            assert len(names) == len(set(names))
            client.review(found, client.report(found).series[0].name, "authentic", "looks right")
            assert client.study(found).opinion == "authentic"
            client.delete(found)
            assert list(client.studies()) == []
    # And all of it at once: the whole service, with work on its table.
    with (
        running(folder, port) as (process, http),
        Client(str(http.base_url), http.headers["authorization"].split()[1]) as client,
    ):
        upload = client.submit(files[0], name="one slice")
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    with (
        running(folder, port) as (_, http),
        Client(str(http.base_url), http.headers["authorization"].split()[1]) as client,
    ):
        (found,) = client.wait(upload.id, timeout_s=120.0)
        assert (found.name, found.state) == ("one slice", "done")
