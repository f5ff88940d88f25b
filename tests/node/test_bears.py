"""What `benchmarks/node.py` measures, smaller: here it has to come out right, there it is timed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nodes

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "node.py"


def measured(*arguments: str) -> dict:
    done = subprocess.run([sys.executable, str(BENCHMARK), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@nodes.needs_dcmtk
def test_senders_at_once_are_all_acknowledged_and_kept_bit_for_bit():
    found = measured("senders", "--senders", "4", "--slices", "5")
    assert found["acknowledged_and_equal"] == 20


def test_kill_9_of_the_listener_loses_nothing_that_was_acknowledged():
    found = measured("kills", "--rounds", "3")
    assert found["acknowledged"] > 0
    assert (found["lost"], found["damaged"], found["database"]) == (0, 0, "ok")


def test_kill_9_of_workers_finishes_every_job_once():
    found = measured("workers", "--jobs", "60")
    assert (found["done"], found["finished"]) == (60, 60)


def test_results_wait_for_an_archive_that_is_away():
    found = measured("away", "--away", "2")
    assert found["objects"] > 0
    assert found["each_once"]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting needs root")
def test_a_full_disk_acknowledges_nothing_that_it_has_not_and_recovers():
    found = measured("full")
    assert found["refused_0xA700"] > 0
    assert found["acknowledged"] == found["whole_on_disk"] > 0
    assert found["acknowledged_after_room_was_made"] == 10


def test_strangers_do_not_keep_an_honest_peer_out():
    found = measured("strangers", "--sockets", "60")
    assert found["honest_peer_served_after"]
    assert found["memory_mb"][2] < found["memory_mb"][0] + 50
    assert found["threads"][1] < 64
