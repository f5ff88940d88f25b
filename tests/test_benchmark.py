from __future__ import annotations

import csv
import json
import os
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
from tamperscope import benchmark
from tamperscope.datasets import table
from tamperscope.errors import InputError, UsageError
from tamperscope.suite import read_suite

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

[[model]]
recipe = "breaks.toml"
data = ["small"]

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
    (found / "long.toml").write_text(TINY.format(name="long", steps=1_000_000, rate="1e-3"))
    (found / "suite.toml").write_text(SUITE)
    return found


@pytest.fixture(scope="module")
def done(folder) -> tuple[Path, benchmark.Outcome, list]:
    told: list[tuple[str, int, int]] = []
    outcome = benchmark.run(
        folder / "suite.toml", folder / "out", jobs=2, resamples=20, tick=lambda *words: told.append(words)
    )
    return folder / "out", outcome, told


def plan(folder: Path, name: str = "suite.toml") -> benchmark.Plan:
    return benchmark.plan(read_suite(folder / name), folder / "out")


def test_a_training_serves_every_data_set_that_is_learned_from_alike(folder):
    made = plan(folder)
    tiny = [chain for chain in made.chains if chain.training and chain.training.name.startswith("tiny")]
    assert [sorted(one.split.name for one in chain.judgings) for chain in tiny] == [
        ["again", "small"],
        ["small without copy-move"],
    ]
    (card,) = [chain for chain in made.chains if chain.training is None]
    assert [one.share for one in card.judgings] == [False, True], "a Card is not judged twice"
    assert len(card.jobs) == 1
    assert not (folder / "elsewhere").exists()


def test_the_name_of_a_job_depends_on_content_and_not_on_places(folder, tmp_path):
    for name in ("tiny.toml", "breaks.toml", "suite.toml"):
        shutil.copy(folder / name, tmp_path / name)
    text = (tmp_path / "tiny.toml").read_text()
    (tmp_path / "set").symlink_to(folder / "set")

    def names() -> list[str]:
        return [job.name for job in benchmark.plan(read_suite(tmp_path / "suite.toml"), tmp_path / "out").jobs]

    before = [job.name for job in plan(folder).jobs]
    (tmp_path / "tiny.toml").write_text("# a remark\n" + text)
    assert names() == before
    (tmp_path / "tiny.toml").write_text(text.replace("width = 2", "width = 3"))
    changed = [one != other for one, other in zip(names(), before, strict=True)]
    assert changed == [("tiny" in name) for name in before]


def test_what_a_generator_left_out_leaves(folder, done):
    without, only = (
        table.read(folder / "out" / "manifests" / name).entries
        for name in ("small-without-copy-move.csv", "small-only-copy-move-0.csv")
    )
    whole = table.read(folder / "set").entries
    assert {entry.generator for entry in without} == {"", "inpaint"}
    assert {entry.generator for entry in only} == {"", "copy-move"}
    for kept in (without, only):
        assert sum(one.label == "authentic" for one in kept) == sum(one.label == "authentic" for one in whole)
        assert {one.sha256 for one in kept} < {one.sha256 for one in whole}


def test_everything_is_trained_and_judged_and_what_fails_stops_no_other(done):
    out, outcome, told = done
    assert [failure.source.partition("-seed")[0] for failure in outcome.failed] == ["breaks", "breaks"]
    assert all("no number" in failure.error or "nan" in failure.error.lower() for failure in outcome.failed)
    assert (outcome.jobs, outcome.done, outcome.made) == (10, 6, 6)
    assert [number for _, number, _ in told] == sorted(number for _, number, _ in told)
    assert {total for *_, total in told} == {10}
    board = json.loads((out / "leaderboard.json").read_text())
    assert [one["name"] for one in board["tables"]] == ["small", "small without copy-move", "again"]
    small, held_out, again = board["tables"]
    assert small["cases"] == {"series": 12, "forged": 6, "authentic": 6, "patients": 3, "slices": 48}
    assert held_out["cases"]["forged"] == 3
    rows = {row["model"]: row for row in small["rows"]}
    assert rows["breaks"]["state"].startswith("failed: ")
    assert rows["tiny"]["state"] == rows["ct-noise"]["state"] == "done"
    assert rows["tiny"]["parameters"] > 100
    assert rows["tiny"]["training_bytes"] > rows["tiny"]["judging_bytes"] > 2**26
    assert rows["ct-noise"]["training_bytes"] is None
    assert rows["ct-noise"]["refused"] == 12
    assert [row["model"] for row in again["rows"]] == ["tiny"]
    assert len(rows["tiny"]["commands"]) == 2
    assert board["left_out"][0]["generators"] == ["copy-move"]
    with (out / "leaderboard.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 7


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
    out, outcome, _ = done
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    again = benchmark.run(folder / "suite.toml", out, only=["tiny", "ct-noise"], resamples=20)
    assert (again.jobs, again.done, again.made, again.failed) == (6, 6, 0, ())
    changed = {path.name for path, at in before.items() if path.stat().st_mtime_ns != at}
    assert changed <= {f"leaderboard.{kind}" for kind in ("json", "md", "csv", "html")} | {
        "suite.toml",
        "small-without-copy-move.csv",
        "small-only-copy-move-0.csv",
    }
    states = dict(benchmark.states(folder / "suite.toml", out))
    assert sorted({state.partition(":")[0] for state in states.values()}) == ["done", "failed", "to do"]


def test_an_evaluation_by_weights_that_are_gone_is_made_again(folder, done, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(done[0], out)
    (run,) = (job.folder for job in plan_at(folder, out).jobs if job.name.startswith("tiny") and "runs" in str(job))
    shutil.rmtree(run)
    outcome = benchmark.run(folder / "suite.toml", out, only=["tiny"], resamples=0)
    assert outcome.done == outcome.jobs


def plan_at(folder: Path, out: Path) -> benchmark.Plan:
    made = benchmark.plan(read_suite(folder / "suite.toml"), out)
    return replace(made, chains=tuple(chain for chain in made.chains if len(chain.judgings) == 2 and chain.training))


KILLED = """
import sys
from pathlib import Path
from tamperscope import benchmark
benchmark.run(Path(sys.argv[1]), Path(sys.argv[2]), resamples=0)
"""


def test_a_killed_run_leaves_nobody_at_work_and_goes_on(folder, tmp_path):
    path, out = folder / "long-suite.toml", tmp_path / "out"
    path.write_text(
        '[[data]]\nname = "small"\nmanifest = "set/manifest.csv"\npart = "calibrate"\n[[model]]\nrecipe = "long.toml"\n'
    )
    (job, _) = benchmark.plan(read_suite(path), out).jobs
    log = out / "jobs" / f"{job.name}.log"
    command = [sys.executable, "-c", KILLED, str(path), str(out)]
    with subprocess.Popen(command) as parent:
        while not (log.exists() and "step 4" in log.read_text()):
            assert parent.poll() is None, log.read_text()
        parent.kill()
    wait_for_the_end_of(job.folder)
    assert [state for _, state in benchmark.states(path, out)] == ["to do", "to do"]
    record = job.folder / "record.jsonl"
    steps = json.loads(record.read_text().splitlines()[-1])["step"]
    # The same recipe, but with an end that it has nearly reached.
    text = (folder / "long.toml").read_text()
    assert steps >= 4
    assert "minutes" not in text


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
        benchmark.run(folder / "suite.toml", tmp_path)
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
        benchmark.run(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_leaking_split_is_neither_trained_on_nor_hidden(folder, tmp_path):
    listed = table.read(folder / "set")
    last = listed.entries[-1].patient
    leaking = [
        replace(entry, part="train") if entry.patient == last and entry.label == "authentic" else entry
        for entry in listed.entries
    ]
    assert any(one != other for one, other in zip(leaking, listed.entries, strict=True)) or last
    table.write(tmp_path / "leaks.csv", leaking, listed.root)
    path = tmp_path / "suite.toml"
    path.write_text(
        f'[[data]]\nname = "leaky"\nmanifest = "leaks.csv"\npart = "calibrate"\n'
        f'[[model]]\nrecipe = "{os.path.relpath(folder, tmp_path)}/tiny.toml"\n'
    )
    outcome = benchmark.run(path, tmp_path / "out", resamples=0)
    assert [failure.error[:16] for failure in outcome.failed] == ["the split leaks:"]
    assert not list((tmp_path / "out" / "runs").iterdir())
    assert not (tmp_path / "out" / "leaks").exists()
    assert "failed: the split leaks" in (tmp_path / "out" / "leaderboard.md").read_text()


def test_threads_are_shared_among_processes(monkeypatch):
    monkeypatch.setattr("tamperscope.weights.available_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [benchmark.threads_of_each(jobs) for jobs in (1, 2, 3, 16)] == [8, 4, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert benchmark.threads_of_each(2) == 3
