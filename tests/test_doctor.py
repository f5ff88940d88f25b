from __future__ import annotations

import json
import shutil

import pytest

from tamperscope import __version__, doctor, weights


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """A copy of the packaged Cards that a test may break."""
    folder = tmp_path / "cards"
    shutil.copytree(weights.PACKAGED, folder)
    monkeypatch.setattr(weights, "PACKAGED", folder)
    return folder


def bad() -> list[doctor.Finding]:
    return [finding for finding in doctor.examine() if not finding.good]


def test_this_installation_is_whole():
    findings = doctor.examine()
    assert bad() == []
    assert all(finding.what and finding.state for finding in findings)
    assert __version__ in findings[0].state


def test_it_names_every_model_with_its_digest():
    found = {finding.what: finding.state for finding in doctor.examine()}
    for card in weights.packaged():
        assert card.sha256[:16] in found[f"model {card.name}"]


def test_it_names_codecs_memory_and_cores():
    names = [finding.what for finding in doctor.examine()]
    assert {"memory", "cores", "libraries"} <= set(names)
    assert any("JPEG 2000" in name for name in names)
    assert any("JPEG-LS" in name for name in names)


def test_changed_weights_are_found(cards):
    network = next(cards.glob("*.onnx"))
    network.write_bytes(network.read_bytes()[:-1])
    (finding,) = bad()
    assert network.stem in finding.what
    assert "SHA-256" in finding.state


def test_missing_weights_are_found(cards):
    next(cards.glob("*.onnx")).unlink()
    assert len(bad()) == 1


def test_a_damaged_card_is_a_finding_not_a_crash(cards):
    (cards / "zz.json").write_text(json.dumps({"schema": "other"}), encoding="utf-8")
    (finding,) = bad()
    assert "zz.json" in finding.state


def test_no_model_at_all_is_a_finding(cards):
    for path in cards.iterdir():
        path.unlink()
    (finding,) = bad()
    assert finding.what == "models"


def test_too_little_memory_is_a_finding(monkeypatch):
    monkeypatch.setattr(doctor, "NEEDED_MEMORY", 2**60)
    (finding,) = bad()
    assert finding.what == "memory"


def test_a_missing_codec_says_how_to_get_it(monkeypatch):
    syntax, (_, package) = next(iter(doctor.DECODERS.items()))
    monkeypatch.setattr(doctor, "DECODERS", {syntax: ("gone", package)})
    (finding,) = bad()
    assert finding.state == f"pip install {package}"
