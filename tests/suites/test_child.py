from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tamperscope.suites.child import Children

RUNS = """
import sys
from pathlib import Path
from tamperscope.suites.child import Children
Children().run([sys.executable, "-c", sys.argv[1]], Path(sys.argv[2]), {})
"""
WAITS = "import time; print('here', flush=True); time.sleep(600)"


def run(tmp_path: Path, code: str, **environment: str):
    log = tmp_path / "child.log"
    return Children().run([sys.executable, "-c", code], log, environment), log.read_text()


def test_it_says_how_the_command_ended_and_keeps_what_it_printed(tmp_path):
    usage, log = run(tmp_path, "import os, sys; print(os.environ['WORD']); sys.exit(3)", WORD="hello")
    assert (usage.code, log) == (3, "hello\n")
    assert usage.seconds > 0
    assert [path.name for path in tmp_path.iterdir()] == ["child.log"]


def test_a_signal_is_less_than_zero(tmp_path):
    assert run(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGTERM)")[0].code == -15


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say")
def test_the_peak_is_that_of_the_command_and_not_of_the_one_that_asks(tmp_path):
    size = 300 * 2**20
    held = b"x" * size  # what a new process would inherit as its own peak
    small, large = (run(tmp_path, code)[0].peak_bytes for code in ("pass", f"b'x' * {size}"))
    assert len(held) == size
    assert small < size < large < 2 * size


def test_what_runs_can_be_ended_and_nothing_starts_after(tmp_path):
    children, found = Children(), []
    log = tmp_path / "child.log"
    thread = threading.Thread(target=lambda: found.append(children.run([sys.executable, "-c", WAITS], log, {})))
    thread.start()
    while not (log.exists() and log.read_text()):
        pass
    children.end()
    thread.join()
    assert [usage.code for usage in found] == [-9]
    assert children.ended
    assert children.run([sys.executable, "-c", "print('late')"], log, {}).code < 0
    assert log.read_text() == ""


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are waited for otherwise there")
@pytest.mark.parametrize("whole_group", [False, True])
def test_a_command_ends_with_the_one_that_asked_however_that_ends(tmp_path, whole_group):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    code = f"import time; pipe = open({str(fifo)!r}, 'w'); print('here', file=pipe, flush=True); time.sleep(600)"
    command = [sys.executable, "-c", RUNS, code, str(tmp_path / "log")]
    with subprocess.Popen(command, start_new_session=True) as asker, fifo.open() as pipe:
        assert pipe.readline() == "here\n"
        if whole_group:
            os.killpg(asker.pid, signal.SIGTERM)
        else:
            asker.kill()
        # The command holds the other end: it is read to its end when that has gone.
        assert pipe.read() == ""
