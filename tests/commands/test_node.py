from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

pytest.importorskip("pynetdicom", reason="the extra [dicom] is not installed")

from typer.testing import CliRunner

import nodes
import tamperscope
from tamperscope import phantom
from tamperscope.cli import app
from tamperscope.decode import decode
from tamperscope.jobs.database import migrate
from tamperscope.jobs.ledger import Ledger
from tamperscope.jobs.queue import Order, Queue
from tamperscope.jobs.tables import LEDGER
from tamperscope.node.parts import Parts


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def config(tmp_path):
    return nodes.settings(tmp_path)


@pytest.fixture
def parts(config):
    made = Parts.of(config)
    migrate(made.engine)
    yield made
    made.engine.dispose()


def test_status_says_how_it_is(config, parts):
    done = run("status", "--config", config)
    assert done.exit_code == 2
    assert "0 instances of 0 studies" in done.output
    assert "NOT OK  the node is not running" in done.output
    queue = Queue(parts.engine)
    queue.add(Order("deliver", "a", {}))
    queue.fail(queue.take(["deliver"], "w", 10.0), "the archive said no", final=True)
    done = run("status", "--config", config, "--json")
    assert done.exit_code == 2
    assert json.loads(done.stdout)["healthy"] is False


def test_dead_letters_are_listed_and_sent_again(config, parts):
    assert "No job is dead." in run("node", "--config", config, "dead").output
    queue = Queue(parts.engine)
    queue.add(Order("deliver", "a", {}))
    queue.fail(queue.take(["deliver"], "w", 10.0), "the archive said no", final=True)
    assert "the archive said no" in run("node", "dead", "--config", config).output
    assert run("node", "resend", "--config", config).exit_code == 2, "which one?"
    assert run("node", "resend", 99, "--config", config).exit_code == 2
    done = run("node", "resend", "--all", "--config", config)
    assert (done.exit_code, done.output) == (0, "1 job will be tried again.\n")
    assert queue.take(["deliver"], "w", 10.0).tries == 1


def test_check_ends_with_2_where_something_is_not_well(config):
    done = run("node", "check", "--config", config)
    assert done.exit_code == 2
    assert "ok      database" in done.output
    assert "NOT OK  destinations" in done.output


def test_what_asks_a_node_makes_none(config, tmp_path):
    for command in (["status"], ["verify"], ["node", "dead"]):
        done = run(*command, "--config", config)
        assert done.exit_code == 2
        assert "there is no database" in done.output
    assert not (tmp_path / "node").exists()


@pytest.mark.parametrize("command", [["status"], ["verify"], ["node"], ["node", "check"], ["node", "dead"]])
def test_settings_that_are_not_there_are_named(tmp_path, command):
    done = run(*command, "--config", tmp_path / "none.toml")
    assert done.exit_code == 2
    assert "cannot read" in done.output


def test_verify_tells_what_changed_since_first_sight(config, parts, tmp_path):
    assert "holds 0 slices" in run("verify", "--config", config).output
    chest = phantom.chest((3, 64, 64), (2.5, 5.0, 5.0))
    phantom.write_dicom(chest, tmp_path / "study")
    assert run("verify", tmp_path / "study", "--config", config).exit_code == 3, "nobody has seen it"
    (series,) = tamperscope.read(tmp_path / "study").studies[0].series
    Ledger(parts.engine).see(decode(series))
    done = run("verify", tmp_path / "study", "--config", config)
    assert (done.exit_code, "3 slices are as they were" in done.output) == (0, True)
    victim = sorted((tmp_path / "study").iterdir())[1]
    data = bytearray(victim.read_bytes())
    data[-100] ^= 1
    victim.write_bytes(data)
    done = run("verify", tmp_path / "study", "--config", config)
    assert done.exit_code == 1
    assert "CHANGED" in done.output


def test_a_port_that_is_taken_is_said_at_once(tmp_path):
    with socket.socket() as other:
        other.bind((nodes.HERE, 0))
        other.listen()
        text = nodes.BASE.replace("port = 0\nfree", f"port = {other.getsockname()[1]}\nfree")
        done = run("node", "--config", nodes.settings(tmp_path, text=text))
    assert done.exit_code == 2
    assert "cannot listen at 127.0.0.1" in done.output


def test_a_ledger_that_lost_its_end_is_found_out(config, parts):
    ledger = Ledger(parts.engine)
    ledger.add([("1.1", 1, "a" * 64)])
    parts.audit.write("judged", ledger=ledger.head())
    assert run("verify", "--config", config).exit_code == 0
    with parts.engine.begin() as connection:
        connection.execute(LEDGER.delete())
    done = run("verify", "--config", config)
    assert done.exit_code == 2
    assert "rows were removed from its end" in done.output


def test_a_node_runs_alone_in_its_folder_and_stops_in_order(config, tmp_path):
    command = [sys.executable, "-m", "tamperscope", "node", "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert "listens at" in first.stdout.readline()
        assert nodes.until(lambda: run("status", "--config", config).exit_code == 0)
        audit = tmp_path / "node" / "audit.jsonl"
        wait = nodes.until(lambda: audit.exists() and audit.read_text().count('"process"') >= 4)
        assert wait
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 2
        assert "a node runs in" in second.stderr
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 0
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert (lines[0]["event"], lines[-1]["event"]) == ("started", "stopped")
    for line in lines:
        if line["event"] == "process":
            with pytest.raises(ProcessLookupError):
                os.kill(line["pid"], 0)
