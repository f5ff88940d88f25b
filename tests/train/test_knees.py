from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope.errors import InputError, UnreadableError
from tamperscope.train import knees
from tamperscope.train.knees import Knees

ROWS = np.linspace(-1.0, 1.0, 224)


def film(number: int, *, left: bool = False, negative: bool = False) -> np.ndarray:
    """A bright bar left of the middle in a right knee, brighter from patient to patient."""
    plane = np.where(np.abs(ROWS + 0.4) < 0.2, 200.0 - number, 40.0)[None, :] + 20.0 * (1.0 - ROWS[:, None] ** 2)
    plane = plane[:, ::-1] if left else plane
    return (255.0 - plane if negative else plane).astype(np.uint8)


def write(root, grade: int, name: str, plane: np.ndarray) -> None:
    folder = root / f"kl{grade}"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(plane).save(folder / name)


@pytest.fixture
def root(tmp_path):
    """Ten patients, both knees of each, of grades 0 to 4; one film of the training part is a negative."""
    for number in range(10):
        for side in "LR":
            plane = film(number, left=side == "L", negative=(number, side) == (1, "R"))
            write(tmp_path, number % 5, f"{9000000 + number}{side}.png", plane)
    return tmp_path


def test_only_training_patients_are_taken(root):
    found = knees.training(root)
    dealt = knees.parts(knees.knees(root))
    assert sorted(dealt.values()) == ["calibrate"] * 2 + ["test"] * 2 + ["train"] * 6
    assert found.facts["patients"] == 6
    assert found.facts["pictures"] == len(found.pictures) == 12
    assert found.facts["pictures_of_each_grade"] == [4, 4, 4, 0, 0]
    assert found.pictures.dtype == np.float32
    assert found.pictures.shape == (12, 224, 224)


def test_left_knees_are_mirrored_and_negatives_turned_round(root):
    pictures = knees.training(root).pictures
    assert np.abs(pictures).max() <= 1.0
    bar, rest = pictures[:, :, 50:80].mean(axis=(1, 2)), pictures[:, :, 120:].mean(axis=(1, 2))
    assert (bar > rest + 0.5).all()


def test_films_are_those_of_a_part_as_they_are_stored_but_for_negatives(root):
    found = {part: knees.films(root, part) for part in ("train", "calibrate", "test")}
    assert [len(films) for films in found.values()] == [12, 4, 4]
    patients = [{film.patient for film in films} for films in found.values()]
    assert not patients[0] & patients[1]
    assert all(film.plane.shape == (224, 224) and film.plane.dtype == np.float32 for film in found["train"])
    stored = [film(1, left=True), film(1)]
    planes = [one.plane for one in sorted(found["train"], key=lambda one: one.patient) if one.patient == "9000001"]
    for plane, one in zip(planes, stored, strict=True):
        np.testing.assert_allclose(plane, one, atol=1.0)  # the negative is turned


def test_pictures_of_other_patients_are_not_even_opened(root):
    before = knees.training(root)
    for path in root.glob("kl4/*.png"):
        path.write_bytes(b"no picture at all")
    assert np.array_equal(knees.training(root).pictures, before.pictures)


def test_the_digest_changes_with_a_picture(root):
    before = knees.training(root).facts["manifest_digest"]
    write(root, 0, "9000000R.png", film(33))
    assert knees.training(root).facts["manifest_digest"] != before


def test_a_damaged_picture_is_named(root):
    (root / "kl0" / "9000000R.png").write_bytes(b"no picture at all")
    with pytest.raises(UnreadableError, match=r"9000000R\.png"):
        knees.training(root)


def test_another_size_is_refused(root):
    write(root, 0, "9000000R.png", np.zeros((299, 299), np.uint8))
    with pytest.raises(InputError, match="299") as caught:
        knees.training(root)
    assert "kneeKL224" in caught.value.hint


def test_a_name_without_side_is_refused(root):
    write(root, 0, "9000000.png", film(3))
    with pytest.raises(InputError, match=r"9000000\.png states no side"):
        knees.training(root)


def test_one_picture_under_patients_of_two_parts_is_refused(root):
    write(root, 3, "9000003R.png", film(0))
    write(root, 0, "9000000R.png", film(0))
    with pytest.raises(InputError, match="filed under"):
        knees.training(root)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UnreadableError, match="kl0"):
        knees.training(tmp_path)


@pytest.fixture(scope="module")
def few():
    pictures = np.random.default_rng(0).uniform(-1.0, 1.0, (27, 224, 224)).astype(np.float32)
    return Knees(pictures, np.repeat([0, 3], [18, 9]), {})


def test_drawn_pictures_are_moved_by_whole_pixels(few):
    drawn, grades = few.draw(np.random.default_rng(1), 6)
    assert drawn.shape == (6, 1, 224, 224)
    for picture, grade in zip(drawn[:, 0], grades, strict=True):
        middle = picture[8:-8, 8:-8]
        found = [
            (number, down, right)
            for number, original in enumerate(few.pictures)
            for down in range(-4, 5)
            for right in range(-4, 5)
            if original[8 + down, 8 + right] == middle[0, 0]
            and np.array_equal(original[8 + down : 216 + down, 8 + right : 216 + right], middle)
        ]
        assert len(found) == 1
        assert few.grades[found[0][0]] == grade


def test_rare_grades_are_seen_more_often_than_they_occur(few):
    _, grades = few.draw(np.random.default_rng(2), 150)
    assert (grades == 3).mean() == pytest.approx(1.0 / (1.0 + 2.0**0.5), abs=0.1)


def test_grades_can_be_chosen_and_the_same_generator_draws_the_same(few):
    one, again = (few.draw(np.random.default_rng(3), 4, (3, 4)) for _ in range(2))
    assert set(one[1]) == {3}
    assert np.array_equal(one[0], again[0])
