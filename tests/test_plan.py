from __future__ import annotations

import pytest

from tamperscope.attacks.headers import every as every_header_attack
from tamperscope.errors import TamperscopeError, UsageError
from tamperscope.plan import attack_named, donor_attacks, pixel_attacks, planned


def test_attacks_by_name_and_mode():
    assert attack_named("ct-gan-blend", "remove").name == "ct-gan-blend-remove"
    assert attack_named("ct-gan-blend-remove").name == "ct-gan-blend-remove"
    assert attack_named("changed-dates").name == "changed-dates"
    for name, mode, words in (
        ("ct-gan-blend", None, "has the modes inject, remove"),
        ("ct-gan-blend", "resize", "has the modes"),
        ("regrain", "inject", "no mode"),
        ("nonsense", None, "the known ones are .*ct-gan-blend-inject.*splice.*swapped-patient"),
    ):
        with pytest.raises(UsageError, match=words):
            attack_named(name, mode)


def test_every_attack_that_a_user_can_name_can_be_asked_for():
    names = {*pixel_attacks(), *every_header_attack()}
    for name in names:
        assert planned(name).name == name
    assert donor_attacks() == {"splice"}
    with pytest.raises(TamperscopeError):
        planned("")
