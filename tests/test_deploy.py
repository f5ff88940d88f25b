"""The files under deploy/: read by the code, and by the linters of those who run them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"


def settings(kind: str) -> list[str]:
    """Every configuration of the node, or of the service, in deploy/ and docs/."""
    shown = re.findall(r"^```toml\n(.*?)^```$", (ROOT / "docs" / f"{kind}.md").read_text(), re.MULTILINE | re.DOTALL)
    return [*(path.read_text() for path in sorted(DEPLOY.glob(f"*{kind}.toml"))), *shown]


def test_the_settings_that_are_shown_are_settings_that_work(tmp_path):
    pytest.importorskip("pynetdicom", reason="the extra [dicom] is not installed")
    from tamperscope.node.config import read

    found = settings("node")
    assert len(found) >= 3
    for number, text in enumerate(found):
        path = tmp_path / f"{number}.toml"
        path.write_text(text)
        assert read(path).destinations


def test_the_settings_of_the_service_work_too(tmp_path):
    pytest.importorskip("argon2", reason="the extra [serve] is not installed")
    from tamperscope.service.config import check, read

    found = settings("service")
    assert len(found) >= 3
    for number, text in enumerate(found):
        path = tmp_path / f"{number}.toml"
        path.write_text(text)
        check(read(path), users=True)


def test_orthancs_settings_name_what_is_there():
    tree = json.loads((DEPLOY / "orthanc.json").read_text())
    compose = (DEPLOY / "compose.yaml").read_text()
    for script in tree["LuaScripts"]:
        assert f"./{Path(script).name}:{script}:ro" in compose
        assert (DEPLOY / Path(script).name).is_file()
    title, address, port = tree["DicomModalities"]["node"]
    assert f"ipv4_address: {address}" in compose
    assert (title, port) == ("TAMPERSCOPE", 11112)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("name", ["tamperscope-node", "tamperscope-serve"])
def test_the_unit_is_one_that_systemd_takes(tmp_path, name):
    unit = (DEPLOY / f"{name}.service").read_text()
    path = tmp_path / f"{name}.service"
    path.write_text(unit.replace("/opt/tamperscope/bin/tamperscope", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if name in line]
    assert said == []


def test_the_dockerfile_passes_hadolint():
    lint = Path(sys.executable).with_name("hadolint")
    if not lint.exists():
        pytest.skip("hadolint is not installed")
    done = subprocess.run([str(lint), str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_compose_file_follows_its_schema():
    lint = Path(sys.executable).with_name("check-jsonschema")
    if not lint.exists():
        pytest.skip("check-jsonschema is not installed")
    command = [str(lint), "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
