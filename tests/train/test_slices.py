from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sets
from tamperscope import phantom
from tamperscope.datasets import table
from tamperscope.datasets.cases import Case
from tamperscope.datasets.manifest import Entry, digested
from tamperscope.errors import InputError
from tamperscope.pictures import PictureSpec
from tamperscope.train.augment import Augmentation
from tamperscope.train.slices import AUTHENTIC, FORGED, UNSURE, Batches, Slices, grouped, labels, load, shown

SPEC = PictureSpec(8)
CHEST = phantom.chest((4, 24, 24), (2.5, 15.0, 15.0))


def case(*, forged: bool = True, mask: np.ndarray | None = None, places=(), volume=CHEST) -> Case:
    return Case("c/p/s", "p", forged, volume, mask, tuple(places), {})


def changed(*counts: int) -> np.ndarray:
    mask = np.zeros((len(counts), 24 * 24), bool)
    for k, count in enumerate(counts):
        mask[k, :count] = True
    return mask.reshape(-1, 24, 24)


def entry(name: str, label: str, part: str = "train") -> Entry:
    return Entry(Path(name), "c", name, "", "", label=label, part=part)


def test_a_slice_is_forged_from_sixteen_changed_voxels_on():
    assert labels(case(mask=changed(0, 15, 16, 1))).tolist() == [AUTHENTIC, UNSURE, FORGED, UNSURE]


def test_all_of_an_authentic_series_is_authentic():
    assert labels(case(forged=False, mask=changed(0, 0, 0, 0))).tolist() == [AUTHENTIC] * 4


def test_without_a_mask_a_picture_is_forged_as_a_whole_and_a_series_where_it_is_said():
    assert labels(case(volume=phantom.radiograph((24, 24)))).tolist() == [FORGED]
    assert labels(case(places=[(1, 5, 5), (9, 5, 5)])).tolist() == [UNSURE, FORGED, UNSURE, UNSURE]
    assert labels(case()).tolist() == [UNSURE] * 4


def test_batches_hold_both_classes_alike_and_no_other():
    made = shown(case(mask=changed(0, 5, 16, 0)), SPEC)
    bare = replace(made, pictures=tuple(np.full((8, 8), 10 * k, np.uint8) for k in range(4)))
    slices = Slices((bare, replace(bare, forged=False, labels=np.zeros(4, np.int8))))
    pictures, truths = Batches(slices, Augmentation()).draw(np.random.default_rng(0), 64)
    assert pictures.shape == (64, 1, 8, 8)
    assert truths.shape == (64, 1)
    assert truths.sum() == 32
    levels = np.rint(pictures[:, 0, 0, 0] * 255).astype(int)
    assert set(levels[truths[:, 0] == 1]) == {20}
    assert set(levels[truths[:, 0] == 0]) == {0, 10, 20, 30}
    again, _ = Batches(slices, Augmentation()).draw(np.random.default_rng(0), 64)
    assert np.array_equal(pictures, again)
    assert slices.counts == {
        "authentic_series": 1,
        "forged_series": 1,
        "authentic_slices": 6,
        "forged_slices": 1,
        "left_out_slices": 1,
    }
    assert slices.modalities == ("CT",)


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ([], "no series in the part train"),
        (["forged", "forged"], "no series of the part train is authentic"),
        (["authentic"], "no series of the part train is forged"),
    ],
)
def test_a_part_without_both_classes_is_refused(labels, why):
    entries = [entry(str(number), label) for number, label in enumerate(labels)]
    with pytest.raises(InputError, match=why):
        grouped([*entries, entry("x", "forged", "test"), entry("y", "authentic", "test")], "train")


def test_forged_series_that_teach_nothing_are_told(tmp_path):
    listed = []
    for number, label in enumerate(("authentic", "forged")):
        volume = phantom.chest((2, 24, 24), (2.5, 15.0, 15.0), np.random.default_rng(number))
        files = phantom.write_dicom(volume, tmp_path / label)
        listed += [Entry(path, "c", label, "s", "", label=label, part="train") for path in files]
    with pytest.raises(InputError, match="holds no forged slice in 2 series"):
        load(grouped(listed, "train"), "train", SPEC)


def test_decoded_pictures_are_kept_for_the_same_files_and_no_others(tmp_path):
    listed = digested(table.read(sets.forged_set(tmp_path / "set", patients=4)).entries)
    groups, cache = grouped(listed, "train"), tmp_path / "cache"
    made = load(groups, "train", SPEC, cache=cache)
    (path,) = cache.iterdir()
    ticks = []
    again = load(groups, "train", SPEC, ticks.append, cache=cache)
    assert ticks == []
    assert again.counts == made.counts
    for one, other in zip(made.series, again.series, strict=True):
        assert (one.name, one.forged, one.modality) == (other.name, other.forged, other.modality)
        assert np.array_equal(one.labels, other.labels)
        assert np.array_equal(np.stack(one.pictures), np.stack(other.pictures))
        assert [boxes.tolist() for boxes in one.boxes] == [boxes.tolist() for boxes in other.boxes]
    assert any(len(boxes) for one in made.series for boxes in one.boxes)
    load(groups, "train", PictureSpec(9), cache=cache)
    assert len(list(cache.iterdir())) == 2
    path.write_bytes(path.read_bytes()[:100])
    assert load(groups, "train", SPEC, cache=cache).counts == made.counts
    assert path.stat().st_size > 100
