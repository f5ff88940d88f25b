from __future__ import annotations

import pytest

from tamperscope import toml
from tamperscope.errors import UsageError

CHECK = toml.Checker("R.toml")


def test_values_of_the_right_kind_are_given():
    table = toml.tree("a = 3\nb = 'x'\nc = ['y', 'z']\nd = [1, 2.5]\ne = true", "R.toml", "see there")
    CHECK.keys(table, "abcde", "the recipe")
    assert CHECK.one(table, "a", int, 0, least=3) == 3
    assert CHECK.one(table, "a", float, 0.0) == 3
    assert CHECK.one(table, "b", str, None) == "x"
    assert CHECK.one(table, "e", bool, False) is True
    assert CHECK.one(table, "f", int, None, least=5) is None
    assert CHECK.words(table, "c", ()) == ("y", "z")
    assert CHECK.numbers(table, "d", ()) == (1, 2.5)
    assert CHECK.numbers(table, "f", (7.0,)) == (7.0,)


@pytest.mark.parametrize(
    ("look", "why"),
    [
        (lambda table: CHECK.keys(table, "ab", "[x]"), r"R.toml: unknown key 'c' in \[x\] \(the known keys are a, b\)"),
        (lambda _: CHECK.keys(3, "ab", "[x]"), r"\[x\] is no table"),
        (lambda table: CHECK.one(table, "a", int, 0, least=4), "a = 3 .*int of 4 or more"),
        (lambda table: CHECK.one(table, "n", float, 0.0, least=0.0), "n = nan"),
        (lambda table: CHECK.one(table, "b", int, 0), "b = True"),
        (lambda table: CHECK.words(table, "c", ()), "list of names"),
        (lambda table: CHECK.numbers(table, "a", ()), "list of numbers"),
        (lambda table: CHECK.numbers(table, "d", ()), "list of numbers"),
    ],
)
def test_what_is_wrong_is_named(look, why):
    table = toml.tree("a = 3\nb = true\nc = [1]\nd = [true]\nn = nan", "R.toml", "see there")
    with pytest.raises(UsageError, match=why):
        look(table)


def test_what_is_no_toml_or_no_text_is_told(tmp_path):
    with pytest.raises(UsageError, match=r"R.toml is no TOML: .*see there"):
        toml.tree("a = ", "R.toml", "see there")
    path = tmp_path / "R.toml"
    with pytest.raises(UsageError, match=r"cannot read .*R.toml: No such file"):
        toml.text(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot read"):
        toml.text(path)
