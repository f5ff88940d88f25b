from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamperscope import detectors, phantom
from tamperscope.detectors import places, trace
from tamperscope.detectors.trace import TraceDetector
from tamperscope.errors import WeightsError
from tamperscope.inputs import ct

CARD = next(card for card in detectors.packaged_cards() if card.file is not None)


@pytest.fixture(scope="module")
def chest():
    """Slices far apart, so that none is smoothed into the next."""
    return phantom.chest((2, 320, 320), (10.0, 1.0, 1.0), np.random.default_rng(4))


@pytest.mark.parametrize("shape", [(301, 299), (296, 304), (289, 290)])
def test_any_size_is_covered_by_the_map(chest, shape):
    part = replace(chest.slab(0, 1), voxels=chest.voxels[:1, 10 : 10 + shape[0], 12 : 12 + shape[1]])
    inside = ct.body_of(part)
    detector = TraceDetector(CARD, threads=1)
    maps = detector.maps(part, inside)
    assert maps.shape == inside.shape == (1, -(-shape[0] // 4), -(-shape[1] // 4))
    assert np.isfinite(maps).all()
    assert (maps[inside] != places.FLOOR).all(), "the last rows and columns are judged too"
    evidence = detector.detect(part)
    assert evidence.heatmap.shape == (1, *shape)


def test_what_lies_beside_the_patient_is_not_looked_at(chest, monkeypatch):
    sizes = []
    run = trace._run
    monkeypatch.setattr(trace, "_run", lambda session, seen: sizes.append(seen.shape[1:]) or run(session, seen))
    air = np.pad(chest.voxels[:1], ((0, 0), (0, 0), (64, 128)), constant_values=-1000.0)
    wide = replace(chest.slab(0, 1), voxels=air)
    detector = TraceDetector(CARD, threads=1)
    alone, beside = (detector.detect(volume) for volume in (chest.slab(0, 1), wide))
    assert sizes[1][1] < wide.shape[2] - 100
    assert beside.score == pytest.approx(alone.score, abs=0.5), "the box may lie otherwise by some pixels"
    assert (beside.heatmap[..., :40] == places.FLOOR).all()


def test_slices_without_a_patient_are_not_looked_at(chest):
    voxels = np.concatenate([np.full_like(chest.voxels[:1], -1000.0), chest.voxels])
    ticks = []
    detector = TraceDetector(CARD, threads=1, tick=lambda done, total: ticks.append((done, total)))
    found = detector.detect(replace(chest, voxels=voxels))
    assert found.slice_scores[0] == places.FLOOR
    assert min(found.slice_scores[1:]) > places.FLOOR
    assert ticks == [(1, 2), (2, 2)]


def test_a_slice_scores_the_same_alone_and_among_others(chest):
    detector = TraceDetector(CARD, threads=1)
    together = detector.detect(chest).slice_scores
    alone = [detector.detect(chest.slab(k, k + 1)).score for k in range(2)]
    assert alone == pytest.approx(list(together), abs=1e-4)


def test_the_network_opens_only_when_it_is_needed(tmp_path, chest):
    detector = TraceDetector(replace(CARD, folder=tmp_path))
    assert detector.detect(phantom.radiograph((256, 256))).score is None
    with pytest.raises(WeightsError, match="cannot read the weights"):
        detector.detect(chest)


def test_it_bears_the_name_of_its_card():
    assert TraceDetector(CARD).name == CARD.name
    assert isinstance(detectors.from_card(CARD), TraceDetector)


def test_a_network_that_answers_with_another_shape_is_no_traceback(chest, monkeypatch):
    card = next(card for card in detectors.packaged_cards() if card.name == "ct-fast")
    monkeypatch.setattr("tamperscope.detectors.trace._run", lambda _session, seen: seen[None, :1])
    with pytest.raises(WeightsError, match="answers with the shape"):
        TraceDetector(card, threads=1).detect(chest)
