"""The node beside a real Orthanc. It listens on every address, so all of this runs in a network of its own.

The first test starts this very file again inside `unshare --net`, where only the loopback exists; the others run there.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

import nodes
from tamperscope import phantom
from tamperscope.attacks import CtGanBlend

INSIDE = "TAMPERSCOPE_TEST_NETWORK"
ORTHANC = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
HTTP, DICOM, NODE_PORT = 8042, 4242, 11112
SECRET = "only for this test"  # noqa: S105
there = Path(ORTHANC).exists() and DICOMWEB.exists() and shutil.which("unshare") and shutil.which("ip")
inside = pytest.mark.skipif(INSIDE not in os.environ, reason="runs inside a network of its own")

ROUTE = """
function OnStableStudy(study, tags, metadata)
  RestApiPost('/modalities/node/store', study, false)
end
"""
NODE = f"""
[node]
folder = "node"
[listener]
port = {NODE_PORT}
free_bytes = 0
[metrics]
port = 0
[studies]
quiet_s = 1.0
[audit]
messages = true
[[peer]]
ae_title = "ORTHANC"
hosts = ["127.0.0.1"]
"""
STORE = f"""
[[destination]]
name = "pacs"
kind = "c-store"
ae_title = "ORTHANC"
host = "127.0.0.1"
port = {DICOM}
objects = ["sr", "seg", "capture", "keys", "heatmap", "presentation"]
commitment = true
"""
STOW = f"""
[orthanc]
url = "http://127.0.0.1:{HTTP}"
user = "test"
password_file = "secret"
every_s = 0.5
[[destination]]
name = "web"
kind = "stow"
url = "http://127.0.0.1:{HTTP}/dicom-web"
user = "test"
password_file = "secret"
"""


@pytest.mark.skipif(INSIDE in os.environ, reason="is inside already")
@pytest.mark.skipif(not there, reason="orthanc, orthanc-dicomweb, unshare or ip is not installed")
def test_beside_a_real_orthanc(tmp_path):
    try:
        subprocess.run(["unshare", "--net", "true"], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        pytest.skip("a network of its own needs root")
    pytest_again = f"{sys.executable} -m pytest -q -x -p no:cacheprovider --basetemp={tmp_path / 'in'} {__file__}"
    command = ["unshare", "--net", "sh", "-c", f"ip link set lo up && exec {pytest_again}"]
    done = subprocess.run(
        command, env={**os.environ, INSIDE: "1"}, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(r"\d+ passed", done.stdout)


@pytest.fixture
def orthanc(tmp_path):
    """Starts an Orthanc that routes stable studies to the node, or not."""
    with _stopped_at_the_end() as started:

        def start(*, route: bool) -> None:
            (tmp_path / "route.lua").write_text(ROUTE)
            settings = {
                "Name": "test",
                "StorageDirectory": str(tmp_path / "orthanc"),
                "HttpPort": HTTP,
                "DicomPort": DICOM,
                "DicomAet": "ORTHANC",
                "StableAge": 1,
                "RemoteAccessAllowed": False,
                "AuthenticationEnabled": True,
                "RegisteredUsers": {"test": SECRET},
                "DicomModalities": {
                    "node": [nodes.NODE, nodes.HERE, NODE_PORT],
                    "sender": [nodes.SENDER, nodes.HERE, 11999],
                },
                "LuaScripts": [str(tmp_path / "route.lua")] if route else [],
                "Plugins": [str(DICOMWEB)],
                "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            }
            (tmp_path / "orthanc.json").write_text(json.dumps(settings))
            started(tmp_path, ORTHANC, str(tmp_path / "orthanc.json"))
            nodes.until(lambda: ask("/system"))

        yield start


@pytest.fixture
def node(tmp_path):
    """Starts `tamperscope node` with these settings."""
    with _stopped_at_the_end() as started:

        def start(more: str) -> Path:
            (tmp_path / "secret").write_text(f"{SECRET}\n")
            path = nodes.settings(tmp_path, more, NODE)
            started(tmp_path, sys.executable, "-m", "tamperscope", "node", "--config", str(path))
            nodes.until(lambda: nodes.echoscu(NODE_PORT, calling="ORTHANC").returncode == 0)
            return path

        yield start


@contextmanager
def _stopped_at_the_end() -> Iterator:
    processes = []

    def start(folder: Path, *command: str) -> None:
        log = (folder / f"{Path(command[0]).name}.log").open("wb")
        processes.append((subprocess.Popen(command, stdout=log, stderr=log), log))

    try:
        yield start
    finally:
        for process, log in processes:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            log.close()


def ask(path: str):
    """What Orthanc answers, or None while it does not."""
    credentials = base64.b64encode(f"test:{SECRET}".encode()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{HTTP}{path}", headers={"Authorization": f"Basic {credentials}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)
    except OSError:
        return None


def studies_of(folder: Path) -> dict[str, str]:
    """A forged series and its pristine twin as DICOM; their Study Instance UIDs."""
    rng = np.random.default_rng(2019)
    pristine = phantom.chest((32, 512, 512), (2.5, 0.7, 0.7), rng)
    attack = CtGanBlend("remove")
    forgery = attack.apply(pristine, attack.sample(pristine, rng, at=(16, 250, 390)))
    phantom.write_dicom(pristine, folder / "pristine")
    phantom.write_dicom(replace(forgery.volume, study_uid=f"{pristine.study_uid}.1"[:64]), folder / "forged")
    return {name: str(dcmread(next((folder / name).iterdir())).StudyInstanceUID) for name in ("pristine", "forged")}


def modalities(study: str) -> list[str]:
    """Of the series of a study, by QIDO-RS."""
    found = ask(f"/dicom-web/studies/{study}/series") or []
    return sorted(one["00080060"]["Value"][0] for one in found)


def audit(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "node" / "audit.jsonl").read_text().splitlines()]


@inside
def test_studies_sent_to_orthanc_are_answered_into_the_study_and_nothing_loops(tmp_path, orthanc, node):
    orthanc(route=True)
    config = node(STORE)
    uids = studies_of(tmp_path / "studies")
    for name in uids:
        done = nodes.storescu(DICOM, *sorted((tmp_path / "studies" / name).iterdir()), called="ORTHANC")
        assert done.returncode == 0, done.stderr
    nodes.until(lambda: {"SR", "SEG", "KO"} <= set(modalities(uids["forged"])))
    nodes.until(lambda: "SR" in modalities(uids["pristine"]))
    status = [sys.executable, "-m", "tamperscope", "status", "--config", str(config), "--json"]
    nodes.until(lambda: _idle(status))
    judged = {line["study"]: line["verdicts"] for line in audit(tmp_path) if line["event"] == "judged"}
    assert judged == {uids["forged"]: {"suspicious": 1}, uids["pristine"]: {"no_evidence": 1}}
    assert "SEG" not in modalities(uids["pristine"])
    assert modalities(uids["forged"]).count("SR") == 1, "the answer came back to the node and was not judged again"
    jobs = json.loads(subprocess.run(status, capture_output=True, text=True, check=False).stdout)["jobs"]
    assert jobs["analyse"] == {"done": 2}
    assert set(jobs["deliver"]) == {"done"}
    assert jobs["commit"] == {"done": 2}, "the archive vouches for what it got"
    checked = subprocess.run(
        [sys.executable, "-m", "tamperscope", "node", "check", "--config", str(config)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
    verified = subprocess.run(
        [sys.executable, "-m", "tamperscope", "verify", str(tmp_path / "studies"), "--config", str(config)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "64 slices are as they were first seen, 0 are not" in verified.stdout


@inside
def test_orthanc_is_polled_and_answered_over_the_web(tmp_path, orthanc, node):
    orthanc(route=False)
    node(STOW)
    uids = studies_of(tmp_path / "studies")
    done = nodes.storescu(DICOM, *sorted((tmp_path / "studies" / "forged").iterdir()), called="ORTHANC")
    assert done.returncode == 0, done.stderr
    nodes.until(lambda: {"SR", "SEG", "KO"} <= set(modalities(uids["forged"])))
    nodes.until(lambda: [line for line in audit(tmp_path) if line["event"] == "delivered"])
    assert len([line for line in audit(tmp_path) if line["event"] == "judged"]) == 1


def _idle(status: list[str]) -> bool:
    """Whether everything that was put in is done."""
    jobs = json.loads(subprocess.run(status, capture_output=True, text=True, check=False).stdout)["jobs"]
    return bool(jobs.get("commit")) and all(set(states) == {"done"} for states in jobs.values())
