"""Every block of code in README.md and docs/ runs.

Each block starts in a folder of its own that holds ``study/``, a synthetic chest CT as DICOM. ``python`` blocks are
executed; in ``console`` blocks the lines after ``$ `` are, in ``bash`` blocks all lines. Of the commands, those in
SET_UP are not run here, because CI itself goes through them; everything else has to be a ``tamperscope`` command, or
one of OTHERS, which every machine has.
Blocks in the languages of SHOWN hold output or formats and are only looked at.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tamperscope import phantom

ROOT = Path(__file__).parent.parent
SHOWN = {"text", "json", "toml", "bibtex"}
SET_UP = ("git clone ", "cd ", "make", "pip install ", ".venv/bin/python ", "python experiments/")
OTHERS = {"openssl"}
SCANNED = {0, 1, 3}
"""Exit codes of a scan that went well: no evidence, suspicious, inconclusive."""


class Block(NamedTuple):
    """Fenced code: where it begins, its language, its text."""

    place: str
    language: str
    code: str


def blocks() -> list[Block]:
    found = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for match in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(f"{path.relative_to(ROOT)}:{line}", match[1].strip(), match[2]))
    return found


BLOCKS = blocks()
RUN = [block for block in BLOCKS if block.language not in SHOWN]


def commands(block: Block) -> list[str]:
    lines = block.code.replace("\\\n", " ").splitlines()
    if block.language == "console":
        return [line[2:] for line in lines if line.startswith("$ ")]
    return [line for line in lines if line.strip() and not line.startswith("#")]


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("readme") / "study"
    phantom.write_dicom(phantom.chest((6, 256, 256), (2.5, 1.4, 1.4)), folder)
    return folder


@pytest.fixture
def folder(study, tmp_path) -> Path:
    shutil.copytree(study, tmp_path / "study")
    return tmp_path


def run(arguments: list[str], folder: Path, program: str = sys.executable) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, timeout=240)
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended


def test_the_readme_has_code():
    assert any(block.place.startswith("README.md") for block in RUN), "README.md shows no code that runs"


def test_every_block_states_a_language_that_is_run_or_shown():
    known = SHOWN | {"python", "console", "bash"}
    assert not [f"{block.place} {block.language!r}" for block in BLOCKS if block.language not in known]


@pytest.mark.parametrize("block", RUN, ids=[block.place for block in RUN])
def test_it_runs(block, folder):
    if block.language == "python":
        ended = run(["-c", block.code], folder)
        assert ended.returncode == 0, ended.stderr
        return
    assert commands(block), f"{block.place} holds no command"
    for command in commands(block):
        if command.startswith(SET_UP):
            continue
        program, *arguments = shlex.split(command, comments=True)
        assert program in {"tamperscope", *OTHERS}, f"{block.place}: {command!r} is neither tamperscope nor in SET_UP"
        ours = program == "tamperscope"
        ended = run(["-m", "tamperscope", *arguments], folder) if ours else run(arguments, folder, program)
        good = SCANNED if arguments[:1] == ["scan"] else {0}
        assert ended.returncode in good, f"{command!r} ended with {ended.returncode}: {ended.stdout}{ended.stderr}"
