from __future__ import annotations

import pytest

from tamperscope import detectors
from tamperscope.errors import UsageError


def test_what_is_slow_is_not_asked_by_default():
    assert [card.name for card in detectors.default_cards()] == ["ct-fast", "knee", "ct-noise"]


def test_a_model_that_is_asked_for_decides_beside_the_classical_one():
    assert [card.name for card in detectors.chosen_cards("ct-accurate")] == ["ct-accurate", "ct-noise"]
    assert [card.name for card in detectors.chosen_cards("ct-noise")] == ["ct-noise"]


def test_an_unknown_model_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match="no model is called ct-best") as caught:
        detectors.chosen_cards("ct-best")
    assert "ct-accurate, ct-fast, knee, ct-noise" in caught.value.hint
