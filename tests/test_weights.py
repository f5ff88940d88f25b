from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from tamperscope import weights
from tamperscope.calibrate import Calibration, Tail
from tamperscope.errors import WeightsError
from tamperscope.inputs import CtInput
from tamperscope.weights import (
    Card,
    available_cores,
    calibration_bytes,
    describe,
    packaged,
    read_card,
    session,
    verified,
)

NETWORK = b"not really a network"
SPEC = CtInput("CT", "CHEST", (-1000.0, 400.0), (0.4, 1.1), (0.4, 10.0), (2.0, 70.0), (0.3, 2.0), (256, 1024), 0.03)


@pytest.fixture
def card(tmp_path) -> Card:
    """A Card with its file beside it."""
    (tmp_path / "net.onnx").write_bytes(NETWORK)
    return Card(
        name="näme",
        version="1",
        input=SPEC,
        calibration=Calibration(Tail(-1.25, 0.05, 1 / 3), 1.5, -2.0, ((0.01, 0.25), (0.1, 0.125))),
        file="net.onnx",
        sha256=hashlib.sha256(NETWORK).hexdigest(),
        training={"patients": ["a", "b"], "steps": 7},
        results={"auc": 0.5, "none": None},
        intended_use="tests",
        licence="Apache-2.0",
        folder=tmp_path,
    )


def store(card: Card, **changes) -> None:
    """Write the Card, with some of its fields replaced; a value of None takes the field away."""
    tree = json.loads(card.to_json()) | changes
    text = json.dumps({key: value for key, value in tree.items() if value is not None or key == "file"})
    (card.folder / "card.json").write_text(text, encoding="utf-8")


def test_a_card_reads_back_as_it_was(card):
    (card.folder / "card.json").write_text(card.to_json(), encoding="utf-8")
    assert read_card(card.folder / "card.json") == card
    assert "folder" not in json.loads(card.to_json())
    assert read_card(card.folder / "card.json").to_json() == card.to_json()


def test_a_card_without_a_network_reads_back_too(card):
    plain = replace(card, file=None, calibration=replace(card.calibration, miss_rates=()))
    store(plain)
    assert read_card(card.folder / "card.json") == plain
    stated = hashlib.sha256(calibration_bytes(plain.calibration)).hexdigest()
    assert verified(replace(plain, sha256=stated)) == calibration_bytes(plain.calibration)
    with pytest.raises(WeightsError, match="their Card promises"):
        verified(plain)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", '"card"', "{}", '{"schema": "tamperscope/card/1"}', "\ufeff{}"],
)
def test_damaged_json_is_an_error_with_the_path(tmp_path, text):
    path = tmp_path / "card.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(WeightsError, match=r"card\.json") as caught:
        read_card(path)
    assert caught.value.hint


def test_bytes_that_are_no_text_and_no_file_are_errors(tmp_path):
    path = tmp_path / "card.json"
    path.write_bytes(b"\xff\xfe\x00")
    for one in (path, tmp_path / "gone.json", tmp_path):
        with pytest.raises(WeightsError, match="cannot read the Card"):
            read_card(one)


def test_every_field_is_needed_and_no_other_is_taken(card):
    tree = json.loads(card.to_json())
    for key in tree:
        store(card)
        (card.folder / "card.json").write_text(json.dumps({k: v for k, v in tree.items() if k != key}))
        with pytest.raises(WeightsError, match=r"card\.json"):
            read_card(card.folder / "card.json")
    store(card, surprise=1)
    with pytest.raises(WeightsError, match="surprise"):
        read_card(card.folder / "card.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"calibration": 3},
        {"calibration": {"tail": [], "miss_rates": []}},
        {"input": []},
        {"input": {"modality": "CT"}},
    ],
    ids=str,
)
def test_parts_of_another_shape_are_errors(card, changes):
    store(card, **changes)
    with pytest.raises(WeightsError, match="cannot read the Card"):
        read_card(card.folder / "card.json")


def test_a_card_of_another_schema_says_so(card):
    store(card, schema="tamperscope/card/2")
    with pytest.raises(WeightsError, match="schema tamperscope/card/1") as caught:
        read_card(card.folder / "card.json")
    assert "versions" in caught.value.hint


def test_the_right_bytes_are_returned(card):
    assert verified(card) == NETWORK


def test_other_bytes_are_refused_with_both_digests(card):
    (card.folder / "net.onnx").write_bytes(NETWORK + b"!")
    with pytest.raises(WeightsError) as caught:
        verified(card)
    assert card.sha256 in str(caught.value)
    assert hashlib.sha256(NETWORK + b"!").hexdigest() in str(caught.value)
    with pytest.raises(WeightsError, match="promises"):
        session(card)


def test_a_missing_network_is_named(card):
    (card.folder / "net.onnx").unlink()
    with pytest.raises(WeightsError, match=r"net\.onnx"):
        verified(card)


def test_bytes_that_are_no_network_are_refused_even_with_the_right_digest(card):
    with pytest.raises(WeightsError, match=r"refuses net\.onnx"):
        session(card)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_network_is_refused(tmp_path, share):
    whole = next(card for card in packaged() if card.file)
    data = verified(whole)
    data = data[: int(len(data) * share)]
    (tmp_path / "cut.onnx").write_bytes(data)
    with pytest.raises(WeightsError, match="promises"):
        session(replace(whole, file="cut.onnx", folder=tmp_path))
    with pytest.raises(WeightsError, match="refuses"):
        session(replace(whole, file="cut.onnx", folder=tmp_path, sha256=hashlib.sha256(data).hexdigest()))


def test_packaged_cards_are_whole():
    cards = packaged()
    assert [card.name for card in cards] == sorted({card.name for card in cards})
    assert {"ct-fast", "ct-noise"} <= {card.name for card in cards}
    for card in cards:
        assert card.input.modality
        assert len(card.sha256) == 64
        assert card.intended_use
        assert card.licence
        if card.file is not None:
            assert hashlib.sha256(verified(card)).hexdigest() == card.sha256


def test_packaged_calibrations_are_sane():
    for card in packaged():
        tail = card.calibration.tail
        assert 0.0 < tail.share < 1.0
        assert tail.scale > 0.0
        assert card.calibration.slope > 0.0, "a higher score must not be less suspicious"
        assert all(math.isfinite(value) for value in (tail.start, card.calibration.offset))
        points = [card.calibration.operating_point(rate).threshold for rate in (0.1, 0.01)]
        assert points[0] < points[1] < 1.0


def test_a_packaged_network_opens_and_answers_with_a_map_a_quarter_the_size():
    card = next(card for card in packaged() if card.file)
    network = session(card, threads=1)
    (answer,) = network.run(None, {"channels": np.zeros((1, 3, 64, 48), np.float32)})
    assert answer.shape[-2:] == (16, 12)
    assert np.isfinite(answer).all()


def test_cores_are_counted():
    assert available_cores() >= 1
    assert weights.PACKAGED.is_dir()


def test_a_card_describes_itself_with_its_error_rates(card):
    text = describe(replace(card, results={"command": "x", "found": {"removed": {"slices": 3.0, "pointing": 0.5}}}))
    assert text.startswith(f"# {card.name}")
    assert card.sha256 in text
    assert "| removed | 3.0 | 0.5 |" in text
    for rate, miss in card.calibration.miss_rates:
        assert f"| {rate:.1%} | {miss:.0%} |" in text
