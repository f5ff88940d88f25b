from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from builders import ct, png
from tamperscope import phantom, read
from tamperscope.decode import decode
from tamperscope.detectors.provenance import jpeg, segments
from tamperscope.detectors.provenance.opened import Opened
from tamperscope.errors import TamperscopeError
from tamperscope.limits import DEFAULT_LIMITS


def grey(seed: int) -> np.ndarray:
    film = phantom.knee((256, 224), np.random.default_rng(seed)).voxels[0]
    return np.rint((film - film.min()) / np.ptp(film) * 255).astype(np.uint8)


FILMS = [grey(seed) for seed in range(3)]


def saved(array: np.ndarray, quality: int, **options) -> bytes:
    return png(array, "JPEG", quality=quality, **options)


def again(data: bytes, quality: int) -> bytes:
    return saved(np.asarray(Image.open(io.BytesIO(data))), quality)


def checks(data: bytes, of) -> list[tuple[str, str]]:
    seen = jpeg.check(of(data, "picture"), DEFAULT_LIMITS)
    return [(one.finding.check, one.finding.severity) for one in seen]


@pytest.mark.parametrize("quality", [1, 30, 50, 75, 90, 100])
def test_the_quality_is_that_of_the_tables(of, quality):
    (found, *_) = jpeg.check(of(saved(FILMS[0], quality), "picture"), DEFAULT_LIMITS)
    assert found.finding.text.startswith(f"JPEG with the standard tables at quality {quality}.")
    assert np.array_equal(jpeg.luminance_table(saved(FILMS[0], quality)), jpeg.standard_table(quality))


def test_other_tables_are_told_from_the_standard(of):
    tables = {0: [6, 4, 4, 6, 9, 11, 12, 16] * 8, 1: [7] * 64}
    (found, *_) = jpeg.check(of(png(FILMS[0], "JPEG", qtables=tables), "picture"), DEFAULT_LIMITS)
    assert "tables of its own" in found.finding.text


@pytest.mark.parametrize(("first", "second"), [(50, 75), (60, 85), (75, 90), (30, 90)])
def test_saved_twice(of, first, second):
    for film in FILMS:
        once = saved(film, first)
        assert ("jpeg-twice", "note") in checks(again(once, second), of)


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 98])
def test_saved_once(of, quality):
    for film in FILMS:
        assert checks(saved(film, quality), of) == [("jpeg-tables", "note")]
        colour = np.stack([film, film[::-1], film], axis=2)
        assert checks(saved(colour, quality), of) == [("jpeg-tables", "note")]


def with_preview(film: np.ndarray, preview: np.ndarray) -> bytes:
    """A picture with a thumbnail in its EXIF, as cameras write it."""
    small = io.BytesIO()
    Image.fromarray(preview).resize((56, 64)).save(small, "JPEG", quality=85)
    data = small.getvalue()
    first = (1).to_bytes(2, "little") + bytes.fromhex("1201 0300 01000000 01000000")
    second = (2).to_bytes(2, "little") + bytes.fromhex("0102 0400 01000000") + (56).to_bytes(4, "little")
    second += bytes.fromhex("0202 0400 01000000") + len(data).to_bytes(4, "little") + bytes(4)
    block = b"Exif\0\0II*\0\x08\0\0\0" + first + (26).to_bytes(4, "little") + second
    assert len(block) - 6 == 56
    return saved(film, 90, exif=block + data)


def test_thumbnails(of):
    film = FILMS[0]
    edited = film.copy()
    edited[100:150, 80:130] = 255 - edited[100:150, 80:130]
    assert checks(with_preview(film, film), of) == [("jpeg-tables", "note")]
    assert ("thumbnail", "warning") in checks(with_preview(edited, film), of)
    assert ("thumbnail", "note") in checks(with_preview(film[:128], film), of)


def test_what_was_jpeg_once_and_is_stored_without_loss():
    for film in FILMS:
        assert not jpeg.was_jpeg(film.astype(np.float32))
        for quality in (40, 75, 90):
            assert jpeg.was_jpeg(np.asarray(Image.open(io.BytesIO(saved(film, quality)))).astype(np.float32))
    assert not jpeg.was_jpeg(np.zeros((300, 300), np.float32))
    assert not jpeg.was_jpeg(np.zeros((5, 5), np.float32))


def test_it_is_a_note_for_pictures_and_a_warning_for_dicom_that_does_not_say_so():
    film = np.asarray(Image.open(io.BytesIO(saved(FILMS[0], 75))))
    volume = decode(read(png(film)).studies[0].series[0])
    said = [(one.finding.check, one.finding.severity) for one in jpeg.of_volume(volume)]
    assert said == [("jpeg-once", "note")]
    stored = replace(volume, format="dicom", header={"lossy": False, "transfer_syntax_uid": "1.2.840.10008.1.2.1"})
    assert [one.finding.severity for one in jpeg.of_volume(stored)] == ["warning"]
    assert [one.finding.severity for one in jpeg.of_volume(replace(stored, header={"lossy": True}))] == ["note"]
    compressed = replace(stored, header={"transfer_syntax_uid": str(JPEGBaseline8Bit)})
    for silent in (compressed, replace(stored, bits_stored=12), decode(read(png(FILMS[0])).studies[0].series[0])):
        assert list(jpeg.of_volume(silent)) == []


def test_frames_of_dicom(of):
    made = ct(FILMS[0], syntax=JPEGBaseline8Bit)
    made.PixelData = encapsulate([again(saved(FILMS[0], 50), 85)])
    made["PixelData"].is_undefined_length = True
    found = [one.finding.check for one in jpeg.check(of(made), DEFAULT_LIMITS)]
    assert found == ["jpeg-tables", "jpeg-twice"]
    assert list(jpeg.check(of(ct()), DEFAULT_LIMITS)) == []
    assert list(jpeg.check(of(png(FILMS[0]), "picture"), DEFAULT_LIMITS)) == []


SMALL = saved(FILMS[0][:72, :72], 75)


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(SMALL)), st.booleans())
def test_wild_bytes_raise_only_our_errors(wild, at, inside):
    data = SMALL[:at] + wild + SMALL[at:] if inside else b"\xff\xd8" + wild
    list(segments.of_jpeg(data))
    list(segments.of_png(segments.PNG_START + wild))
    segments.metadata(data, 100)
    jpeg.luminance_table(data)
    try:
        list(jpeg.check(Opened("x", data, "picture"), DEFAULT_LIMITS))
    except (TamperscopeError, OSError, SyntaxError, ValueError):
        return
