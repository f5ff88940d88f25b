from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from datasets import fakes
from tamperscope import phantom
from tamperscope.datasets import leaks
from tamperscope.datasets.manifest import Entry, file_digest
from tamperscope.errors import InputError, UnreadableError

SIDE = 160


def chests(count: int) -> list[np.ndarray]:
    """Pictures of phantoms that nobody has, all at the same height: as alike as different patients can be."""
    spacing = (2.5, 360 / SIDE, 360 / SIDE)
    return [phantom.chest((1, SIDE, SIDE), spacing, np.random.default_rng(seed)).voxels[0] for seed in range(count)]


CHESTS = chests(11)


def bits(first: np.ndarray, second: np.ndarray) -> int:
    one, other = (leaks.difference_hash(np.clip(picture, -1000, 2000)) for picture in (first, second))
    return int(np.bitwise_count(one ^ other).sum())


def eight_bit(picture: np.ndarray) -> np.ndarray:
    return np.uint8(np.clip((picture + 1000) / 2000, 0, 1) * 255)


def compressed(picture: np.ndarray) -> np.ndarray:
    out = io.BytesIO()
    Image.fromarray(eight_bit(picture)).save(out, "JPEG", quality=50)
    return np.asarray(Image.open(io.BytesIO(out.getvalue()))).astype(np.float32)


def resized(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((120, 120), Image.Resampling.BILINEAR))


def tampered(picture: np.ndarray) -> np.ndarray:
    forged = picture.copy()
    forged[60:78, 40:58] = forged[60:78, 40:58][::-1, ::-1]
    return forged


def noisy(picture: np.ndarray) -> np.ndarray:
    return picture + np.random.default_rng(1).normal(0, 25, picture.shape).astype(np.float32)


COPIES = {
    "JPEG": compressed,
    "smaller": resized,
    "tampered": tampered,
    "noise": noisy,
    "window": lambda picture: eight_bit(picture).astype(np.float32),
    "clip level": lambda picture: np.where(picture <= -1000, np.float32(-3024), picture),
}


# --- the measure ---


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES.keys())
def test_a_copy_keeps_its_hash_and_its_detail(copy):
    for picture in CHESTS[:4]:
        again = np.ascontiguousarray(copy(picture), dtype=np.float32)
        assert bits(picture, again) <= leaks.LIMIT
        assert leaks.agreement(np.clip(picture, -1000, 2000), np.clip(again, -1000, 2000)) >= leaks.AGREE


def test_different_phantoms_are_no_copies():
    for number, picture in enumerate(CHESTS):
        for other in CHESTS[number + 1 :]:
            assert bits(picture, other) > leaks.LIMIT or leaks.agreement(picture, other) < leaks.AGREE


def test_detail_agrees_with_itself_and_with_nothing_else():
    picture = CHESTS[0]
    assert leaks.agreement(picture, picture) == pytest.approx(1.0)
    assert leaks.agreement(picture, np.zeros_like(picture)) == 0.0
    assert leaks.agreement(picture, -picture) == pytest.approx(-1.0)


def test_the_hash_has_512_bits_and_a_plain_picture_sets_none():
    assert leaks.difference_hash(CHESTS[0]).shape == (8,)
    assert not leaks.difference_hash(np.full((30, 20), 7.0, dtype=np.float32)).any()
    assert not leaks.difference_hash(np.ones((1, 1), dtype=np.float32)).any()


# --- whole splits ---


@pytest.fixture
def listed(tmp_path):
    """A function that writes pictures, each for a patient and a part, and lists them."""

    def write(*pictures: tuple[str, str, np.ndarray], modality: str = "DX") -> list[Entry]:
        found = []
        for number, (patient, part, picture) in enumerate(pictures):
            path = tmp_path / f"{number}.npy"
            np.save(path, picture)
            found.append(Entry(path, "c", patient, "", file_digest(path), part=part, modality=modality))
        return found

    return write


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES.keys())
def test_a_copy_in_another_part_is_found_with_both_files(listed, copy):
    others = [(f"p{n}", ("train", "test")[n % 2], picture) for n, picture in enumerate(CHESTS[1:])]
    entries = listed(("a", "train", CHESTS[0]), ("b", "test", copy(CHESTS[0])), *others, modality="CT")
    (leak,) = leaks.find(entries)
    assert (leak.kind, leak.first.patient, leak.second.patient) in {("pixels", "a", "b"), ("pixels", "b", "a")}
    assert leak.bits <= leaks.LIMIT
    assert "0.npy" in str(leak)
    assert "1.npy" in str(leak)


def test_different_phantoms_leak_nothing(listed):
    entries = listed(*((f"p{n}", ("train", "calibrate", "test")[n % 3], chest) for n, chest in enumerate(CHESTS)))
    assert leaks.find(entries) == ()
    assert leaks.check(entries) == ()


def test_a_copy_in_the_same_part_or_in_none_is_no_leak(listed):
    copy = compressed(CHESTS[0])
    assert leaks.find(listed(("a", "train", CHESTS[0]), ("b", "train", copy))) == ()
    assert leaks.find(listed(("a", "train", CHESTS[0]), ("b", "", copy))) == ()


def test_every_slice_of_a_volume_is_compared(listed):
    stack = np.stack(CHESTS[:4])
    (leak,) = leaks.find(listed(("a", "train", stack), ("b", "test", compressed(CHESTS[2]))))
    assert {leak.first.patient, leak.second.patient} == {"a", "b"}


def test_empty_pictures_are_like_all_others_and_count_for_nothing(listed):
    air = np.full((40, 40), -1000.0, dtype=np.float32)
    assert leaks.find(listed(("a", "train", air), ("b", "test", air + 1))) == ()


def test_a_patient_in_two_parts_is_found_without_looking(listed):
    entries = listed(("a", "train", CHESTS[0]), ("a", "test", CHESTS[1]))
    (leak,) = leaks.find(entries, pixels=False)
    assert leak.kind == "patient"
    assert "patient a is in two parts" in str(leak)
    entries[0].path.unlink()
    assert leaks.find(entries, pixels=False) == (leak,)


def test_a_leaking_split_is_refused_unless_allowed(listed):
    entries = listed(("a", "train", CHESTS[0]), ("b", "test", CHESTS[0]))
    with pytest.raises(InputError, match="the split leaks: the same file in two parts") as caught:
        leaks.check(entries)
    assert caught.value.hint
    assert {leak.kind for leak in leaks.check(entries, allow_leaks=True)} == {"file"}


def test_many_leaks_are_summed_up(listed):
    entries = listed(*((f"p{n}", part, CHESTS[n]) for part in ("train", "test") for n in range(6)))
    with pytest.raises(InputError, match=r"and \d+ more"):
        leaks.check(entries, pixels=False)


def test_a_picture_that_cannot_be_read_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "broken.npy"
    path.write_bytes(b"no array")
    with pytest.raises(UnreadableError, match=r"broken\.npy"):
        leaks.find([Entry(path, "c", "a", "", "0", part="train")])
    with pytest.raises(UnreadableError, match=r"gone\.png"):
        leaks.find([Entry(Path("gone.png"), "c", "a", "", "0", part="train")])


def test_two_sizes_of_one_knee_under_two_patients_are_found(tmp_path):
    picture = Image.fromarray(fakes.texture(3, 90))
    entries = []
    for patient, part, side in (("9000001", "train", 224), ("9000002", "test", 299)):
        path = tmp_path / f"{patient}L.png"
        picture.resize((side, side), Image.Resampling.BICUBIC).save(path)
        entries.append(Entry(path, "c", patient, "", file_digest(path), part=part))
    (leak,) = leaks.find(entries)
    assert leak.kind == "pixels"


def test_progress_is_told(listed):
    told: list[tuple[str, int, int]] = []
    leaks.find(listed(("a", "train", CHESTS[0]), ("b", "test", CHESTS[1])), tick=lambda *what: told.append(what))
    assert told == [("comparing pictures", 0, 2), ("comparing pictures", 1, 2)]


def test_blurring_changes_few_bits():
    blurred = ndimage.gaussian_filter(CHESTS[0], 1.0)
    assert bits(CHESTS[0], blurred) <= leaks.LIMIT
