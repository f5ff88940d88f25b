"""A real `tamperscope serve` is mistreated in every way, while somebody else uses it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import select, update

import hostile
from builders import ct, to_bytes
from databases import Clock
from nodes import free_port
from services import HOST, caller, handed_in, running, service, until, work
from tamperscope.jobs.queue import Queue
from tamperscope.jobs.tables import JOBS, SCANS
from tamperscope.jobs.worker import Done, Worker
from tamperscope.service import gate, parts
from tamperscope.service.config import Limits, Server, read
from tamperscope.service.keeping import Keeper
from tamperscope.service.parts import LEASE_S, TRIES
from tamperscope.service.reading import Reader
from tamperscope.service.studies import JUDGE
from tamperscope.service.uploads import READ

MIB = 1 << 20
SETTINGS = """
[service]
folder = "service"
[server]
request_s = 2.0
idle_s = 2.0
per_host = 60
[limits]
file_bytes = 16777216
upload_bytes = 16777216
user_bytes = 268435456
free_bytes = 0
requests_per_minute = 1000000
[storage]
quiet_s = 0.5
"""
BYSTANDER, CROWD = "127.0.0.2", "127.0.0.3"
PATIENCE_S = 5.0
"""Within which the bystander is served, whatever others do."""
MOST_GROWTH = 100 * MIB
"""Of the memory of the web process."""


@dataclass
class Place:
    """A running service, and what its bystander has seen."""

    folder: Path
    port: int
    client: httpx2.Client
    web: int
    base: int
    served: list[int] = field(default_factory=list)

    @property
    def resident(self) -> int:
        """Bytes of memory that the web process has had at most."""
        status = Path(f"/proc/{self.web}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024

    @property
    def key(self) -> str:
        return self.client.headers["authorization"]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("abuse")
    (folder / "service.toml").write_text(SETTINGS)
    port = free_port()
    with running(folder / "service", port, "--config", str(folder / "service.toml")) as (_, client):
        assert client.get("/api/v1/studies").status_code == 200
        log = [json.loads(line) for line in (folder / "service" / "audit.jsonl").read_text().splitlines()]
        (web,) = [line["pid"] for line in log if line.get("part") == "web"]
        made = Place(folder, port, client, web, 0)
        made.base = made.resident
        yield made


@pytest.fixture(autouse=True)
def bystander(request, place):
    """Asks for the list of studies while each test lasts, from another host; it is served in time, each time."""
    over, wrong, served = threading.Event(), [], place.served
    transport = httpx2.HTTPTransport(local_address=BYSTANDER)
    headers = {"authorization": place.key}

    def look():
        with httpx2.Client(base_url=place.client.base_url, headers=headers, transport=transport) as client:
            while not over.wait(0.05):
                try:
                    served.append(client.get("/api/v1/studies", timeout=PATIENCE_S).status_code)
                except httpx2.HTTPError as error:
                    wrong.append(repr(error))

    thread = threading.Thread(target=look)
    thread.start()
    before = len(served)
    yield
    until(lambda: len(served) > before or wrong)
    over.set()
    thread.join()
    assert not wrong
    assert set(served) == {200}
    assert place.resident - place.base < MOST_GROWTH, f"{place.resident} bytes in {request.node.name}"


def dialled(place, source="127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", place.port), timeout=30.0, source_address=(source, 0))


def head(place, line, **headers) -> bytes:
    told = {"host": "127.0.0.1", "authorization": place.key, **{k.replace("_", "-"): v for k, v in headers.items()}}
    return "\r\n".join([f"{line} HTTP/1.1", *(f"{k}: {v}" for k, v in told.items()), "", ""]).encode()


def answer(connection) -> tuple[int, dict]:
    """The answer on a raw connection, which ends after it or stays open: (status, what the error says)."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return 0, {}
        data += piece
    top, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", top)[1])
    while len(body) < length:
        body += connection.recv(65536)
    told = json.loads(body[:length])
    assert told.keys() >= {"error", "hint"}
    lines = dict(line.lower().split(b": ", 1) for line in top.split(b"\r\n")[1:])
    assert lines[b"content-security-policy"].decode() == gate.POLICY
    return int(top.split()[1]), told


def begun(client, size=10) -> str:
    told = {"name": "n", "files": [{"name": "a.png", "bytes": size}]}
    return client.post("/api/v1/uploads", json=told).json()["id"]


# --- files ---


def test_hostile_files_end_as_what_they_are_and_the_next_one_is_judged(place):
    client = place.client
    uploads = {}
    for name, data in hostile.files():
        sent = client.post("/api/v1/studies", params={"name": name}, content=data)
        if sent.status_code == 202:
            uploads[name] = sent.json()["id"]
        else:
            assert (name, sent.status_code) == ("empty.dcm", 422)
            assert sent.json().keys() == {"error", "hint"}
    uploads["film.png"] = client.post("/api/v1/studies", params={"name": "film.png"}, content=hostile.film()).json()[
        "id"
    ]

    def told(name):
        return client.get(f"/api/v1/uploads/{uploads[name]}").json()

    until(lambda: all(told(name)["state"] in ("read", "failed") for name in uploads), 120.0)
    states = {name: told(name)["state"] for name in uploads}
    read = {"film.png", "slips.zip", "long.zip", "surface.zip", "jpeg2000.dcm", "polyglot.dcm", "elf.dcm", "zero.dcm"}
    assert {name for name, state in states.items() if state == "read"} - {"nested.dcm"} == read
    for name in set(uploads) - read - {"nested.dcm"}:
        assert told(name)["error"], name
    assert len(told("slips.zip")["studies"]) == 1
    assert len(told("slips.zip")["failed"]) == len(hostile.SLIPS) + 1
    assert len(told("long.zip")["studies"]) == 2
    assert len(told("surface.zip")["studies"]) == 4, "no file takes the place of another"
    studies = [study for name in uploads for study in told(name)["studies"]]

    def state(study):
        return client.get(f"/api/v1/studies/{study}").json()["state"]

    until(lambda: all(state(study) in ("done", "failed") for study in studies), 120.0)
    (film,) = told("film.png")["studies"]
    assert state(film) == "done"
    (large,) = told("jpeg2000.dcm")["studies"]
    assert "16384 x 16384" in client.get(f"/api/v1/studies/{large}").json()["error"]
    assert {path.name for path in place.folder.iterdir()} == {"service", "service.toml"}
    assert not list(place.folder.rglob("slip.png"))
    deaths = [
        line for line in (place.folder / "service" / "audit.jsonl").read_text().splitlines() if "restarted" in line
    ]
    assert deaths == [], "no process died of it"


# --- bodies ---


@pytest.mark.parametrize("path", ["/api/v1/studies", "/dicomweb/studies", "/api/v1/uploads", "/upload"])
def test_a_petabyte_is_refused_before_it_comes(place, path):
    method = "PATCH" if path == "/upload" else "POST"
    upload = begun(place.client)
    path = f"/api/v1/uploads/{upload}/files/0" if path == "/upload" else path
    with dialled(place) as connection:
        kind = "multipart/related; boundary=x"
        connection.sendall(head(place, f"{method} {path}", content_length=10**15, content_type=kind))
        assert answer(connection)[0] == 413
    place.client.delete(f"/api/v1/uploads/{upload}")
    told = {"name": "n", "files": [{"name": "a", "bytes": 1 << 50}]}
    assert place.client.post("/api/v1/uploads", json=told).status_code == 413


@pytest.mark.parametrize("path", ["/api/v1/studies", "/dicomweb/studies", "/api/v1/tokens", "/upload"])
def test_a_body_without_end_is_cut_off(place, path):
    upload = begun(place.client, 1000)
    method = "PATCH" if path == "/upload" else "POST"
    path = f"/api/v1/uploads/{upload}/files/0" if path == "/upload" else path
    kind = "application/json" if "tokens" in path else "multipart/related; boundary=x"
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with dialled(place) as connection:
        connection.sendall(head(place, f"{method} {path}", transfer_encoding="chunked", content_type=kind))
        if path.startswith("/dicomweb"):
            connection.sendall(b"9\r\n--x\r\n\r\nab\r\n")
        connection.settimeout(0.01)
        status = 0
        for _ in range(2000):  # 125 MiB
            try:
                connection.sendall(chunk)
                status = answer(connection)[0]
                break
            except TimeoutError:
                continue
            except OSError:
                break
        assert status in (413, 0), "answered, or closed before the answer could be read"
    received = place.client.get(f"/api/v1/uploads/{upload}").json()["files"][0]["received"]
    assert received <= 1000
    place.client.delete(f"/api/v1/uploads/{upload}")
    kept = sum(file.stat().st_size for file in (place.folder / "service" / "uploads").rglob("*") if file.is_file())
    assert kept < 64 * MIB


def test_who_stands_still_is_let_go(place):
    upload = begun(place.client)
    cases = {
        408: [
            head(place, "POST /api/v1/studies", content_length=100) + b"half",
            head(place, f"PATCH /api/v1/uploads/{upload}/files/0", content_length=10) + b"half",
            head(place, "POST /dicomweb/studies", content_length=99, content_type="multipart/related; boundary=x"),
            head(place, "POST /api/v1/tokens", content_length=100, content_type="application/json") + b"{",
        ],
        0: [
            b"",  # says nothing
            b"GET /api/v1/me HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ",  # a head without end
            b"POST /api/v1/me HTTP/1.1\r\n",
        ],
    }
    with ExitStack() as stack:
        waiting = []
        for status, requests in cases.items():
            for request in requests:
                connection = stack.enter_context(dialled(place))
                connection.sendall(request)
                waiting.append((status, connection))
        for status, connection in waiting:
            assert answer(connection)[0] == status
    assert place.client.get(f"/api/v1/uploads/{upload}").json()["files"][0]["received"] == 4, "what came is kept"
    place.client.delete(f"/api/v1/uploads/{upload}")


def test_heads_that_come_a_byte_at_a_time(place):
    with dialled(place) as connection:
        connection.settimeout(0.1)
        with pytest.raises(OSError):  # noqa: PT011, PT012 - reset or broken, as the system has it
            for _ in range(600):
                connection.sendall(b"x")
                try:
                    assert connection.recv(100) == b""
                    raise ConnectionResetError
                except TimeoutError:
                    continue
            raise AssertionError("it waits for ever")


def test_one_host_has_so_many_connections_and_no_more(place):
    with ExitStack() as stack:
        crowd = [stack.enter_context(dialled(place, CROWD)) for _ in range(150)]
        for connection in crowd:
            connection.settimeout(30.0)
        with httpx2.Client(transport=httpx2.HTTPTransport(local_address="127.0.0.4")) as other:
            headers = {"authorization": place.key}
            assert other.get(f"{HOST}:{place.port}/api/v1/studies", headers=headers, timeout=PATIENCE_S).is_success
        assert all(_closed(connection) for connection in crowd), "after request_s all of them"
    with dialled(place, CROWD) as again:
        again.sendall(head(place, "GET /api/v1/nothing"))
        assert answer(again)[0] == 404, "they count no more"


def _closed(connection) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_who_does_not_fetch_its_answers_is_let_go(place):
    before = _sockets(place)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30.0)
        connection.connect(("127.0.0.1", place.port))
        connection.sendall(head(place, "GET /api/v1/openapi.json") * 400)
        until(lambda: _sockets(place) > before)
        until(lambda: _sockets(place) <= before, 20.0)


def _sockets(place) -> int:
    """How many the web process has open, without the bystander's, which comes and goes."""
    table = Path(f"/proc/{place.web}/net/tcp").read_text().splitlines()[1:]
    local, remote = f"0100007F:{place.port:04X}", "0100007F:"
    return sum(row.split()[1] == local and row.split()[2].startswith(remote) and row.split()[9] != "0" for row in table)


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (400, b"this is no HTTP\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nhost : a\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000),
        (400, b"POST /login HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: -1\r\n\r\n"),
        (400, b"POST /login HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: gzip\r\n\r\n"),
    ],
)
def test_what_is_no_http_is_answered_like_any_error(place, status, request_):
    with dialled(place) as connection:
        connection.sendall(request_)
        found, told = answer(connection)
    assert found in (status, 501), told


def test_bodies_of_the_wrong_kind(place):
    client = place.client
    deep = b'{"label":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    for status, path, body, headers in (
        (413, "/api/v1/tokens", b'{"label": "' + b"x" * (5 * MIB) + b'"}', {"content-type": "application/json"}),
        (400, "/api/v1/tokens", deep, {"content-type": "application/json"}),
        (422, "/api/v1/tokens", b'{"label": "x"}', {"content-type": "text/plain"}),
        (422, "/api/v1/tokens", b'{"label": "x"', {"content-type": "application/json"}),
        (422, "/api/v1/tokens", b'{"label": "\\ud800"}', {"content-type": "application/json"}),
        (422, "/api/v1/tokens", b'{"label": "x", "days": NaN}', {"content-type": "application/json"}),
        (422, "/api/v1/tokens", b'{"label": "x", "days": 1e999}', {"content-type": "application/json"}),
        (422, "/api/v1/tokens", b"\xff\xfe", {"content-type": "application/json"}),
        (415, "/api/v1/studies", b"x", {"content-encoding": "gzip"}),
        (415, "/dicomweb/studies", b"x", {"content-type": "application/dicom"}),
        (415, "/dicomweb/studies", b"x", {}),
        (422, "/api/v1/studies", b"", {}),
    ):
        answer = client.post(path, content=body, headers=headers)
        assert answer.status_code == status, (path, body[:40], answer.text)
        assert answer.json().keys() == {"error", "hint"}
    assert not [one for one in client.get("/api/v1/tokens").json() if one["label"] == "x"]


# --- DICOMweb ---


def part(data: bytes, boundary: bytes = b"x") -> bytes:
    return b"--" + boundary + b"\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n"


def test_stow_bodies_that_are_none(place):
    good, end = part(to_bytes(ct())), b"--x--\r\n"
    for status, kind, body in (
        (400, "multipart/related", good + end),
        (400, "multipart/related; boundary=", good + end),
        (400, f"multipart/related; boundary={'b' * 300}", good + end),
        (400, "multipart/related; boundary=y", good + end),
        (400, "multipart/related; boundary=x", good),
        (400, "multipart/related; boundary=x", end),
        (400, "multipart/related; boundary=x", b""),
        (400, "multipart/related; boundary=x", b"--x\r\n" + b"h" * 100_000),
        (400, "multipart/related; boundary=x", b"--x\r\n" + b"a: b\r\n" * 10_000),
        (400, "multipart/related; boundary=x", b"--x\r\nA: " + b"b" * 100_000),
        (415, 'multipart/related; type="application/dicom+json"; boundary=x', good + end),
        (415, "multipart/form-data; boundary=x", good + end),
        (400, "multipart/related; boundary*=utf-8''%ff%00", good + end),
        (409, "multipart/related; boundary=x", part(b"no DICOM") + part(b"") + part(hostile.film()) + end),
        (409, "multipart/related; boundary=x", part(to_bytes(ct())[:-100]) + end),
    ):
        answer = place.client.post("/dicomweb/studies", content=body, headers={"content-type": kind})
        assert answer.status_code == status, (kind[:60], body[:60], answer.text)
        assert answer.json().keys() in ({"error", "hint"}, {"00081198"})


def test_ten_thousand_parts(place):
    body = part(b"no DICOM") * 10_000 + b"--x--\r\n"
    kind = {"content-type": "multipart/related; boundary=x"}
    answer = place.client.post("/dicomweb/studies", content=body, headers=kind, timeout=90.0)
    assert answer.status_code == 409
    assert len(answer.json()["00081198"]["Value"]) == 10_000


# --- uploads in pieces ---


def test_pieces_that_do_not_fit(place):
    client = place.client
    upload = begun(client)
    address = f"/api/v1/uploads/{upload}/files/0"
    assert client.patch(address, content=b"0123").json() == {"received": 4}
    for status, offset, data in (
        (409, 3, b"3456"),
        (409, 5, b"5"),
        (409, 1 << 50, b"x"),
        (422, -1, b"x"),
        (422, 1 << 60, b"x"),
        (422, 10**50, b"x"),
        (422, "x", b"x"),
        (413, 4, b"4567890"),
    ):
        answer = client.patch(address, params={"offset": offset}, content=data)
        assert answer.status_code == status, (offset, answer.text)
        if status == 409:
            assert answer.json()["received"] == 4
    for number in ("1", str(10**6), str(10**40), "-1", "x"):
        answer = client.patch(f"/api/v1/uploads/{upload}/files/{number}", content=b"x")
        assert answer.status_code in (404, 422)
    assert client.post(f"/api/v1/uploads/{upload}/complete").status_code == 409
    assert client.patch(address, params={"offset": 4}, content=b"456789").json() == {"received": 10}
    assert client.delete(f"/api/v1/uploads/{upload}").status_code == 204
    assert client.patch(address, params={"offset": 10}, content=b"").status_code == 404


def test_many_senders_of_one_file(place):
    size = 256 * 1024
    upload = begun(place.client, size)
    address = f"{place.client.base_url}/api/v1/uploads/{upload}/files/0"

    def send(mark):
        def pieces():
            for _ in range(64):
                yield mark * (size // 64)

        headers = {"authorization": place.key}
        return httpx2.patch(address, content=pieces(), headers=headers, timeout=60.0, trust_env=False)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(send, (b"a", b"b", b"c", b"d", b"e", b"f")))
    assert sorted(one.status_code for one in answers) == [200] + [409] * 5
    assert {one.json()["received"] for one in answers} == {size}
    kept = (place.folder / "service" / "uploads" / upload / "0").read_bytes()
    assert len(kept) == size
    assert len(set(kept)) == 1, "of one sender alone"
    place.client.delete(f"/api/v1/uploads/{upload}")


def test_more_than_a_user_may_have(place):
    with ExitStack() as stack:
        told = {"name": "n", "files": [{"name": "a", "bytes": 16 * MIB}]}
        for _ in range(100):
            answer = place.client.post("/api/v1/uploads", json=told)
            if answer.status_code != 201:
                break
            stack.callback(place.client.delete, f"/api/v1/uploads/{answer.json()['id']}")
        assert answer.status_code == 413
        assert "allowed" in answer.json()["hint"]
        # Without a stated length there is as much room as with one.
        chunks = (b"x" * MIB for _ in range(17))
        assert place.client.post("/api/v1/studies", content=chunks).status_code == 413
        kind = {"content-type": "multipart/related; boundary=x"}
        chunks = iter((part(b"x" * MIB)[:-2] + b"y" * 15 * MIB, b"y" * MIB))
        assert place.client.post("/dicomweb/studies", content=chunks, headers=kind).status_code == 413


def test_what_is_over_is_over(place):
    """After all of it, a picture is judged, and the service has lost nothing of itself."""
    upload = place.client.post("/api/v1/studies", params={"name": "last.png"}, content=hostile.film(200)).json()["id"]
    until(lambda: place.client.get(f"/api/v1/uploads/{upload}").json()["state"] == "read")
    (study,) = place.client.get(f"/api/v1/uploads/{upload}").json()["studies"]
    until(lambda: place.client.get(f"/api/v1/studies/{study}").json()["state"] == "done")
    assert read(place.folder / "service.toml").limits.free_bytes == 0
    log = [json.loads(line) for line in (place.folder / "service" / "audit.jsonl").read_text().splitlines()]
    assert len([line for line in log if line["event"] == "process"]) == 3
    assert "trouble" not in {line["event"] for line in log}


# --- without a process of its own ---


def test_a_disk_that_is_nearly_full(tmp_path):
    one = service(tmp_path / "full", limits=Limits(free_bytes=1 << 60))
    kind = {"content-type": "multipart/related; boundary=x"}
    with caller(one, "submitter") as client:
        told = {"name": "n", "files": [{"name": "a", "bytes": 1}]}
        answers = [
            client.post("/api/v1/uploads", json=told),
            client.post("/api/v1/studies", content=b"x"),
            client.post("/api/v1/studies", content=iter([b"x"])),
            client.post("/dicomweb/studies", content=part(b"x") + b"--x--", headers=kind),
            client.post("/dicomweb/studies", content=iter([part(b"x") + b"--x--"]), headers=kind),
        ]
    assert [answer.status_code for answer in answers] == [507] * 5
    assert all(answer.json().keys() == {"error", "hint"} for answer in answers)
    assert list((tmp_path / "full" / "uploads").iterdir()) == []
    one.engine.dispose()


def test_more_connections_than_there_may_be_are_told_so(tmp_path):
    port = free_port()
    one = service(tmp_path / "small", server=Server(port=port, connections=10, request_s=30.0))
    running_here = parts.server(one)
    thread = threading.Thread(target=running_here.run)
    thread.start()
    try:
        until(lambda: running_here.started)
        with ExitStack() as stack:
            for _ in range(10):
                stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            busy = httpx2.get(f"{HOST}:{port}/healthz", trust_env=False)
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")
        assert busy.json().keys() == {"error", "hint"}
        assert busy.headers["content-security-policy"] == gate.POLICY
        until(lambda: httpx2.get(f"{HOST}:{port}/healthz", trust_env=False).status_code == 200)
    finally:
        running_here.should_exit = True
        thread.join()
        one.engine.dispose()


def test_who_reads_waits_for_nobody_who_writes(fresh):
    client = caller(fresh, "viewer")  # without its lifespan, whose keeper writes
    with fresh.engine.begin() as writing:
        writing.execute(update(SCANS).values(name="x"))
        assert client.get("/api/v1/studies").status_code == 200


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_disk_that_is_full_in_the_middle(fresh):
    with caller(fresh, "submitter") as client:
        upload = begun(client)
        (fresh.uploads.place(upload) / "0").symlink_to("/dev/full")
        answer = client.patch(f"/api/v1/uploads/{upload}/files/0", content=b"0123456789")
        assert answer.status_code == 507
        shutil.rmtree(fresh.uploads.place(upload))
        assert client.patch(f"/api/v1/uploads/{upload}/files/0", content=b"0").status_code == 404


def test_three_senders_and_one_lock(fresh):
    """The lock of a file is one as long as somebody waits for it, whoever has let go of it."""
    with caller(fresh, "submitter") as client:
        upload = begun(client, 4)

    async def pieces(data):
        for one in data:
            yield bytes([one])
            await asyncio.sleep(0.01)

    async def all_of_them():
        append = fresh.uploads.append
        first, second = (asyncio.create_task(append(upload, 0, 0, pieces(b"aa"))) for _ in range(2))
        await asyncio.wait([first])
        third = asyncio.create_task(append(upload, 0, 2, pieces(b"bb")))
        return await asyncio.gather(first, second, third, return_exceptions=True)

    told = asyncio.run(all_of_them())
    assert [getattr(one, "received", one) for one in told] == [2, 2, 4]
    assert not fresh.uploads._locks


KILLED = """
import os, signal, sys
from pathlib import Path
from tamperscope.jobs.queue import Queue
from tamperscope.jobs.worker import Worker
from tamperscope.service.config import default
from tamperscope.service.parts import LEASE_S, TRIES
from tamperscope.service.service import Service

one = Service.of(default(Path(sys.argv[1])))
for number in range(TRIES):
    if os.fork() == 0:
        queue = Queue(one.engine, now=lambda: float(sys.argv[2]) + number * 2 * LEASE_S, tries=TRIES)
        Worker(queue, {"judge": lambda job: os.kill(os.getpid(), signal.SIGKILL)}, "test", LEASE_S).step()
        os._exit(0)
    assert os.wait()[1] == signal.SIGKILL
"""


def test_a_study_that_kills_its_worker_is_given_up_and_the_next_one_judged(fresh, tmp_path):
    films = []
    for number in range(2):
        films.append(tmp_path / f"film{number}.png")
        films[-1].write_bytes(hostile.film(50 + number))
    with caller(fresh, "submitter") as client:
        deadly, good = (handed_in(client, film) for film in films)
        reader = Reader(fresh.engine, fresh.uploads, fresh.studies, fresh.audit)
        worker = Worker(Queue(fresh.engine), {READ: reader.read}, "reader")
        while worker.step():
            pass
        (first,), (second,) = (client.get(f"/api/v1/uploads/{one}").json()["studies"] for one in (deadly, good))
        with fresh.engine.connect() as connection:
            due = connection.execute(select(JOBS.c.due).where(JOBS.c.key == f"{JUDGE}:{first}:1")).scalar_one()
        # Before the second is due, so that it is the first alone which kills.
        subprocess.run([sys.executable, "-c", KILLED, str(fresh.config.folder), str(due)], check=True, timeout=60)
        clock = Clock()
        clock.time = due + 2 * TRIES * LEASE_S
        taken = []
        Worker(
            Queue(fresh.engine, clock, TRIES), {JUDGE: lambda job: taken.append(job.payload["scan"]) or Done()}, "t"
        ).step()
        assert taken == [second], "the queue goes on"
        Keeper(fresh).look()
        row = client.get(f"/api/v1/studies/{first}").json()
        assert (row["state"], row["error"]) == ("failed", "its worker died each time")
        assert client.post(f"/api/v1/studies/{first}/again").status_code == 202, "a newer model may do better"
        work(fresh)
        assert client.get(f"/api/v1/studies/{first}").json()["state"] == "done"
