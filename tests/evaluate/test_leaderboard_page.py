from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from tamperscope.evaluate import leaderboard, leaderboard_page
from tamperscope.evaluate.leaderboard import Costs, Entrant, Result, Table
from tamperscope.evaluate.outcomes import Outcome
from tamperscope.evaluate.summary import summary

ODD = "<b>|odd|</b>\u202e"


def result(seed: int, strength: float, place: bool = False) -> Result:
    rng = np.random.default_rng(seed)
    outcomes = tuple(
        Outcome(
            name=f"s{number}",
            patient=f"p{number // 4}",
            forged=bool(number % 2),
            groups={"generator": "ct-gan" if number % 2 else "none"},
            score=float(np.clip(rng.normal(0.4 + strength * (number % 2), 0.1), 0, 1)),
            verdict="no_evidence",
            slice_scores=(0.5,),
            slice_truths=(bool(number % 2),),
            place={"pointing": 1.0, "pixel_f1": 0.5} if place and number % 2 else {},
            seconds=1.0,
        )
        for number in range(40)
    )
    return Result(seed, outcomes, summary(outcomes, 0.6, rng, 20), Costs(1234567, 90.0, 2**30, 2**29, 2))


@pytest.fixture(scope="module")
def board():
    def entrants(shift: float) -> tuple[Entrant, ...]:
        return (
            Entrant("seeds", "svm", (result(1, 0.1 + shift), result(2, 0.1 + shift)), 2, (), ("make seeds",)),
            Entrant(ODD, None, (replace(result(3, 0.3), costs=Costs()),), 1, (), ("make --odd '<b>'",)),
            Entrant("broken", "yolo", (), 1, ("ended by signal 9",), ("make broken",)),
        )

    tables = [
        Table("set", "set", None, entrants(0.0), part="test"),
        Table("set without ct-gan", "set", "ct-gan", entrants(0.0), part="test"),
        Table("sliced", "sliced", None, entrants(0.2), slice_split=True, allow_leaks=True, beside="set"),
    ]
    return leaderboard.board("all <i>", tables, 20)


class Page(HTMLParser):
    """Counts tables, and keeps what could fetch or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for key, value in attrs if key in ("src", "href")]


def test_every_format_is_there(board):
    found = leaderboard_page.files(board)
    tables = {f"leaderboard.{kind}" for kind in ("csv", "html", "json", "md")}
    assert tables <= set(found) <= tables | {f"leaderboard-{number}.svg" for number in (1, 2, 3)}
    assert json.loads(found["leaderboard.json"]) == board


def test_the_page_needs_nothing_else_and_escapes_what_comes_in(board):
    text = leaderboard_page.to_html(board, [b"<svg/>", None, b"<svg/>"])
    page = Page()
    page.feed(text)
    assert page.tags.count("table") == 5, "three, what leaving out costs, what a split by slice adds"
    assert page.tags.count("figure") == 2
    assert page.tags.count("details") == 3
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    for words in ("broken: failed: ended by signal 9", "Card, trained elsewhere", "over 2 seeds", "make seeds"):
        assert words in text
    assert "\u202e" not in text


def test_markdown_has_tables_commands_and_no_markup_of_strangers(board):
    text = leaderboard_page.to_markdown(board)
    assert text.startswith("# all \\<i\\>: leaderboard\n")
    assert "\\<b\\>\\|odd\\|\\</b\\>" in text
    head = next(line for line in text.splitlines() if line.startswith("| model"))
    for line in text.splitlines():
        if line.startswith("| seeds (svm)"):
            assert line.count(" | ") == head.count(" | ")
    assert "```text\nmake --odd '<b>'\nmake seeds\nmake broken\n```" in text
    assert "- broken: failed: ended by signal 9" in text
    assert "## sliced: what a split by slice adds" in text
    assert "Trained without any forgery by ct-gan" in text
    assert "Nobody looked for leaks: the suite allows them." in text


def test_csv_has_a_row_for_each_model_and_table_with_numbers_in_full(board):
    rows = list(csv.DictReader(io.StringIO(leaderboard_page.to_csv(board))))
    assert len(rows) == 9
    first = next(row for row in rows if (row["data"], row["left_out"], row["model"]) == ("set", "", "seeds"))
    assert first["seeds"] == "1 2"
    assert float(first["auroc_low"]) <= float(first["auroc"]) <= float(first["auroc_high"])
    assert float(first["parameters"]) == 1234567
    assert first["worst_generator"] == "ct-gan"
    assert first["commands"] == "make seeds"
    broken = next(row for row in rows if row["model"] == "broken")
    assert (broken["auroc"], broken["state"]) == ("", "failed: ended by signal 9")


def test_the_place_has_columns_only_where_a_model_has_a_map(board):
    rows = board["tables"][0]["rows"]
    assert "pointing game" not in [one.title for one in leaderboard_page.columns(rows)]
    mapped = leaderboard.row(Entrant("m", None, (result(1, 0.2, place=True),), 1), 0)
    assert "pointing game" in [one.title for one in leaderboard_page.columns([*rows, mapped])]


def test_the_plot_is_drawn_where_there_are_figures(board):
    pytest.importorskip("matplotlib", reason="the extra [train] is not installed")
    drawn = leaderboard_page.forests(board)
    assert all(svg is not None and b"<svg" in svg for svg in drawn)
    assert drawn == leaderboard_page.forests(board)
    assert leaderboard_page.files(board)["leaderboard-2.svg"] == drawn[1]
    empty = leaderboard.board("s", [Table("t", "t", None, (Entrant("m", None, (), 1),))])
    assert leaderboard_page.forests(empty) == [None]
    assert "No model has figures yet." in leaderboard_page.to_html(empty, [None])
    assert "No model has figures yet." in leaderboard_page.to_markdown(empty)
