from __future__ import annotations

from pathlib import Path

import pytest

from datasets import fakes
from tamperscope.datasets import layout
from tamperscope.errors import UnreadableError

TABLE = Path("labels.csv")


def test_the_error_says_what_where_and_the_way_out(tmp_path):
    error = layout.absent("Knees", tmp_path, ("a/", "b.csv"), "unpack it")
    assert str(error) == f"no Knees in {tmp_path}: looked for a/, b.csv (unpack it)"
    assert "does not exist" in str(layout.absent("Knees", tmp_path / "gone", ("a/",), "unpack it"))


def test_a_few_names_are_told_and_the_others_counted():
    assert layout.named(["a", "b", "c"]) == "a, b, c"
    assert layout.named([*"abcdef"]) == "a, b, c and 3 more"


def test_rows_need_their_columns_and_take_a_byte_order_mark(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b,c\r\n1,2,3\r\n")
    assert layout.rows(path, ("a", "c")) == [{"a": "1", "b": "2", "c": "3"}]
    with pytest.raises(UnreadableError, match=r"t\.csv: no column x"):
        layout.rows(path, ("a", "x"))
    path.write_text("a,b\n1\n", encoding="utf-8")
    with pytest.raises(UnreadableError, match="row 2 is cut short"):
        layout.rows(path, ("a", "b"))


@pytest.mark.parametrize(("text", "value"), [("7", 7), (" 12.0", 12), ("-3", -3), ("1e2", 100)])
def test_whole_numbers(text, value):
    assert layout.whole(text, TABLE) == value


@pytest.mark.parametrize("text", ["", "x", "1.5", "nan", "inf", "1 2"])
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(UnreadableError, match=r"labels\.csv"):
        layout.whole(text, TABLE)


@pytest.mark.parametrize(
    ("word", "label"), [("Real", "authentic"), ("0", "authentic"), (" FAKE ", "forged"), ("1", "forged")]
)
def test_words_for_labels(word, label):
    assert layout.truth(word, TABLE) == label


def test_images_are_sorted_and_hidden_files_are_none(tmp_path):
    for name in ("b.PNG", "a.jpeg", ".c.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in layout.images(tmp_path)] == ["a.jpeg", "b.PNG"]
    assert layout.images(tmp_path / "gone") == []


def test_the_header_says_modality_and_scanner(tmp_path):
    (path,) = fakes.series(tmp_path, 1, 1)
    assert layout.scanner(path) == ("CT", "tamperscope phantom")
    path.write_bytes(b"damaged")
    assert layout.scanner(path) == ("", "")
