from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import builders
import nodes
from tamperscope.errors import DeliveryError, FullError
from tamperscope.jobs.database import migrate
from tamperscope.node.config import Folder, Orthanc
from tamperscope.node.intake import FolderWatcher, OrthancPoller
from tamperscope.node.parts import Parts


@pytest.fixture
def parts(tmp_path):
    made = Parts.of(nodes.settings(tmp_path))
    migrate(made.engine)
    yield made
    made.engine.dispose()


def put(folder, count: int = 2):
    (folder / "study").mkdir(parents=True)
    for number, dataset in enumerate(nodes.ct(count)):
        (folder / "study" / f"{number}").write_bytes(builders.to_bytes(dataset))


def test_files_of_a_folder_are_taken_once_they_rest(parts, tmp_path):
    put(tmp_path / "in")
    made = (tmp_path / "in" / "study" / "0").stat().st_mtime
    watcher = FolderWatcher(Folder(tmp_path / "in", 5.0), parts.store, parts.audit, lambda: made + 1.0)
    assert watcher.poll() == 0
    watcher.now = lambda: made + 9.0
    assert watcher.poll() == 2
    assert watcher.poll() == 0
    assert [path for path in (tmp_path / "in").rglob("*") if path.is_file()] == []
    assert len(parts.store.images(nodes.ct(1)[0].StudyInstanceUID)[0]) == 2


def test_what_cannot_be_read_is_put_aside_and_noted(parts, tmp_path):
    put(tmp_path / "in")
    (tmp_path / "in" / "notes.txt").write_text("no image")
    (tmp_path / "in" / "link").symlink_to("/etc/passwd")
    watcher = FolderWatcher(Folder(tmp_path / "in", 0.0), parts.store, parts.audit)
    assert watcher.poll() == 2
    assert (tmp_path / "in" / "failed" / "notes.txt").read_text() == "no image"
    assert watcher.poll() == 0
    assert (tmp_path / "in" / "link").is_symlink(), "links lead anywhere and are left alone"
    (line,) = (parts.config.folder / "audit.jsonl").read_text().splitlines()
    assert json.loads(line)["event"] == "refused"


def test_when_the_disk_is_full_files_stay_where_they_are(parts, tmp_path):
    put(tmp_path / "in")
    parts.store.free_bytes = 1 << 60
    with pytest.raises(FullError):
        FolderWatcher(Folder(tmp_path / "in", 0.0), parts.store, parts.audit).poll()
    assert (tmp_path / "in" / "study" / "0").exists()


class SmallOrthanc:
    """An HTTP server that answers as Orthanc does; the real one is in test_orthanc.py."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = outer.answers.get(self.path, (404, b""))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer((nodes.HERE, 0), Handler)
        self.url = f"http://{nodes.HERE}:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def changes(self, since: int, changes: list[tuple[str, str]], last: int) -> None:
        rows = [{"ChangeType": kind, "ID": name} for kind, name in changes]
        body = json.dumps({"Changes": rows, "Last": last, "Done": True}).encode()
        self.answers[f"/changes?since={since}&limit=100"] = (200, body)


@pytest.fixture
def orthanc():
    made = SmallOrthanc()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_what_was_deleted_in_between_is_passed_over_and_the_place_is_kept(parts, orthanc):
    orthanc.changes(0, [("NewInstance", "x"), ("StableStudy", "a"), ("StableStudy", "gone")], 7)
    orthanc.answers["/studies/a/instances"] = (200, json.dumps([{"ID": "1"}, {"ID": "2"}, {"ID": "bad"}]).encode())
    orthanc.answers["/instances/1/file"] = (200, builders.to_bytes(nodes.ct(1)[0]))
    orthanc.answers["/instances/bad/file"] = (200, b"no DICOM")
    poller = OrthancPoller(Orthanc(orthanc.url), parts.store, parts.audit)
    assert poller.poll() == 1
    orthanc.changes(7, [], 7)
    assert poller.poll() == 0
    assert OrthancPoller(Orthanc(orthanc.url), parts.store, parts.audit).poll() == 0, "after a restart too"


@pytest.mark.parametrize(("status", "words"), [(401, "answers HTTP 401"), (500, "answers HTTP 500")])
def test_an_orthanc_that_says_no_is_named(parts, orthanc, status, words):
    orthanc.answers["/changes?since=0&limit=100"] = (status, b"")
    with pytest.raises(DeliveryError, match=words):
        OrthancPoller(Orthanc(orthanc.url), parts.store, parts.audit).poll()


def test_what_answers_and_is_no_orthanc_is_named(parts, orthanc):
    with pytest.raises(DeliveryError, match="is no Orthanc"):
        OrthancPoller(Orthanc(orthanc.url), parts.store, parts.audit).poll()


def test_a_file_that_is_too_large_is_put_aside_and_stops_no_other(parts, tmp_path):
    put(tmp_path / "in")
    (tmp_path / "in" / "a").write_bytes(bytes(2000))
    parts.store.object_bytes = 1999
    assert FolderWatcher(Folder(tmp_path / "in", 0.0), parts.store, parts.audit).poll() == 2
    assert (tmp_path / "in" / "failed" / "a").exists()


def test_an_orthanc_that_is_not_there_is_named(parts):
    with pytest.raises(DeliveryError, match="cannot be reached"):
        OrthancPoller(Orthanc(f"http://{nodes.HERE}:{nodes.free_port()}"), parts.store, parts.audit).poll()
