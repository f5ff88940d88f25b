from __future__ import annotations

import pytest

from tamperscope.errors import UnreadableError, UsageError
from tamperscope.writers import record


def test_a_record_reads_back(tmp_path):
    path = tmp_path / "a.json"
    record.write({"name": "forged-a", "seed": [7, 1], "mm": -0.125}, path)
    assert record.read(path) == {"schema": record.SCHEMA, "name": "forged-a", "seed": [7, 1], "mm": -0.125}


def test_the_digest_does_not_see_the_order_of_keys():
    assert record.digest({"a": 1, "b": [1, 2]}) == record.digest({"b": [1, 2], "a": 1})
    assert record.digest({"a": 1}) != record.digest({"a": 2})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "tamperscope/report/1"}', "\xff"])
def test_what_is_no_record_is_refused_with_a_way_out(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UnreadableError, match=r"NAME\.json"):
        record.read(path)


def test_a_record_that_is_not_there_and_a_folder_that_is_a_file(tmp_path):
    with pytest.raises(UnreadableError, match="No such file"):
        record.read(tmp_path / "gone.json")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError):
        record.write({}, tmp_path / "file" / "a.json")
