from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from torch.utils.data import DataLoader  # noqa: E402

from films import film  # noqa: E402
from tamperscope import attacks  # noqa: E402
from tamperscope.train.crops import Recipe  # noqa: E402
from tamperscope.train.films import CROP, SIDES, Film, Films, Handling, as_volume  # noqa: E402

RNG = np.random.default_rng(3)
FILMS = [Film(f"P{n}", np.rint((film(n % 5, RNG) + 1.0) * 127.5).astype(np.float32)) for n in range(6)]
PLAIN = Handling(side=160, contrast="none", gamma=1.0, blur=0.0, noise=0.0, jpeg=None)
LOCAL = ("inpaint", "copy-move", "autoencoder-region", "splice")
WHOLE = ("autoencoder-whole", "knee-gan")


def source(*names: str, seed: int = 1) -> Films:
    return Films(FILMS, Recipe(attack_shares=tuple((name, 1.0) for name in names)), seed)


def drawn(stream: Films, count: int) -> list:
    rng = np.random.default_rng(0)
    return [pair for pair in (stream.draw(rng) for _ in range(count)) if pair is not None]


def test_pairs_are_crops_with_a_forged_place_in_them():
    pairs = drawn(source(*LOCAL), 12)
    assert {pair.attack for pair in pairs} >= {"inpaint", "copy-move"}
    for pair in pairs:
        assert pair.forged.shape == pair.pristine.shape == (3, CROP, CROP)
        assert pair.forged.dtype == pair.target.dtype == np.float32
        assert set(np.unique(pair.target)) <= {-1.0, 0.0, 1.0}
        assert (pair.target > 0).any()
        assert pair.patient in {one.patient for one in FILMS}
        assert np.isfinite(pair.forged).all()


def test_twins_of_a_local_forgery_differ_where_it_was_made():
    for pair in drawn(source("inpaint-median"), 8):
        change = np.abs(pair.forged[0] - pair.pristine[0])
        assert change[pair.target > 0].mean() > 5.0 * change[pair.target == 0].mean()


@pytest.mark.parametrize("name", WHOLE)
def test_of_a_generated_picture_every_pixel_is_forged(name):
    pairs = drawn(source(name), 4)
    assert pairs
    assert all((pair.target == 1.0).all() for pair in pairs)


def test_every_picture_has_a_size_of_its_own_within_the_bounds():
    found = (source("copy-move").made(np.random.default_rng(seed)) for seed in range(9))
    sides = [made.forged.shape for made in found if made]
    assert len(set(sides)) > 4
    assert all(SIDES[0] <= height == width < SIDES[1] for height, width in sides)


def test_a_replaced_film_is_often_handled_otherwise_than_its_forgery_and_an_edited_one_never():
    rng = np.random.default_rng(0)
    made = {name: [source(name).made(rng) for _ in range(10)] for name in ("knee-gan", "copy-move")}
    apart = {name: [one.forged.shape != one.film.shape for one in found if one] for name, found in made.items()}
    assert any(apart["knee-gan"])
    assert not all(apart["knee-gan"])
    assert not any(apart["copy-move"])


@pytest.mark.parametrize(
    "change",
    [{"contrast": "gamma", "gamma": 1.4}, {"contrast": "clahe"}, {"contrast": "match"}, {"blur": 0.8}, {"noise": 3.0}],
    ids=lambda change: next(iter(change.values())),
)
def test_a_handling_leaves_whole_grey_levels_and_does_what_it_says(change):
    plane, mean = FILMS[0].plane, source("inpaint").mean
    plain, handled = (way(plane, mean, np.random.default_rng(1)) for way in (PLAIN, replace(PLAIN, **change)))
    assert handled.shape == plain.shape == (160, 160)
    assert np.array_equal(handled, np.rint(handled))
    assert 0.0 <= handled.min() <= handled.max() <= 255.0
    assert not np.array_equal(handled, plain)
    if change.get("contrast") == "match":
        assert np.sort(handled, axis=None) == pytest.approx(np.interp(*_levels(handled.size, mean)), abs=1.0)


def _levels(size: int, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.linspace(0, 1, size), np.linspace(0, 1, mean.size), mean


def test_drawn_handlings_differ_and_are_the_same_for_the_same_seed():
    ways = [Handling.drawn(np.random.default_rng(seed)) for seed in (1, 2, 1)]
    assert ways[0] == ways[2] != ways[1]


def test_workers_draw_other_pairs_than_each_other():
    loader = DataLoader(source("copy-move"), batch_size=None, num_workers=2)
    first, second = (pair.forged.tobytes() for pair in islice(loader, 2))
    assert first != second


def test_a_film_is_read_as_a_radiograph_of_eight_bits():
    volume = as_volume(FILMS[0].plane)
    assert (volume.modality, volume.bits_stored, volume.shape) == ("DX", 8, (1, 224, 224))
    assert attacks.synthesis()["knee-gan"].sample(volume, np.random.default_rng(0))
