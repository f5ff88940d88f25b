from __future__ import annotations

from datasets import fakes
from tamperscope.datasets import knee_synthetic


def test_two_networks_two_groups(tmp_path):
    fakes.knee_synthetic(tmp_path)
    entries = knee_synthetic.entries(tmp_path)
    assert {(entry.series, entry.grade, entry.generator) for entry in entries} == {
        ("kl01", "kl01", "wgan"),
        ("kl234", "kl234", "wgan"),
    }
    assert {entry.label for entry in entries} == {"forged"}
    assert len({entry.patient for entry in entries}) == len(entries), "every picture is its own patient"


def test_folders_may_have_the_short_name(tmp_path):
    fakes.picture(tmp_path / "KL01" / "a.png", 1)
    assert [entry.patient for entry in knee_synthetic.entries(tmp_path)] == ["wgan/kl01/a"]


def test_a_group_that_is_not_there_is_missing(tmp_path):
    fakes.picture(tmp_path / "KL01_160K" / "a.png", 1)
    first, second = knee_synthetic.check(tmp_path).missing
    assert "1 of 160,000" in first
    assert "KL234_160K: 0 of 160,000" in second


def test_pictures_of_the_diffusion_model_lie_flat(tmp_path):
    fakes.knee_synthetic_small(tmp_path)
    fakes.picture(tmp_path / "other.png", 5)
    entries = knee_synthetic.entries(tmp_path)
    assert [entry.path.name for entry in entries] == [f"generated_{number}.png" for number in range(4)]
    assert {entry.generator for entry in entries} == {"kneeoagen"}
    assert knee_synthetic.check(tmp_path).layout == "small (KneeOAGen)"
