from __future__ import annotations

from pathlib import Path

import pytest

from tamperscope.errors import UsageError
from tamperscope.suites.suite import Data, chosen, read_suite

RECIPE = 'name = "{name}"\nsystem = "plain-cnn"\n[input]\nside = 32\n[train]\nseed = 7\n'
SETS = '[[data]]\nname = "a"\nmanifest = "a.csv"\npart = "test"\n'
CARD = '[[model]]\ncard = "ct-noise"\n'
TRAINED = '[[model]]\nrecipe = "tiny.toml"\n'


@pytest.fixture
def write(tmp_path):
    """A suite in a folder that holds the recipe tiny.toml."""
    (tmp_path / "tiny.toml").write_text(RECIPE.format(name="tiny"))

    def written(text: str) -> Path:
        path = tmp_path / "suite.toml"
        path.write_text(text)
        return path

    return written


def test_a_suite_says_models_data_and_seeds(write, tmp_path):
    suite = read_suite(
        write(
            'name = "all"\nseeds = [1, 2]\n'
            '[[data]]\nname = "a"\nmanifest = "../sets/a.csv"\npart = "test"\nleave_out = ["ct-gan"]\n'
            '[[data]]\nname = "b"\nmanifest = ["b.csv", "c.csv"]\ntrain = "a.csv"\nallow_leaks = true\n'
            '[[data]]\nname = "s"\nmanifest = "s.csv"\nslice_split = true\nbeside = "a"\n'
            + TRAINED
            + '[[model]]\nrecipe = "tiny.toml"\nname = "once"\nseeds = [5]\ndata = ["a"]\n'
            + CARD
        )
    )
    assert suite.name == "all"
    assert suite.data[0] == Data(
        "a", (tmp_path.parent / "sets" / "a.csv",), "test", tmp_path.parent / "sets" / "a.csv", ("ct-gan",)
    )
    assert suite.data[1].manifests == (tmp_path / "b.csv", tmp_path / "c.csv")
    assert (suite.data[1].train, suite.data[1].allow_leaks) == (tmp_path / "a.csv", True)
    assert suite.beside(suite.data[2]) == "a"
    assert [(one.name, one.seeds) for one in suite.models] == [("tiny", (1, 2)), ("once", (5,)), ("ct-noise", ())]
    assert [one.is_for(suite.data[1]) for one in suite.models] == [True, False, True]
    assert suite.models[2].card is not None


def test_without_seeds_it_is_that_of_the_recipe_and_without_a_name_that_of_the_file(write):
    suite = read_suite(write(SETS + TRAINED))
    assert suite.name == "suite"
    assert suite.models[0].seeds == (7,)


def test_a_card_may_be_a_file_beside_the_suite(write, tmp_path):
    from tamperscope import weights

    (tmp_path / "own.json").write_bytes((weights.PACKAGED / "ct-noise.json").read_bytes())
    (model,) = read_suite(write(SETS + '[[model]]\ncard = "own.json"\nname = "own"\n')).models
    assert model.called == str(tmp_path / "own.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[data]\n", "is no TOML"),
        (SETS, r"no \[\[model\]\] \(add one; its keys are name, recipe, card"),
        (CARD, r"no \[\[data\]\]"),
        ("jobs = 3\n" + SETS + CARD, "unknown key 'jobs' in the suite .the known keys are name, seeds, data, model"),
        (SETS + "parts = 3\n" + CARD, r"unknown key 'parts' in \[\[data\]\] number 1"),
        (SETS + CARD + "seed = 3\n", r"unknown key 'seed' in \[\[model\]\] number 1 .the known keys are name, recipe"),
        (SETS + CARD + "seeds = [3]\n", "a Card is not trained"),
        (SETS + CARD + 'recipe = "tiny.toml"\n', "has both recipe and card"),
        (SETS + '[[model]]\nname = "x"\n', "has neither recipe and card"),
        (SETS + '[[model]]\ncard = "nobody"\n', "no model is called nobody"),
        (SETS + '[[model]]\nrecipe = "gone.toml"\n', "cannot read .*gone.toml"),
        (SETS + SETS + CARD, "two data sets are called 'a'"),
        (SETS + TRAINED + TRAINED, "two models are called 'tiny' .give each its own name"),
        (SETS + CARD + 'data = ["b"]\n', "the model ct-noise names the data set 'b' .there are a"),
        ("seeds = [1, 1]\n" + SETS + TRAINED, r"seeds = \[1, 1\]"),
        ("seeds = [-1]\n" + SETS + TRAINED, r"seeds = \[-1\]"),
        ('[[data]]\nname = "a"\n' + CARD, r"number 1 has no manifest .add manifest"),
        ('[[data]]\nmanifest = "a.csv"\n' + CARD, "number 1 has no name"),
        ('[[data]]\nname = "a"\nmanifest = 3\n' + CARD, "manifest = 3"),
        (SETS.replace("test", "exam") + CARD, "part = 'exam' .the parts are train, calibrate, test"),
        (SETS + 'beside = "b"\n' + CARD, "it belongs to a set with slice_split"),
        (SETS + 'slice_split = true\nbeside = "b"\n' + CARD, "beside = 'b' .*split by patient are none"),
        ('[[data]]\nname = "a"\nmanifest = ["a.csv", "b.csv"]\n' + TRAINED, "tiny is to be trained for it .say train"),
        (
            SETS + SETS.replace('"a"', '"b"') + SETS.replace('"a"', '"c"') + "slice_split = true\n" + CARD,
            "say which it is held against: beside = 'a'",
        ),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(write, text, words):
    with pytest.raises(UsageError, match=words) as caught:
        read_suite(write(text))
    assert caught.value.hint


def test_several_manifests_need_no_training_for_a_card(write):
    assert read_suite(write('[[data]]\nname = "a"\nmanifest = ["a.csv", "b.csv"]\n' + CARD)).data[0].train is None


def test_only_some_models_by_their_names(write):
    suite = read_suite(write(SETS + TRAINED + CARD))
    assert chosen(suite, ()) == ("tiny", "ct-noise") == chosen(suite, [""])
    assert chosen(suite, ["ct-noise"]) == ("ct-noise",)
    with pytest.raises(UsageError, match=r"no model of the suite is called nobody .there are tiny, ct-noise"):
        chosen(suite, ["nobody"])
