from __future__ import annotations

import pytest

from tamperscope.attacks.headers import every as every_header_attack
from tamperscope.errors import TamperscopeError, UsageError
from tamperscope.plan import attack_named, donor_attacks, pixel_attacks, planned, settings


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


def test_settings_of_a_command_line_become_those_of_the_attack():
    assert settings(["noise_source=fixed-place", "grade=3"]) == {"noise_source": "fixed-place", "grade": 3}
    with pytest.raises(UsageError, match="KEY=VALUE"):
        settings(["noise_source"])
    plan = planned("ct-gan", "remove", options={"noise_source": "fixed-place"})
    assert plan.pixels[0].noise_source == "fixed-place"
    assert planned("knee-gan", options={"grade": 3}).pixels[0].grade == 3
    with pytest.raises(UsageError, match=r"no option 'noise'.*it has noise_source"):
        planned("ct-gan", "remove", options={"noise": "none"})
    with pytest.raises(UsageError, match="it has none"):
        planned("copy-move", options={"mode": "x"})


def test_a_network_of_ones_own_takes_the_place_of_the_package_s(tmp_path):
    for name in ("ct-gan-remove", "diffusion-inpaint-inject", "knee-diffusion", "jekyll"):
        (attack,) = planned(name, network=tmp_path).pixels
        packaged = attack_named(name)
        assert attack.network.folder == tmp_path
        assert attack.network.name == (packaged.network.name if packaged.network else name)
    with pytest.raises(UsageError, match="runs no network"):
        planned("copy-move", network=tmp_path)
