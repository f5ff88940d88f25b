"""What the node bears: senders at once, kill -9, an archive away, a full disk, strangers; and how fast it answers.

    python benchmarks/node.py                 # all of it, about eight minutes on 2 cores
    python benchmarks/node.py kills --rounds 20

Prints one JSON line for each part. Everything is real: the node is `tamperscope node` in processes of its own, senders
and archive are pynetdicom and dcmtk over loopback. The part "full" mounts a small file system and needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification  # type: ignore[attr-defined]
from sqlalchemy import func, select

from tamperscope import phantom
from tamperscope.jobs.database import connect, migrate
from tamperscope.jobs.queue import Job, Order, Queue
from tamperscope.jobs.tables import INSTANCES, JOBS
from tamperscope.jobs.worker import Done, Worker

HERE, NEIGHBOUR, SENDER, NODE, ARCHIVE = "127.0.0.1", "127.0.0.2", "SENDER", "TAMPERSCOPE", "ARCHIVE"
PATIENCE_S = 240.0
SETTINGS = """
[node]
folder = "node"
[listener]
port = {port}
free_bytes = {free}
request_s = 3.0
[metrics]
port = 0
[studies]
quiet_s = {quiet}
[[peer]]
ae_title = "SENDER"
hosts = ["127.0.0.1", "127.0.0.2"]
[[destination]]
name = "archive"
kind = "c-store"
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = {archive}
"""


def main() -> None:
    options = arguments()
    parts: dict[str, Callable[[Path], dict[str, Any]]] = {
        "senders": lambda folder: senders(folder, options.senders, options.slices),
        "kills": lambda folder: listener_kills(folder, options.rounds),
        "workers": lambda folder: worker_kills(folder, options.jobs),
        "away": lambda folder: archive_away(folder, options.away),
        "full": full_disk,
        "strangers": lambda folder: strangers(folder, options.sockets),
        "answer": lambda folder: answer(folder, options.chest),
    }
    for name in options.parts or parts:
        with tempfile.TemporaryDirectory(prefix="tamperscope-") as folder:
            print(json.dumps({"part": name, **parts[name](Path(folder))}), flush=True)


@dataclass(frozen=True, slots=True)
class Running:
    """A node in processes of its own."""

    folder: Path
    port: int
    archive: int
    process: subprocess.Popen[bytes]

    def pids(self) -> dict[str, int]:
        """The newest process of each part."""
        path = self.folder / "node" / "audit.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return {line["part"]: line["pid"] for line in lines if line["event"] == "process"}

    def memory(self) -> tuple[float, int]:
        """(MB resident, threads) of the listener."""
        status = Path(f"/proc/{self.pids()['listener']}/status").read_text().splitlines()
        facts = dict(line.split(":", 1) for line in status if ":" in line)
        return int(facts["VmRSS"].split()[0]) / 1024, int(facts["Threads"])

    def ready(self) -> bool:
        """Whether it answers C-ECHO."""
        return echo(self.port)


@contextmanager
def running(folder: Path, free: int = 0, quiet: float = 2.0, store: Path | None = None) -> Iterator[Running]:
    port, archive = free_port(), free_port()
    text = SETTINGS.format(port=port, archive=archive, free=free, quiet=quiet)
    if store is not None:
        text = text.replace('folder = "node"', f'folder = "{store}"')
    (folder / "node.toml").write_text(text)
    command = [sys.executable, "-m", "tamperscope", "node", "--config", str(folder / "node.toml")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        one = Running(folder, port, archive, process)
        try:
            wait(one.ready)
            yield one
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def senders(folder: Path, count: int, slices: int) -> dict[str, Any]:
    """So many senders at once (dcmtk's storescu), each a series of CT slices of 512 x 512."""
    sent = [series(f"1.2.{n}", slices, 512) for n in range(count)]
    commands = []
    for number, datasets in enumerate(sent):
        paths = [folder / f"{number}-{index}.dcm" for index in range(slices)]
        for path, one in zip(paths, datasets, strict=True):
            one.save_as(path, enforce_file_format=True)
        commands.append(["storescu", "-R", "-aet", SENDER, "-aec", NODE, HERE, "PORT", *map(str, paths)])
    with running(folder, quiet=3600.0) as node:
        before = node.memory()
        began = time.perf_counter()
        asked = [[str(node.port) if word == "PORT" else word for word in command] for command in commands]
        for process in [subprocess.Popen(command) for command in asked]:
            process.wait()
        seconds = time.perf_counter() - began
        after = node.memory()
        equal = sum(kept(node, one) == one.PixelData for datasets in sent for one in datasets)
    return {
        "senders": count,
        "instances": count * slices,
        "acknowledged_and_equal": equal,
        "per_second": round(count * slices / seconds, 1),
        "memory_mb": [round(before[0]), round(after[0])],
        "threads": [before[1], after[1]],
    }


def listener_kills(folder: Path, rounds: int) -> dict[str, Any]:
    """Kill -9 of the listener while four senders send; what was acknowledged must be there."""
    acknowledged: dict[str, bytes] = {}
    stop = threading.Event()
    numbers = iter(range(10**9))

    def sender() -> None:
        while not stop.is_set():
            one = series(f"1.3.{next(numbers)}", 4, 64)
            for dataset, status in zip(one, send(node.port, one), strict=False):
                if status == 0x0000:
                    acknowledged[dataset.SOPInstanceUID] = dataset.PixelData
            stop.wait(0.01)

    rng = random.Random(7)  # noqa: S311
    with running(folder, quiet=3600.0) as node:
        threads = [threading.Thread(target=sender) for _ in range(4)]
        for thread in threads:
            thread.start()
        killed = 0
        for _ in range(rounds):
            wait(lambda killed=killed: node.pids()["listener"] != killed)  # type: ignore[misc]
            seen = len(acknowledged)
            wait(lambda seen=seen: len(acknowledged) > seen)  # type: ignore[misc]
            stop.wait(rng.uniform(0.0, 0.5))
            killed = node.pids()["listener"]
            os.kill(killed, signal.SIGKILL)
        stop.set()
        for thread in threads:
            thread.join()
    return {"kills": rounds, "acknowledged": len(acknowledged), **missing(folder / "node", acknowledged)}


def missing(store: Path, acknowledged: dict[str, bytes]) -> dict[str, Any]:
    """How many instances are not there, or not as they were sent."""
    with connect(f"sqlite:///{store / 'node.db'}").connect() as connection:
        paths = dict(connection.execute(select(INSTANCES.c.sop_uid, INSTANCES.c.path)).all())
        sound = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
    there = {uid: pixels for uid, pixels in acknowledged.items() if uid in paths}
    damaged = sum(dcmread(store / paths[uid]).PixelData != pixels for uid, pixels in there.items())
    return {"lost": len(acknowledged) - len(there), "damaged": damaged, "database": sound}


def work(url: str) -> None:
    """A worker for `worker_kills`: each job takes a moment, and its end is an order that counts."""

    def handle(job: Job) -> Done:
        time.sleep(0.02)
        return Done({"by": os.getpid()}, (Order("counted", f"{job.key} by try {job.tries}", {}),))

    Worker(Queue(connect(url), tries=100), {"analyse": handle}, f"{os.getpid()}", lease_s=1.0).run(
        threading.Event(), 0.05
    )


def worker_kills(folder: Path, jobs: int) -> dict[str, Any]:
    """Kill -9 of one of three workers again and again, until all jobs are done."""
    url = f"sqlite:///{folder / 'jobs.db'}"
    engine = connect(url)
    migrate(engine)
    queue = Queue(engine)
    for number in range(jobs):
        queue.add(Order("analyse", f"job {number}", {}))
    rng, kills = random.Random(3), 0  # noqa: S311
    command = [sys.executable, __file__, "--work", url]
    workers = [subprocess.Popen(command) for _ in range(3)]
    while queue.counts().get(("analyse", "done"), 0) < jobs:
        time.sleep(rng.uniform(0.2, 1.0))
        if queue.counts().get(("analyse", "done"), 0):
            chosen = rng.randrange(3)
            workers[chosen].kill()
            workers[chosen].wait()
            workers[chosen] = subprocess.Popen(command)
            kills += 1
    for worker in workers:
        worker.kill()
        worker.wait()
    with engine.connect() as connection:
        most = connection.execute(select(func.max(JOBS.c.tries))).scalar()
    counts = queue.counts()
    finished = counts.get(("counted", "waiting"), 0)
    return {"jobs": jobs, "kills": kills, "done": counts[("analyse", "done")], "finished": finished, "most_tries": most}


def archive_away(folder: Path, seconds: float) -> dict[str, Any]:
    """The archive is not there when the result is, and comes back after so long."""
    with running(folder) as node:
        send(node.port, chest(folder / "study", 4, 256))
        wait(lambda: jobs_of(node).get(("deliver", "waiting"), 0) > 0)
        used = cpu_seconds(node)
        time.sleep(seconds)
        used = cpu_seconds(node) - used
        with archive(node.archive) as arrived:
            began = time.perf_counter()
            wait(lambda: jobs_of(node).get(("deliver", "done"), 0) > 0)
            waited = time.perf_counter() - began
            uids = [one.SOPInstanceUID for one in arrived]
    return {
        "away_s": seconds,
        "cpu_share_meanwhile": round(used / max(seconds, 1e-9), 3),
        "delivered_after_s": round(waited, 1),
        "objects": len(uids),
        "each_once": len(uids) == len(set(uids)),
    }


def full_disk(folder: Path) -> dict[str, Any]:
    """A file system of 64 MB: refused when it is full, taken again when there is room."""
    mounted = folder / "small"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(mounted)], check=True)
    try:
        with running(folder, free=8 << 20, quiet=3600.0, store=mounted / "node") as node:
            datasets, statuses, sent = series("1.5.1", 150, 512), [], []
            for start in range(0, 150, 10):
                sent += datasets[start : start + 10]
                statuses += send(node.port, datasets[start : start + 10])
            taken = statuses.count(0x0000)
            with connect(f"sqlite:///{mounted / 'node' / 'node.db'}").connect() as connection:
                rows = connection.execute(select(INSTANCES.c.path)).scalars().all()
            whole = sum((mounted / "node" / path).stat().st_size > 512 * 512 * 2 for path in rows)
            subprocess.run(["mount", "-o", "remount,size=128m", str(mounted)], check=True)
            again = send(node.port, series("1.5.2", 10, 512))
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)
    return {
        "sent": len(statuses),
        "acknowledged": taken,
        "whole_on_disk": whole,
        "refused_0xA700": statuses.count(0xA700),
        "acknowledged_after_room_was_made": again.count(0x0000),
    }


def strangers(folder: Path, count: int) -> dict[str, Any]:
    """Idle sockets, claimed gigabytes, slow bytes and noise of a listed host, while another asks every half second."""
    with running(folder, quiet=3600.0) as node:
        before = node.memory()
        rng, noise = np.random.default_rng(5), []
        for number in range(count):
            with suppress(OSError):
                one = socket.create_connection((HERE, node.port), timeout=5.0, source_address=(NEIGHBOUR, 0))
                one.sendall(
                    [
                        b"",
                        struct.pack(">BBL", 1, 0, 0xFFFFFFF0) + bytes(4096),
                        b"\x01",
                        rng.bytes(int(rng.integers(1, 4096))),
                    ][number % 4]
                )
                noise.append(one)
        during = [timed(lambda: echo(node.port)) for _ in range(6)]
        peak = node.memory()
        for one in noise:
            one.close()
        wait(lambda: node.memory()[1] <= before[1] + 4)
        after = node.memory()
        served = all(status == 0 for status in send(node.port, series("1.6.1", 10, 512)))
    return {
        "sockets": count,
        "echoes_answered_during": sum(fine for _, fine in during),
        "echoes_asked_during": len(during),
        "slowest_echo_s": round(max(seconds for seconds, _ in during), 2),
        "memory_mb": [round(before[0]), round(peak[0]), round(after[0])],
        "threads": [before[1], peak[1], after[1]],
        "honest_peer_served_after": served,
    }


def answer(folder: Path, slices: int) -> dict[str, Any]:
    """From the last instance of a chest CT to its result in the archive; the quiet time that was set is taken off."""
    quiet = 2.0
    with running(folder, quiet=quiet) as node, archive(node.archive) as arrived:
        datasets = chest(folder / "study", slices, 512)
        send(node.port, datasets)
        began = time.perf_counter()
        wait(lambda: jobs_of(node).get(("deliver", "done"), 0) > 0)
        seconds = time.perf_counter() - began
        modalities = sorted({str(one.Modality) for one in arrived})
    return {"slices": slices, "quiet_s": quiet, "seconds": round(seconds - quiet, 1), "modalities": modalities}


# --- what the parts share ---


def series(study: str, count: int, side: int) -> list[Dataset]:
    """CT slices of random pixels."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    made, rng = [], np.random.default_rng(int.from_bytes(sha256(study.encode()).digest()[:4]))
    for index in range(count):
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, f"{study}.1.{index + 1}"
        one.StudyInstanceUID, one.SeriesInstanceUID, one.Modality = study, f"{study}.1", "CT"
        one.Rows = one.Columns = side
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation, one.SamplesPerPixel = 15, 0, 1
        one.PhotometricInterpretation, one.InstanceNumber = "MONOCHROME2", index + 1
        one.PixelData = rng.integers(0, 4096, (side, side), dtype=np.uint16).tobytes()
        made.append(one)
    return made


def chest(folder: Path, slices: int, side: int) -> list[Dataset]:
    """A chest phantom that a model judges."""
    spacing = 358.0 / side
    volume = phantom.chest((slices, side, side), (2.5, spacing, spacing), np.random.default_rng(1))
    return [dcmread(path) for path in phantom.write_dicom(volume, folder)]


def send(port: int, datasets: list[Dataset]) -> list[int]:
    """The status of each that got an answer."""
    ae = AE(SENDER)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = 20
    ae.add_requested_context(CTImageStorage, datasets[0].file_meta.TransferSyntaxUID)
    association = ae.associate(HERE, port, ae_title=NODE)
    statuses: list[int] = []
    if not association.is_established:
        return statuses
    for dataset in datasets:
        try:
            answered = association.send_c_store(dataset)
        except RuntimeError:  # the association is gone
            break
        if "Status" not in answered:
            break
        statuses.append(int(answered.Status))
    if association.is_established:
        association.release()
    return statuses


def echo(port: int) -> bool:
    ae = AE(SENDER)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = 10
    ae.add_requested_context(Verification)
    association = ae.associate(HERE, port, ae_title=NODE)
    if not association.is_established:
        return False
    status = association.send_c_echo()
    association.release()
    return bool(status) and status.Status == 0


@contextmanager
def archive(port: int) -> Iterator[list[Dataset]]:
    """An archive that takes everything."""
    from pynetdicom import AllStoragePresentationContexts

    arrived: list[Dataset] = []

    def store(event: evt.Event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        arrived.append(dataset)
        return 0x0000

    ae = AE(ARCHIVE)
    ae.supported_contexts = AllStoragePresentationContexts
    server = ae.start_server((HERE, port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        yield arrived
    finally:
        if server is not None:
            server.shutdown()


def kept(node: Running, dataset: Dataset) -> bytes:
    """The pixels that the node has of an instance."""
    with connect(f"sqlite:///{node.folder / 'node' / 'node.db'}").connect() as connection:
        query = select(INSTANCES.c.path).where(INSTANCES.c.sop_uid == dataset.SOPInstanceUID)
        path = connection.execute(query).scalar()
    return b"" if path is None else bytes(dcmread(node.folder / "node" / path).PixelData)


def jobs_of(node: Running) -> dict[tuple[str, str], int]:
    return Queue(connect(f"sqlite:///{node.folder / 'node' / 'node.db'}")).counts()


def cpu_seconds(node: Running) -> float:
    """Of all processes of the node."""
    total = 0
    for pid in (node.process.pid, *node.pids().values()):
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def timed(call: Callable[[], bool]) -> tuple[float, bool]:
    began = time.perf_counter()
    fine = call()
    seconds = time.perf_counter() - began
    time.sleep(max(0.5 - seconds, 0.0))
    return seconds, fine


def wait(condition: Callable[[], bool]) -> None:
    """Until something is so, or it takes too long."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("waited in vain")
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HERE, 0))
        return int(probe.getsockname()[1])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="some of: senders kills workers away full strangers answer")
    parser.add_argument("--senders", type=int, default=8)
    parser.add_argument("--slices", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--away", type=float, default=60.0)
    parser.add_argument("--sockets", type=int, default=300)
    parser.add_argument("--chest", type=int, default=130)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work)
        raise SystemExit
    return options


if __name__ == "__main__":
    main()
