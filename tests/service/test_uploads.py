"""Uploads that break off and go on, and what is too much."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databases import KINDS, Clock, database
from tamperscope.errors import FullError, LimitError, UsageError
from tamperscope.jobs.database import connect, migrate
from tamperscope.service.config import Limits
from tamperscope.service.uploads import MOST_PART, Declared, MissingError, OffsetError, Uploads, cleaned


@pytest.fixture(params=KINDS)
def uploads(request, tmp_path):
    with database(request.param, tmp_path) as url:
        engine = connect(url)
        migrate(engine)
        yield Uploads(tmp_path, engine, Limits(free_bytes=0), now=Clock())
        engine.dispose()


def sent(uploads, upload, number, offset, data):
    async def pieces():
        for start in range(0, len(data), 3):
            yield data[start : start + 3]

    return asyncio.run(uploads.append(upload, number, offset, pieces()))


def test_what_broke_off_goes_on_where_it_ended(uploads):
    upload = uploads.begin("ann", "Case", [Declared("a/b.dcm", 10), Declared("c.dcm", 0)]).id
    assert sent(uploads, upload, 0, 0, b"0123") == 4
    with pytest.raises(OffsetError, match="ends at 4") as raised:
        sent(uploads, upload, 0, 6, b"6789")
    assert raised.value.received == 4
    with pytest.raises(UsageError, match="not complete"):
        uploads.complete(upload)
    assert sent(uploads, upload, 0, 4, b"456789") == 10
    assert sent(uploads, upload, 1, 0, b"") == 0
    assert [file.received for file in uploads.files(upload)] == [10, 0]
    assert (uploads.place(upload) / "0").read_bytes() == b"0123456789"
    assert uploads.complete(upload).state == "received"
    assert uploads.complete(upload).state == "received", "said twice is said once"
    with pytest.raises(UsageError, match="takes nothing any more"):
        sent(uploads, upload, 0, 10, b"x")


def test_more_than_was_declared_is_cut_off(uploads):
    upload = uploads.begin("ann", "Case", [Declared("a", 5)]).id
    with pytest.raises(LimitError, match="more than its 5 bytes"):
        sent(uploads, upload, 0, 0, b"012345678")
    assert (uploads.place(upload) / "0").stat().st_size <= 5
    with pytest.raises(MissingError):
        sent(uploads, upload, 1, 0, b"0")


def test_two_senders_at_once_do_not_mix(uploads):
    upload = uploads.begin("ann", "Case", [Declared("a", 6)]).id

    async def both():
        async def slow(data):
            for one in data:
                yield bytes([one])
                await asyncio.sleep(0)

        return await asyncio.gather(
            uploads.append(upload, 0, 0, slow(b"aaaaaa")),
            uploads.append(upload, 0, 0, slow(b"bbbbbb")),
            return_exceptions=True,
        )

    results = asyncio.run(both())
    assert sorted(type(result).__name__ for result in results) == ["OffsetError", "int"]
    assert set((uploads.place(upload) / "0").read_bytes()) in ({ord("a")}, {ord("b")})


def test_what_is_too_much_is_refused_before_anything_is_sent(uploads):
    uploads.limits = Limits(upload_bytes=100, file_bytes=60, files=3, user_bytes=150, open_uploads=2, free_bytes=0)
    for files, words in (
        ([Declared("a", 61)], "61 bytes in one"),
        ([Declared("a", 60), Declared("b", 60)], "120 in all"),
        ([Declared(str(n), 1) for n in range(4)], "4 files"),
    ):
        with pytest.raises(LimitError, match=words):
            uploads.begin("ann", "Case", files)
    with pytest.raises(UsageError, match="no files"):
        uploads.begin("ann", "Case", [])
    uploads.begin("ann", "one", [Declared("a", 60), Declared("b", 30)])
    with pytest.raises(LimitError, match="would take 180"):
        uploads.begin("ann", "two", [Declared("a", 60), Declared("b", 30)])
    uploads.begin("ann", "two", [Declared("a", 10)])
    with pytest.raises(LimitError, match="2 uploads are under way"):
        uploads.begin("ann", "three", [Declared("a", 1)])
    uploads.begin("bob", "other", [Declared("a", 60)])
    uploads.limits = replace(uploads.limits, free_bytes=1 << 60)
    with pytest.raises(FullError):
        uploads.begin("eve", "four", [Declared("a", 1)])


def test_what_nobody_goes_on_with_is_given_up(uploads):
    upload = uploads.begin("ann", "Case", [Declared("a", 5)]).id
    kept = uploads.begin("ann", "Case", [Declared("a", 0)]).id
    sent(uploads, kept, 0, 0, b"")
    uploads.complete(kept)
    assert uploads.sweep(60.0) == 0
    uploads.now.time += 61.0
    assert uploads.sweep(60.0) == 1
    with pytest.raises(MissingError):
        uploads.one(upload)
    assert not uploads.place(upload).exists()
    assert uploads.one(kept).state == "received"
    with pytest.raises(UsageError, match="accepted already"):
        uploads.cancel(kept)


@given(st.text(max_size=400))
def test_no_name_leaves_its_folder(name):
    kept = cleaned(name)
    parts = kept.split("/")
    assert kept
    assert not kept.startswith("/")
    assert "\x00" not in kept
    assert all(part not in ("", ".", "..") and len(part.encode()) <= MOST_PART for part in parts)
    assert cleaned(kept) == kept


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("C:\\scans\\a.dcm", "C_/scans/a.dcm"),
        ("a//b/./c.dcm", "a/b/c.dcm"),
        ("..", "file"),
        ("Müller 7/bild.dcm", "Müller 7/bild.dcm"),
    ],
)
def test_names_as_they_are_kept(name, kept):
    assert cleaned(name) == kept
