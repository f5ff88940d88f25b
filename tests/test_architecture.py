"""What the layout promises and import-linter cannot see."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tamperscope
from tamperscope import errors

SOURCE = Path(tamperscope.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
HEAVY = ("numpy", "torch", "onnxruntime")


def loaded_by(module: str) -> set[str]:
    """Which of the heavy packages a fresh interpreter holds after importing ``module``."""
    script = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(HEAVY) & set(run.stdout.split())


def test_the_public_names_are_few_and_can_be_imported():
    names = tamperscope.__all__
    assert len(names) <= 15
    assert names == sorted(names)
    assert set(names) == set(dir(tamperscope))
    for name in names:
        assert getattr(tamperscope, name) is not None


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'scam'"):
        tamperscope.scam  # noqa: B018


@pytest.mark.parametrize("module", ["tamperscope", "tamperscope.errors", "tamperscope.cli"])
def test_importing_the_surface_loads_nothing_heavy(module):
    assert loaded_by(module) == set()


@pytest.mark.parametrize(
    "module",
    [
        "tamperscope.pipeline",
        "tamperscope.attacks",
        "tamperscope.forge_set",
        "tamperscope.doctor",
        "tamperscope.suites.run",
    ],
)
def test_scanning_and_forging_load_no_torch(module):
    assert "torch" not in loaded_by(module)


def test_the_drawn_tree_of_errors_is_the_real_one():
    drawn: list[tuple[int, str, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([\s│├└─]*)(\w+Error)\b", line)
        if match:
            depth = len(match[1])
            parent = next((name for level, name, _ in reversed(drawn) if level < depth), "Exception")
            drawn.append((depth, match[2], parent))
    real = {
        name: one.__base__.__name__
        for name, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, Exception) and one.__module__ == errors.__name__
    }
    assert {name: parent for _, name, parent in drawn} == real


def test_every_error_gives_its_way_out():
    error = errors.MissingExtraError("torch", "train")
    assert str(error) == "torch is not installed (install it with: pip install 'tamperscope[train]')"
    assert isinstance(error, errors.TamperscopeError)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_module_can_unpickle(path):
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    assert not {name.split(".")[0] for name in names} & PICKLES
    for call in (node for node in nodes if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        assert name != "torch.load", "weights are safetensors"
        assert not any(word.arg == "allow_pickle" for word in call.keywords), name


def test_onnx_runtime_is_loaded_in_one_place_alone():
    """Where it is told to send nothing to its maker, before it is loaded."""
    loading = [
        path.name
        for path in MODULES
        if "    import onnxruntime\n" in path.read_text() or "\nimport onnxruntime" in path.read_text()
    ]
    assert loading == ["runtime.py"]
