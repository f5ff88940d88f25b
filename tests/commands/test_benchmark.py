from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import sets
from tamperscope.commands.benchmark import benchmark

app = typer.Typer(rich_markup_mode=None)
app.command()(benchmark)

SUITE = """
[[data]]
name = "small"
manifest = "set/manifest.csv"
part = "calibrate"

[[model]]
card = "ct-noise"
"""


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("suite")
    sets.forged_set(folder, 2)
    (folder / "suite.toml").write_text(SUITE)
    return folder / "suite.toml"


def test_the_list_says_what_there_is_to_do_and_writes_nothing(suite, tmp_path):
    result = run(suite, "--out", tmp_path / "out", "--list")
    assert (result.exit_code, result.stderr) == (0, "")
    job, count = result.stdout.splitlines()
    assert job.startswith("to do   tamperscope evaluate --model ct-noise --data ")
    assert count == "0 of 1 jobs done"
    assert not (tmp_path / "out").exists()


def test_it_judges_ranks_and_the_second_time_finds_it_done(suite, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra [train] is not installed")
    out = tmp_path / "out"
    first = run(suite, "--out", out, "--resamples", 0)
    assert (first.exit_code, first.stderr) == (0, "")
    assert first.stdout.splitlines() == ["1 of 1 jobs done, 1 of them now", f"Leaderboard: {out / 'leaderboard.html'}"]
    assert run(suite, "--out", out, "--resamples", 0).stdout.startswith("1 of 1 jobs done, 0 of them now")
    assert run(suite, "--out", out, "--list").stdout.startswith("done    tamperscope evaluate")
    assert {path.name for path in out.glob("leaderboard.*")} == {
        f"leaderboard.{kind}" for kind in ("html", "md", "csv", "json")
    }


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (("manifest =", "manifests ="), (), "unknown key 'manifests' in [[data]] number 1"),
        (("set/manifest.csv", "gone.csv"), (), "gone.csv"),
        (("ct-noise", "nobody"), (), "no model is called nobody"),
        (("", ""), ("--only", "nobody"), "no model of the suite is called nobody (there are ct-noise)"),
        (("", ""), ("--list", "--only", "nobody"), "no model of the suite is called nobody"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_2(suite, tmp_path, change, options, words):
    path = suite.with_name("wrong.toml")
    path.write_text(SUITE.replace(*change))
    result = run(path, "--out", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_job_that_fails_is_told_and_the_exit_code_is_4(suite, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra [train] is not installed")
    # Something that is in the way of the answers: the command of the job cannot write.
    out = tmp_path / "out"
    assert run(suite, "--out", out, "--list").exit_code == 0
    from tamperscope.suites import run as runner

    ((job, _),) = runner.states(suite, out)
    (out / "evaluations").mkdir(parents=True)
    (out / "suite.toml").write_text(SUITE)
    (out / "evaluations" / job.name).write_bytes(b"")
    result = run(suite, "--out", out, "--resamples", 0, "--quiet")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith(f"failed        {job.name}: cannot use ")
    assert "failed: cannot use" in (out / "leaderboard.md").read_text().replace("\\", "")
