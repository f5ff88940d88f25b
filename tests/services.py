"""A service in a folder of its own: its application, its workers done by hand, and somebody of each role."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx2
import numpy as np
from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from sqlalchemy import select

from tamperscope import phantom
from tamperscope.jobs import database
from tamperscope.jobs.queue import Queue
from tamperscope.jobs.tables import JOBS
from tamperscope.jobs.worker import Worker
from tamperscope.service.accounts import ROLES
from tamperscope.service.app import make
from tamperscope.service.comparisons import COMPARE
from tamperscope.service.config import Config, default
from tamperscope.service.judging import Judge
from tamperscope.service.reading import Reader
from tamperscope.service.service import Service
from tamperscope.service.studies import JUDGE
from tamperscope.service.uploads import READ

PASSWORD = "a long enough password"  # noqa: S105
HOST = "http://127.0.0.1"


def service(folder: Path, url: str = "", **changed: object) -> Service:
    """A service with a user of each role; ``changed`` replaces parts of its configuration."""
    config: Config = default(folder)
    config = replace(config, database=url or config.database, **changed)
    one = Service.of(config)
    database.migrate(one.engine)
    one.accounts.hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    for role in reversed(ROLES):
        one.accounts.add(role, role, PASSWORD)
    return one


def caller(one: Service, role: str | None) -> TestClient:
    """Somebody with a token of this role, or nobody."""
    headers = {}
    if role is not None:
        headers["authorization"] = f"Bearer {one.accounts.new_token(role, 'test', 1.0)[1]}"
    return TestClient(make(one), base_url=HOST, headers=headers, follow_redirects=False)


def work(one: Service) -> None:
    """Do all jobs that are due."""
    reader = Reader(one.engine, one.uploads, one.studies, one.audit)
    judge = Judge(one.config, one.engine, one.studies, one.audit)
    handlers = {READ: reader.read, JUDGE: judge.judge, COMPARE: one.comparisons.compare}
    worker = Worker(Queue(one.engine), handlers, "test")
    while worker.step():
        pass


def jobs(one: Service) -> dict[str, str]:
    """Key to state."""
    with one.engine.connect() as connection:
        return dict(connection.execute(select(JOBS.c.key, JOBS.c.state)).all())


def chest(folder: Path, seed: int = 7, slices: int = 6) -> Path:
    """A small synthetic CT as DICOM files; wide enough to be judged."""
    volume = phantom.chest((slices, 320, 320), (2.5, 1.0, 1.0), np.random.default_rng(seed))
    phantom.write_dicom(volume, folder)
    return folder


def handed_in(client: TestClient | httpx2.Client, path: Path, name: str = "Case 17") -> str:
    """Send a file or a folder and complete the upload; its number."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    root = path.parent if path.is_file() else path
    told = [{"name": file.relative_to(root).as_posix(), "bytes": file.stat().st_size} for file in files]
    answer = client.post("/api/v1/uploads", json={"name": name, "files": told})
    assert answer.status_code == 201, answer.text
    upload = answer.json()["id"]
    for number, file in enumerate(files):
        sent = client.patch(f"/api/v1/uploads/{upload}/files/{number}", content=file.read_bytes())
        assert sent.status_code == 200, sent.text
    assert client.post(f"/api/v1/uploads/{upload}/complete").status_code == 202
    return upload


def studies_of(client: TestClient | httpx2.Client, upload: str) -> list[str]:
    """The studies that were found in an upload."""
    found: list[str] = client.get(f"/api/v1/uploads/{upload}").json()["studies"]
    return found


def until(true: object, within_s: float = 60.0) -> None:
    """Wait for something that other processes bring about."""
    end = time.monotonic() + within_s
    while not true():  # type: ignore[operator]
        if time.monotonic() > end:
            raise AssertionError(f"not within {within_s:g} s")
        time.sleep(0.05)


@contextmanager
def running(folder: Path, port: int, *more: str) -> Iterator[tuple[subprocess.Popen[str], httpx2.Client]]:
    """`tamperscope serve` for real, and a client with the key that it prints."""
    place = () if "--config" in more else ("--folder", str(folder))  # a file of settings names its own
    words = [sys.executable, "-m", "tamperscope", "serve", *place, "--port", str(port), *more]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        key = re.search(r"key=(\S+)", process.stdout.readline())
        assert key, "the service did not begin"
        headers = {"authorization": f"Bearer {key.group(1)}"}
        with httpx2.Client(base_url=f"{HOST}:{port}", headers=headers, timeout=30.0, trust_env=False) as client:
            yield process, client
    finally:
        process.terminate()
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()
