"""Pictures of two sets that differ in size, contrast and file type, through one pipeline."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from datasets import fakes
from tamperscope import picture_set, pictures
from tamperscope.datasets import folders, images, splits, table
from tamperscope.errors import InputError, UnreadableError, UnsupportedError, UsageError
from tamperscope.picture_set import Alignment, Split

SHARES: splits.Shares = {"train": 0.5, "test": 0.5}


def sets(root, part: str = ""):
    """Bright real pictures of 40 x 48 as PNG, and dark fakes of 32 x 32 as JPEG: two manifests."""
    for number in range(4):
        wide = np.concatenate([fakes.texture(number), fakes.texture(number + 50)[:, :8]], axis=1)
        path = root / f"films/real/P{number}/a.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(wide // 2 + 127).save(path)
        path = root / f"made/fake-gan/G{number}/a.jpg"
        path.parent.mkdir(parents=True)
        Image.fromarray(fakes.texture(number + 100, 32) // 2).save(path)
    paths = []
    for name in ("films", "made"):
        listed = folders.entries(root / name)
        paths.append(root / f"{name}.csv")
        table.write(paths[-1], splits.whole(listed, part) if part else listed, root / name)
    return paths


def shown(entry) -> np.ndarray:
    with Image.open(entry.path) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        return np.asarray(image)


def test_every_picture_has_one_size_one_format_and_its_facts(tmp_path):
    made = picture_set.align(sets(tmp_path), tmp_path / "out", Alignment(), Split(SHARES, 3))
    assert {shown(entry).shape for entry in made} == {(32, 32)}
    found = table.read(tmp_path / "out")
    assert list(found.entries) == [*made]
    assert found.about["detail"] == found.about["side"] == 32
    assert {(e.patient, e.label, e.generator) for e in made} == {
        *((f"P{n}", "authentic", "") for n in range(4)),
        *((f"G{n}", "forged", "gan") for n in range(4)),
    }
    assert {entry.part for entry in made} == {"train", "test"}
    assert table.entries(tmp_path / "out") == made, "the digests are those of the files"


def test_both_classes_bear_the_same_mark_and_neutral_names(tmp_path):
    made = picture_set.align(sets(tmp_path, "test"), tmp_path / "out", Alignment())
    words = set()
    for entry in made:
        with Image.open(entry.path) as image:
            words.add(image.text["Warning"].rpartition(" ")[0])
        assert len(entry.path.stem) == 16
    assert len(words) == 1
    assert words.pop().startswith("Synthetic data: YES. Made or changed by tamperscope")
    assert {entry.part for entry in made} == {"test"}


def test_matching_gives_every_picture_the_same_histogram(tmp_path):
    made = picture_set.align(sets(tmp_path, "test"), tmp_path / "out", Alignment(contrast="match"))
    counts = [np.bincount(shown(entry).ravel(), minlength=256) for entry in made]
    assert all(np.array_equal(counts[0], one) for one in counts)
    assert np.ptp(shown(made[0])) > 100


def test_matching_keeps_the_order_of_the_pixels():
    plane = np.arange(100, dtype=np.float32).reshape(10, 10)
    reference = np.linspace(10.0, 200.0, 100)
    assert np.array_equal(pictures.matched(plane, reference).ravel(), np.rint(reference))
    # Of equal pixels, those with the brighter neighbours become the brighter ones.
    flat = np.zeros((9, 9), dtype=np.float32)
    flat[:, 8] = 1.0
    ranked = pictures.matched(flat, np.arange(81.0))
    assert ranked[4, 7] > ranked[4, 5] > ranked[4, 1]


@pytest.mark.parametrize("contrast", ["percentile", "clahe"])
def test_spreading_makes_dark_and_bright_alike(tmp_path, contrast):
    made = picture_set.align(sets(tmp_path, "test"), tmp_path / "out", Alignment(contrast=contrast))
    means = [shown(entry).mean() for entry in made]
    assert max(means) - min(means) < 60
    untouched = picture_set.align(sets(tmp_path / "b", "test"), tmp_path / "plain", Alignment())
    means = [shown(entry).mean() for entry in untouched]
    assert max(means) - min(means) > 90


def test_more_pixels_than_the_smallest_has_bring_no_detail_to_any_class(tmp_path):
    made = picture_set.align(sets(tmp_path, "test"), tmp_path / "out", Alignment(side=64))
    for entry in made:
        spectrum = np.abs(np.fft.fft2(shown(entry) - shown(entry).mean())) ** 2
        frequency = np.maximum(*np.abs(np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64))))
        assert spectrum[frequency > 0.27].sum() < 0.02 * spectrum.sum()


def test_a_jpeg_round_trip_is_that_of_pillow(tmp_path):
    paths = sets(tmp_path, "test")
    plain = picture_set.align(paths, tmp_path / "plain", Alignment())
    lossy = picture_set.align(paths, tmp_path / "lossy", Alignment(jpeg=50))
    Image.fromarray(shown(plain[0])).save(tmp_path / "x.jpg", quality=50)
    assert np.array_equal(shown(lossy[0]), np.asarray(Image.open(tmp_path / "x.jpg")))


def test_masks_and_places_move_along(tmp_path):
    fakes.picture(tmp_path / "set/real/P/a.png", 1)
    Image.fromarray(fakes.texture(2, 60)[:40]).save(tmp_path / "set/real/P/b.png")
    path = tmp_path / "set/fake/P/c.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.concatenate([fakes.texture(3, 60)] * 2, axis=1)[:60, :80]).save(path)
    mask = np.zeros((60, 80), dtype=np.uint8)
    mask[30:36, 40:46] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    rows = "set/real/P/a.png,P,authentic,,\nset/real/P/b.png,P,authentic,,\nset/fake/P/c.png,P,forged,mask.png,33 43\n"
    (tmp_path / "m.csv").write_text(f"path,patient,label,mask,places\n{rows}", encoding="utf-8")
    made = picture_set.align([tmp_path / "m.csv"], tmp_path / "out", Alignment())
    (forged,) = (entry for entry in made if entry.label == "forged")
    changed = images.planes(forged.mask)[0] > 0
    assert changed.shape == (40, 40)
    # Of 80 columns the middle 60 stay, and 60 pixels become 40.
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max()) == pytest.approx((20, 23), abs=1)
    assert (columns.min(), columns.max()) == pytest.approx((20, 23), abs=1)
    assert forged.places == ((22, 22),)


def test_a_run_that_was_killed_goes_on_and_another_order_is_refused(tmp_path):
    paths = sets(tmp_path, "test")
    made = picture_set.align(paths, tmp_path / "out", Alignment())
    kept = made[0].path.stat().st_mtime_ns
    made[1].path.unlink()
    (tmp_path / "out" / "manifest.csv").unlink()
    assert picture_set.align(paths, tmp_path / "out", Alignment()) == made
    assert made[0].path.stat().st_mtime_ns == kept
    with pytest.raises(UsageError, match="another alignment"):
        picture_set.align(paths, tmp_path / "out", Alignment(contrast="match"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match="holds something else"):
        picture_set.align(paths, tmp_path / "other", Alignment())
    assert json.loads((tmp_path / "out" / "alignment.json").read_text())["pictures"] == 8


def test_colour_becomes_grey_and_16_bits_need_a_contrast(tmp_path):
    paths = sets(tmp_path, "test")
    colour = np.stack([fakes.texture(n, 40) for n in (7, 8, 9)], axis=-1)
    Image.fromarray(colour).save(tmp_path / "films/real/P0/a.png")
    deep = fakes.texture(5, 40).astype(np.uint16) * 100
    Image.fromarray(deep).save(tmp_path / "films/real/P1/a.png")
    listed = folders.entries(tmp_path / "films")
    table.write(paths[0], splits.whole(listed, "test"), tmp_path / "films")
    with pytest.raises(UnsupportedError, match=r"16 bits.*choose a contrast"):
        picture_set.align(paths, tmp_path / "refused", Alignment())
    made = picture_set.align(paths, tmp_path / "out", Alignment(contrast="percentile"))
    assert {shown(entry).shape for entry in made} == {(32, 32)}


def test_what_cannot_be_aligned_is_refused_with_the_reason(tmp_path):
    films, fakes_ = sets(tmp_path)
    with pytest.raises(InputError, match="all 4 pictures are authentic"):
        picture_set.align([films], tmp_path / "out", Alignment())
    with pytest.raises(UnreadableError, match="gone does not exist"):
        picture_set.align([films, tmp_path / "gone"], tmp_path / "out", Alignment())
    (tmp_path / "made/fake-gan/G0/a.jpg").write_bytes(b"\xff\xd8\xff no picture")
    listed = folders.entries(tmp_path / "made")
    table.write(fakes_, listed, tmp_path / "made")
    with pytest.raises(UnreadableError, match=r"a\.jpg"):
        picture_set.align([films, fakes_], tmp_path / "out", Alignment())
    table.write(fakes_, splits.whole(listed, "test"), tmp_path / "made")
    with pytest.raises(UsageError, match="no parts in"):
        picture_set.align([films, fakes_], tmp_path / "out", Alignment())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"side": 4}, "4 pixels"), ({"contrast": "loud"}, "unknown contrast"), ({"jpeg": 0}, "quality 0")],
)
def test_wrong_settings_name_what_is_right(settings, words):
    with pytest.raises(UsageError, match=words):
        Alignment(**settings)


def test_a_stack_is_no_picture(tmp_path):
    paths = sets(tmp_path, "test")
    pages = [Image.fromarray(fakes.texture(n)) for n in range(2)]
    (tmp_path / "films/real/P0/a.png").unlink()
    pages[0].save(tmp_path / "films/real/P0/a.tif", save_all=True, append_images=pages[1:])
    table.write(paths[0], splits.whole(folders.entries(tmp_path / "films"), "test"), tmp_path / "films")
    with pytest.raises(InputError, match="holds 2 slices"):
        picture_set.align(paths, tmp_path / "out", Alignment())
