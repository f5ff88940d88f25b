from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.attacks.annotation import KINDS, Annotation
from tamperscope.errors import AttackError


@pytest.fixture(scope="module")
def volume():
    return phantom.chest((6, 128, 128), (2.5, 2.8, 2.8))


@pytest.fixture(scope="module")
def drawn(volume):
    """A record of each kind."""
    found = {}
    for seed in range(40):
        params = Annotation().sample(volume, np.random.default_rng(seed))
        found.setdefault(params["kind"], params)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_it_draws_a_small_part_as_bright_as_the_picture_gets(volume, drawn, kind):
    forgery = Annotation().apply(volume, drawn[kind])
    changed = forgery.volume.voxels != volume.voxels
    assert 0.0 < changed.mean() < 0.05
    assert not forgery.mask.any()
    assert (forgery.volume.voxels[changed] >= volume.voxels[changed]).all()
    assert forgery.volume.voxels[changed].max() > 0.0, "thin strokes cover part of a pixel"


def test_text_is_on_every_slice_and_marks_on_a_few(volume, drawn):
    for kind, params in drawn.items():
        changed = (Annotation().apply(volume, params).volume.voxels != volume.voxels).any(axis=(1, 2))
        assert changed.all() if kind == "text" else 1 <= changed.sum() <= 5


def test_in_monochrome1_it_is_dark():
    film = replace(phantom.radiograph((64, 64)), photometric="MONOCHROME1")
    assert Annotation().sample(film, np.random.default_rng(0))["level"] == film.voxels.min()


def test_an_unknown_kind_is_refused_with_the_known_ones(volume, drawn):
    with pytest.raises(AttackError, match="frame"):
        Annotation().apply(volume, drawn["text"] | {"kind": "smiley"})
