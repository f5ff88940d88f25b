from __future__ import annotations

import pytest

from tamperscope.errors import UsageError
from tamperscope.recipe import Line, parse_recipe, read_recipe

WRONG = {
    "no TOML": ("seed = ", "is no TOML"),
    "nothing to do": ("seed = 1", r"no \[\[forgery\]\]"),
    "unknown key": ("sed = 1\n[[forgery]]\nattack = 'inpaint'", "unknown key 'sed'.*seed, name, patient"),
    "unknown key in a line": (
        "[[forgery]]\natack = 'inpaint'",
        r"unknown key 'atack' in \[\[forgery\]\] 1.*attack, mode",
    ),
    "unknown part": ("[parts]\nvalidate = 1\n[[forgery]]\nattack = 'inpaint'", "unknown key 'validate'"),
    "no attack": ("[[forgery]]\ncount = 1", "names no attack"),
    "unknown attack": ("[[forgery]]\nattack = 'x'", r"\[\[forgery\]\] 1: unknown attack 'x'.*inpaint"),
    "mode missing": ("[[forgery]]\nattack = 'ct-gan-blend'", "has the modes"),
    "count zero": ("[[forgery]]\nattack = 'inpaint'\ncount = 0", "count = 0.*1 or more"),
    "count of words": ("[[forgery]]\nattack = 'inpaint'\ncount = 'two'", "count = 'two'"),
    "count of truth": ("[[forgery]]\nattack = 'inpaint'\ncount = true", "count = True"),
    "share too large": ("[[forgery]]\nattack = 'inpaint'\nshare = 2", "share = 2"),
    "share below zero": ("[[forgery]]\nattack = 'inpaint'\nshare = -0.1", "share = -0.1"),
    "then no list": ("[[forgery]]\nattack = 'inpaint'\nthen = 'crop'", "then = 'crop'"),
    "headers first": ("[[forgery]]\nattack = 'changed-dates'\nthen = ['inpaint']", "headers last"),
    "held out nowhere": ("[[forgery]]\nattack = 'inpaint'\nparts = ['dev']", "unknown part 'dev'"),
    "parts do not add up": ("[parts]\ntrain = 0.5\n[[forgery]]\nattack = 'inpaint'", "add up to 0.5"),
    "bad pattern": ("patient = '('\n[[forgery]]\nattack = 'inpaint'", "regular expression"),
    "pattern without group": ("patient = 'a'\n[[forgery]]\nattack = 'inpaint'", "no group"),
    "bad spacing": ("spacing_mm = [1, 2]\n[[forgery]]\nattack = 'inpaint'", "spacing_mm"),
    "forgery no table": ("forgery = [1]", "is no table"),
}


@pytest.mark.parametrize(("text", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_recipe_is_refused_by_the_name_of_what_is_wrong(text, words):
    with pytest.raises(UsageError, match=words):
        parse_recipe(text, "R.toml")


def test_a_recipe_is_read_as_it_stands_there(tmp_path):
    path = tmp_path / "R.toml"
    path.write_text(
        """
seed = 3
name = "trial"

[parts]
train = 0.5
test = 0.5

[[forgery]]
attack = "inpaint"
then = ["compress-jpeg"]
count = 2

[[forgery]]
attack = "denoise"
share = 0.5
twin = false
"""
    )
    read = read_recipe(path)
    assert (read.seed, read.name, read.parts) == (3, "trial", {"train": 0.5, "test": 0.5})
    assert read.lines[0] == Line("inpaint", then=("compress-jpeg",), count=2)
    assert read.lines[1] == Line("denoise", share=0.5, twin=False)
    with pytest.raises(UsageError, match="cannot read"):
        read_recipe(tmp_path / "gone.toml")


def test_a_line_may_set_options_and_name_a_network():
    text = """
[[forgery]]
attack = "ct-gan"
mode = "remove"
options = {noise_source = "fixed-place"}
"""
    (line,) = parse_recipe(text, "R.toml").lines
    assert line.plan().pixels[0].noise_source == "fixed-place"
    with pytest.raises(UsageError, match=r"\[\[forgery\]\] 1: ct-gan-remove has no option 'noise'"):
        parse_recipe(text.replace("noise_source", "noise"), "R.toml")


def test_a_split_is_a_file_relative_to_the_recipe_and_takes_the_place_of_shares(tmp_path):
    (tmp_path / "split.json").write_text('{"train": [], "calibrate": [], "test": [], "rotation": ["train"]}')
    path = tmp_path / "R.toml"
    path.write_text("split = 'split.json'\n[[forgery]]\nattack = 'inpaint'\n")
    assert read_recipe(path).split == tmp_path / "split.json"
    assert read_recipe(path).divided
    path.write_text("split = 'gone.json'\n[[forgery]]\nattack = 'inpaint'\n")
    with pytest.raises(UsageError, match="no such file"):
        read_recipe(path)
    path.write_text("split = 'split.json'\n[parts]\ntrain = 1.0\n[[forgery]]\nattack = 'inpaint'\n")
    with pytest.raises(UsageError, match="both split and"):
        read_recipe(path)
