"""How long the service takes, on a real `tamperscope serve` with its processes, and what else it answers meanwhile.

    .venv/bin/python benchmarks/service.py

A radiograph and a chest CT of 130 slices are handed in when everything is warm; then ten studies at once, while the
pages of the service are asked for again and again. Times are of this machine; the shares are what to compare.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import numpy as np
from PIL import Image

from tamperscope import phantom
from tamperscope.client import Client

SLICES, SIDE, SPACING_MM = 130, 512, (1.25, 0.7, 0.7)
QUEUED = 10
PAGES = ("/", "/api/v1/studies", "/models", "/api/v1/models/ct-fast", "/static/page.css")


def main() -> None:
    """Print the figures as JSON lines."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        film, scan, small = _film(folder / "film.png"), _chest(folder / "ct", SLICES), _chest(folder / "small", 16)
        with _serving(folder / "service") as (client, web):
            for path in (film, small):
                _answered(client, path)  # warm
            print(json.dumps({"radiograph_s": round(min(_answered(client, film) for _ in range(3)), 2)}))
            took = _answered(client, scan)
            print(json.dumps({f"ct_{SLICES}_slices_s": round(took, 2), "slices_per_s": round(SLICES / took, 1)}))
            alone = [_asked(web) for _ in range(5)]
            print(json.dumps(_queued(client, web, small) | {"alone_ms": _milliseconds(alone)}))


def _film(path: Path) -> Path:
    """A picture of a knee's size; any radiograph goes the same way."""
    rng = np.random.default_rng(1)
    plane = np.clip(rng.normal(120.0, 25.0, (1024, 1024)), 0, 255).astype(np.uint8)
    Image.fromarray(plane).save(path)
    return path


def _chest(folder: Path, slices: int) -> Path:
    phantom.write_dicom(phantom.chest((slices, SIDE, SIDE), SPACING_MM, np.random.default_rng(slices)), folder)
    return folder


def _answered(client: Client, path: Path) -> float:
    """Seconds from the first byte that is sent until the verdict, the reports and the views are there."""
    begun = time.perf_counter()
    (study,) = client.wait(client.submit(path), look_s=0.02)
    took = time.perf_counter() - begun
    if study.state != "done":
        raise SystemExit(f"{path.name} was not judged: {study.error}")
    client.delete(study)
    return took


def _asked(web: httpx2.Client) -> list[float]:
    """Seconds that each of the pages takes."""
    times = []
    for page in PAGES:
        begun = time.perf_counter()
        web.get(page).raise_for_status()
        times.append(time.perf_counter() - begun)
    return times


def _queued(client: Client, web: httpx2.Client, small: Path) -> dict[str, object]:
    """What the pages take while so many studies are handed in and judged."""
    times: list[list[float]] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.2):  # the limit on requests is meant for those who never pause
            times.append(_asked(web))

    asking = threading.Thread(target=ask)
    begun = time.perf_counter()
    asking.start()
    uploads = [client.submit(small, name=f"study {number}") for number in range(QUEUED)]
    handed_in = time.perf_counter() - begun
    for upload in uploads:
        client.wait(upload, look_s=0.1)
    took = time.perf_counter() - begun
    over.set()
    asking.join()
    told = {"queued": QUEUED, "handed_in_s": round(handed_in, 1), "all_judged_s": round(took, 1)}
    return {**told, "rounds": len(times), "while_queued_ms": _milliseconds(times)}


def _milliseconds(times: list[list[float]]) -> dict[str, float]:
    flat = [one for row in times for one in row]
    return {f"p{share}": round(1000.0 * float(np.percentile(flat, share)), 1) for share in (50, 95, 100)}


@contextmanager
def _serving(folder: Path) -> Iterator[tuple[Client, httpx2.Client]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "tamperscope", "serve", "--folder", str(folder), "--port", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        line = process.stdout.readline() if process.stdout else ""
        key = line.strip().partition("key=")[2]
        base = f"http://127.0.0.1:{port}"
        headers = {"authorization": f"Bearer {key}"}
        with Client(base, key) as client, httpx2.Client(base_url=base, headers=headers, trust_env=False) as web:
            yield client, web
    finally:
        process.terminate()
        process.wait(60)


if __name__ == "__main__":
    main()
