from __future__ import annotations

import pytest

from tamperscope import detectors
from tamperscope.errors import UsageError


def test_what_is_slow_or_weak_is_not_asked_by_default():
    assert [card.name for card in detectors.default_cards()] == ["ct-fast", "knee"]


@pytest.mark.parametrize("name", ["ct-accurate", "ct-noise", "knee"])
def test_every_model_is_there_for_who_asks(name):
    assert detectors.chosen_card(name).name == name


def test_an_unknown_model_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match="no model is called ct-best") as caught:
        detectors.chosen_card("ct-best")
    assert "ct-accurate, ct-fast, knee, ct-noise" in caught.value.hint
