from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra [train] is not installed")
pytest.importorskip("timm", reason="the extra [train] is not installed")
pytest.importorskip("matplotlib", reason="the extra [train] is not installed")

import sets
from tamperscope.datasets import table
from tamperscope.errors import InputError, UsageError
from tamperscope.suites import run
from tamperscope.suites.plan import Plan
from tamperscope.suites.plan import plan as planned
from tamperscope.suites.suite import read_suite

TINY = """
name = "{name}"
system = "plain-cnn"
[net]
width = 2
[input]
side = 32
[train]
steps = {steps}
batch = 4
rate = {rate}
save_every = 2
validate = 8
"""
FORGERIES = sets.RECIPE + '\n[[forgery]]\nattack = "copy-move"\n\n[[forgery]]\nattack = "add-noise"\ntwin = false\n'
SUITE = """
name = "try"

[[data]]
name = "small"
manifest = "set/manifest.csv"
part = "calibrate"
leave_out = ["copy-move"]

[[data]]
name = "again"
manifest = "set/manifest.csv"
part = "calibrate"

[[model]]
recipe = "tiny.toml"
data = ["small"]

[[model]]
recipe = "breaks.toml"
data = ["again"]

[[model]]
card = "ct-noise"
data = ["small"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A set with two generators, recipes and suites."""
    found = tmp_path_factory.mktemp("benchmark")
    sets.forged_set(found, 6, FORGERIES)
    (found / "tiny.toml").write_text(TINY.format(name="tiny", steps=4, rate="1e-3"))
    (found / "breaks.toml").write_text(TINY.format(name="breaks", steps=4, rate="1e30"))
    (found / "long.toml").write_text(
        TINY.format(name="long", steps=300, rate="1e-3").replace("save_every = 2", "save_every = 10\npatience = 1000")
    )
    (found / "suite.toml").write_text(SUITE)
    return found


@pytest.fixture(scope="module")
def done(folder) -> tuple[Path, run.Outcome, list]:
    told: list[tuple[str, int, int]] = []
    outcome = run.run(
        folder / "suite.toml", folder / "out", jobs=2, resamples=20, tick=lambda *words: told.append(words)
    )
    return folder / "out", outcome, told


def plan(folder: Path, name: str = "suite.toml") -> Plan:
    return planned(read_suite(folder / name), folder / "out")


def test_a_training_serves_every_data_set_that_is_learned_from_alike(folder):
    (folder / "shared.toml").write_text(SUITE.replace('data = ["small"]\n', ""))
    made = plan(folder, "shared.toml")
    tiny = [chain for chain in made.chains if chain.training and chain.training.name.startswith("tiny")]
    assert [[one.split.name for one in chain.judgings] for chain in tiny] == [
        ["small", "again"],
        ["small without copy-move"],
    ]
    (card,) = [chain for chain in made.chains if chain.training is None]
    assert [(one.split.name, one.share) for one in card.judgings] == [
        ("small", False),
        ("small without copy-move", True),
        ("again", False),
    ]
    assert len(card.jobs) == 1, "a Card is not judged again by what it has been judged by"


def test_several_manifests_are_judged_as_one(folder, tmp_path):
    listed = table.read(folder / "set")
    sides = [[one for one in listed.entries if (one.label == "forged") == forged] for forged in (True, False)]
    for name, entries in zip("ab", sides, strict=True):
        (tmp_path / name).mkdir()
        table.write(tmp_path / name / "manifest.csv", entries, listed.root)
    path = tmp_path / "suite.toml"
    path.write_text(
        '[[data]]\nname = "both"\nmanifest = ["a/manifest.csv", "b"]\npart = "calibrate"\n'
        '[[model]]\ncard = "ct-noise"\n'
    )
    made = planned(read_suite(path), tmp_path / "out")
    (judging,) = made.jobs
    assert judging.words[judging.words.index("--data") + 1] == str(tmp_path / "out" / "manifests" / "both-joined.csv")
    run.prepare(made, path)
    joined = table.read(tmp_path / "out" / "manifests" / "both-joined.csv")
    assert sorted(one.sha256 for one in joined.entries) == sorted(one.sha256 for one in listed.entries)
    assert all(one.mask.is_file() for one in joined.entries if one.label == "forged")


def test_the_name_of_a_job_depends_on_content_and_not_on_places(folder, tmp_path):
    for name in ("tiny.toml", "breaks.toml", "suite.toml"):
        shutil.copy(folder / name, tmp_path / name)
    text = (tmp_path / "tiny.toml").read_text()
    (tmp_path / "set").symlink_to(folder / "set")

    def names() -> list[str]:
        return [job.name for job in planned(read_suite(tmp_path / "suite.toml"), tmp_path / "out").jobs]

    before = [job.name for job in plan(folder).jobs]
    (tmp_path / "tiny.toml").write_text("# a remark\n" + text)
    assert names() == before
    (tmp_path / "tiny.toml").write_text(text.replace("width = 2", "width = 3"))
    changed = [one != other for one, other in zip(names(), before, strict=True)]
    assert changed == [("tiny" in name) for name in before]


def test_the_name_of_a_job_depends_on_what_a_recipe_names(folder, tmp_path):
    (tmp_path / "set").symlink_to(folder / "set")
    own = (folder / "tiny.toml").read_text()
    own = re.sub(r'system = ".*"', 'system = "own"', own)
    own = re.sub(r"\[net\][^\[]*", '[net]\nbuild = "mine:build"\n\n', own)
    (tmp_path / "own.toml").write_text(own)
    (tmp_path / "suite.toml").write_text(
        '[[data]]\nname = "small"\nmanifest = "set/manifest.csv"\npart = "calibrate"\n[[model]]\nrecipe = "own.toml"\n'
    )

    def name() -> str:
        return planned(read_suite(tmp_path / "suite.toml"), tmp_path / "out").jobs[0].name

    names = set()
    for text in ("def build(side): ...", "def build(side, *more): ..."):
        (tmp_path / "mine.py").write_text(text)
        names.add(name())
    assert len(names) == 2


def test_two_data_sets_alike_share_what_is_left_out_too(folder):
    both = SUITE.replace(
        'part = "calibrate"\n\n[[model]]', 'part = "calibrate"\nleave_out = ["copy-move"]\n\n[[model]]', 1
    )
    (folder / "both.toml").write_text(both.replace('data = ["small"]\n', ""))
    (card,) = [chain for chain in plan(folder, "both.toml").chains if chain.training is None]
    assert [(one.split.name, one.share) for one in card.judgings] == [
        ("small", False),
        ("small without copy-move", True),
        ("again", False),
        ("again without copy-move", True),
    ]


def test_what_a_generator_left_out_leaves(folder, done):
    without, only = (
        table.read(done[0] / "manifests" / name).entries
        for name in ("small-without-copy-move.csv", "small-only-copy-move.csv")
    )
    whole = table.read(folder / "set").entries
    assert {entry.generator for entry in without} == {"", "inpaint"}
    assert {entry.generator for entry in only} == {"", "copy-move"}
    for kept in (without, only):
        assert sum(one.label == "authentic" for one in kept) == sum(one.label == "authentic" for one in whole)
        assert {one.sha256 for one in kept} < {one.sha256 for one in whole}


def test_everything_is_trained_and_judged_and_what_fails_stops_no_other(done):
    out, outcome, told = done
    (failure,) = outcome.failed
    assert failure.source.startswith("breaks-seed1-")
    assert "is nan" in failure.error
    assert (outcome.jobs, outcome.done, outcome.made) == (7, 5, 5)
    jobs = [number for what, number, _ in told if what.startswith(("training", "judging"))]
    assert jobs == sorted(jobs)
    assert jobs[-1] <= 7
    board = json.loads((out / "leaderboard.json").read_text())
    assert [one["name"] for one in board["tables"]] == ["small", "small without copy-move", "again"]
    small, held_out, again = board["tables"]
    assert small["cases"] == {"series": 12, "forged": 6, "authentic": 6, "patients": 3, "slices": 48}
    assert held_out["cases"]["forged"] == 3
    assert [row["state"].partition(":")[0] for row in again["rows"]] == ["failed"]
    rows = {row["model"]: row for row in small["rows"]}
    assert rows["tiny"]["state"] == rows["ct-noise"]["state"] == "done"
    assert rows["tiny"]["parameters"] > 100
    assert rows["tiny"]["training_bytes"] > rows["tiny"]["judging_bytes"] > 2**26
    assert rows["ct-noise"]["training_bytes"] is None
    assert rows["ct-noise"]["refused"] == 12
    assert len(rows["tiny"]["commands"]) == 2
    assert board["left_out"][0]["generators"] == ["copy-move"]
    with (out / "leaderboard.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 5


def test_each_job_keeps_its_command_and_what_it_took(done):
    out, _, _ = done
    for path in (out / "jobs").glob("*.json"):
        kept = json.loads(path.read_text())
        assert kept["command"].startswith("tamperscope ")
        assert kept["peak_bytes"] > 2**20
        assert (kept["error"] is None) == (kept["code"] == 0)
        assert path.with_suffix(".log").is_file()
    command = next(json.loads(p.read_text())["command"] for p in (out / "jobs").glob("tiny-*.json"))
    assert "--seed 1" in command
    assert "--allow-leaks" in command


def test_a_second_run_does_nothing_but_what_failed(folder, done):
    out, _, _ = done
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    again = run.run(folder / "suite.toml", out, only=["tiny", "ct-noise"], resamples=20)
    assert (again.jobs, again.done, again.made, again.failed) == (5, 5, 0, ())
    changed = {path.name for path, at in before.items() if path.stat().st_mtime_ns != at}
    assert {name for name in changed if not name.startswith("leaderboard")} <= {
        "suite.toml",
        "small-without-copy-move.csv",
        "small-only-copy-move.csv",
    }
    states = dict(run.states(folder / "suite.toml", out))
    assert sorted({state.partition(":")[0] for state in states.values()}) == ["done", "failed", "to do"]


KILLED = """
import sys
from pathlib import Path
from tamperscope.suites import run
run.run(Path(sys.argv[1]), Path(sys.argv[2]), resamples=0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what runs")
def test_a_killed_run_leaves_nobody_at_work_and_goes_on(folder, tmp_path):
    path, out = folder / "long-suite.toml", tmp_path / "out"
    path.write_text(
        '[[data]]\nname = "small"\nmanifest = "set/manifest.csv"\npart = "calibrate"\n[[model]]\nrecipe = "long.toml"\n'
    )
    training, judging = planned(read_suite(path), out).jobs
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path), str(out)]) as parent:
        while not (training.folder / "last.safetensors").exists():
            assert parent.poll() is None
        parent.kill()
    wait_for_the_end_of(training.folder)
    assert [state for _, state in run.states(path, out)] == ["to do", "to do"]
    assert not (training.folder / "model.json").exists(), "killed before its end"
    # What lies there cannot be of the weights that are still to come.
    judging.folder.mkdir()
    (judging.folder / "outcomes.jsonl").write_text('{"schema": "of something else"}\n')

    outcome = run.run(path, out, resamples=0)
    assert (outcome.done, outcome.failed) == (2, ())
    rows = [json.loads(line) for line in (training.folder / "record.jsonl").read_text().splitlines()]
    assert [row["from"] for row in rows if "from" in row][-1] >= 10, "it went on where it was"
    assert rows[-1]["step"] == 300


def wait_for_the_end_of(folder: Path) -> None:
    """Until no process names the folder in its command line."""
    while any(str(folder) in line for line in commands()):
        pass


def commands() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def test_a_folder_of_something_else_is_refused(folder, tmp_path):
    (tmp_path / "photo.png").write_bytes(b"")
    with pytest.raises(UsageError, match="holds something else than a benchmark"):
        run.run(folder / "suite.toml", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (("set/manifest.csv", "gone/manifest.csv"), InputError, "gone"),
        (('"calibrate"', '"test"'), UsageError, "no part 'test'"),
        (('["copy-move"]', '["splice"]'), UsageError, "no forgery by 'splice' .there are copy-move, inpaint"),
    ],
)
def test_what_cannot_be_planned_is_told_before_anything_is_done(folder, tmp_path, change, error, words):
    path = folder / "wrong.toml"
    path.write_text(SUITE.replace(*change))
    with pytest.raises(error, match=words):
        run.run(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_leaking_split_is_neither_trained_on_nor_hidden(folder, tmp_path):
    listed = table.read(folder / "set")
    known = {entry.patient: entry.part for entry in listed.entries}
    one = next(patient for patient, part in known.items() if part == "calibrate")
    leaking = [
        replace(entry, part="train") if entry.patient == one and entry.label == "authentic" else entry
        for entry in listed.entries
    ]
    table.write(tmp_path / "leaks.csv", leaking, listed.root)
    path = tmp_path / "suite.toml"
    path.write_text(
        f'[[data]]\nname = "leaky"\nmanifest = "leaks.csv"\npart = "calibrate"\n'
        f'[[model]]\nrecipe = "{os.path.relpath(folder, tmp_path)}/tiny.toml"\n'
    )
    outcome = run.run(path, tmp_path / "out", resamples=0)
    assert [failure.error[:16] for failure in outcome.failed] == ["the split leaks:"]
    assert not list((tmp_path / "out" / "runs").iterdir())
    assert not (tmp_path / "out" / "leaks").exists()
    assert "failed: the split leaks" in (tmp_path / "out" / "leaderboard.md").read_text()


def test_threads_are_shared_among_processes(monkeypatch):
    monkeypatch.setattr("tamperscope.weights.available_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [run.threads_of_each(jobs) for jobs in (1, 2, 3, 16)] == [8, 4, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert run.threads_of_each(2) == 3
