from __future__ import annotations

import pytest

from tamperscope.errors import UsageError
from tamperscope.writers.whole import whole


def test_all_of_it_appears_at_the_end_and_hidden_files_do_not(tmp_path):
    with whole(tmp_path) as scratch:
        (scratch / "a.json").write_text("{}")
        (scratch / "a").mkdir()
        (scratch / ".b").write_text("")
        assert [path.name for path in tmp_path.iterdir()] == [scratch.name]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.json"]


def test_after_an_error_nothing_is_left(tmp_path):
    def fail():
        with whole(tmp_path) as scratch:
            (scratch / "a").write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_error_of_ours(tmp_path):
    with pytest.raises(UsageError, match="cannot write"), whole(tmp_path / "gone"):
        pass
