from __future__ import annotations

import shutil
import subprocess

import pytest

pytest.importorskip("torch", reason="the extra [train] is not installed")

import tamperscope
from tamperscope.train.environment import Code, environment

GIT = shutil.which("git")


@pytest.fixture
def checkout(tmp_path):
    """A package in a repository of its own."""
    if GIT is None:
        pytest.skip("git is not installed")
    package = tmp_path / "src" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("ANSWER = 41\n")
    as_someone = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    for words in (("init", "-q"), ("add", "."), (*as_someone, "commit", "-qm", "first")):
        subprocess.run([GIT, "-C", str(tmp_path), *words], check=True)
    return package


def test_a_clean_checkout_says_its_commit_and_no_diff(checkout):
    code = Code.running(checkout)
    assert len(code.commit or "") == 40
    assert (code.diff, code.untracked) == (b"", ())
    assert code.to_json() == {
        "version": tamperscope.__version__,
        "commit": code.commit,
        "diff_sha256": None,
        "untracked": [],
    }


def test_what_is_changed_is_kept_and_what_is_new_is_named(checkout):
    clean = Code.running(checkout)
    (checkout / "__init__.py").write_text("ANSWER = 42\n")
    (checkout / "fresh.py").write_text("")
    code = Code.running(checkout)
    assert code.commit == clean.commit
    assert b"-ANSWER = 41\n+ANSWER = 42\n" in code.diff
    assert code.untracked == ("fresh.py",)
    assert len(str(code.to_json()["diff_sha256"])) == 64


def test_an_installed_package_has_no_commit_even_inside_of_someones_repository(checkout, tmp_path):
    installed = checkout.parents[1] / "venv" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert Code.running(installed) == Code()
    assert Code.running(tmp_path / "nowhere") == Code()


def test_the_environment_names_versions_and_no_machine():
    import platform

    import numpy
    import torch

    found = environment("cpu")
    assert (found["numpy"], found["torch"]) == (numpy.__version__, torch.__version__.partition("+")[0])
    assert found["device"] == "cpu"
    assert found["threads"] == torch.get_num_threads()
    assert platform.node() not in str(found).split()
