from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.calibrate import Calibration, Tail
from tamperscope.records import Evidence, Volume
from tamperscope.verdict import MAX_REGIONS, Policy, decide, regions

CALIBRATION = Calibration(Tail(0.0, 0.05, 1.0), 1.5, -2.0, ((0.1, 0.3), (0.01, 0.5)))
POLICY = Policy()
SUSPICIOUS = CALIBRATION.operating_point(0.01).threshold
CLEAR = CALIBRATION.operating_point(0.10).threshold
SHAPE = (6, 40, 50)


@pytest.fixture(scope="module")
def volume() -> Volume:
    return phantom.chest(SHAPE, (2.5, 0.8, 0.7))


def blank() -> np.ndarray:
    return np.zeros(SHAPE, dtype=np.float32)


def below(value: float) -> float:
    return float(np.nextafter(np.float32(value), np.float32(0)))


def judge(volume, probability, heatmap=None, **changes):
    evidence = Evidence("d", 1.0, probability, heatmap, **changes)
    return decide(volume, [evidence, Evidence("other", 9.0, 1.0)], CALIBRATION, POLICY)


@pytest.mark.parametrize(
    ("probability", "label"),
    [
        (1.0, "suspicious"),
        (SUSPICIOUS, "suspicious"),
        (below(SUSPICIOUS), "inconclusive"),
        (CLEAR, "inconclusive"),
        (below(CLEAR), "no_evidence"),
        (0.0, "no_evidence"),
    ],
)
def test_there_are_three_answers_with_two_borders(volume, probability, label):
    answer = judge(volume, probability, reasons=("said by the detector",))
    assert answer.label == label
    assert answer.probability == probability
    assert answer.operating_point == CALIBRATION.operating_point(0.01)
    assert answer.regions == ()
    assert len(answer.reasons) == 2
    assert answer.reasons[1] == "said by the detector"
    assert len(answer.reasons[0].split()) > 8


@pytest.mark.parametrize(
    ("probability", "label"), [(1.0, "suspicious"), (CLEAR, "inconclusive"), (0.0, "inconclusive")]
)
def test_what_hides_forgeries_forbids_to_clear_and_nothing_else(volume, probability, label):
    answer = judge(volume, probability, cautions=("the finest detail is gone",))
    assert (answer.label, answer.probability) == (label, probability)
    assert "the finest detail is gone" in answer.reasons
    assert any("would be missed here" in reason for reason in answer.reasons) == (probability == 0.0)


def test_the_words_say_what_the_answer_rests_on(volume):
    heatmap = blank()
    heatmap[2, 10:14, 10:14] = 0.99
    assert judge(volume, 0.99, heatmap).reasons[0].startswith("1 place differs")
    heatmap[2, 30:34, 10:14] = 0.99
    assert judge(volume, 0.99, heatmap).reasons[0].startswith("2 places differ")
    assert "1.0% of authentic" in judge(volume, 0.99, heatmap).reasons[0]
    assert "too little to accuse, too much to clear" in judge(volume, CLEAR).reasons[0]
    assert "a forgery can be missed, as 30% of simulated forgeries are" in judge(volume, 0.0).reasons[0]


def test_only_the_first_member_decides(volume):
    answer = decide(volume, [Evidence("a", 0.1, 0.0), Evidence("b", 9.0, 1.0)], CALIBRATION, POLICY)
    assert answer.label == "no_evidence"


def test_no_detector_or_no_score_is_inconclusive_never_clear(volume):
    for answer in (decide(volume, [], CALIBRATION, POLICY), decide(volume, [Evidence("a", 1.0, 1.0)], None, POLICY)):
        assert (answer.label, answer.probability, answer.operating_point) == ("inconclusive", None, None)
        assert answer.reasons == ("no model is installed",)
    silent = decide(
        volume, [Evidence("a", None, reasons=("too dark here",)), Evidence("b", 9.0, 1.0)], CALIBRATION, POLICY
    )
    assert (silent.label, silent.probability, silent.reasons) == ("inconclusive", None, ("too dark here",))


def test_an_inconclusive_series_shows_its_place_and_a_clear_one_none(volume):
    heatmap = blank()
    heatmap[1, 5:9, 5:9] = CLEAR
    assert len(judge(volume, CLEAR, heatmap).regions) == 1
    heatmap[...] = below(CLEAR)
    assert judge(volume, below(CLEAR), heatmap).regions == ()


def test_another_policy_moves_the_borders(volume):
    strict = Policy(suspicious_at=0.001)
    evidence = [Evidence("d", 1.0, SUSPICIOUS)]
    assert decide(volume, evidence, CALIBRATION, POLICY).label == "suspicious"
    assert decide(volume, evidence, CALIBRATION, strict).label == "inconclusive"
    assert decide(volume, evidence, CALIBRATION, strict).operating_point.false_positive_rate == 0.001


# --- regions ---


def test_nothing_above_the_threshold_is_no_region(volume):
    assert regions(volume, None, 0.5, 0.5) == ()
    assert regions(volume, blank(), 0.5, 0.5) == ()
    assert regions(volume, blank() + np.float32(0.49), 0.5, 0.5) == (), "growth alone starts no region"


def test_two_blobs_are_two_regions_the_stronger_first(volume):
    heatmap = blank()
    heatmap[1, 4:9, 6:13] = 0.7
    heatmap[4, 20:31, 30:35] = 0.9
    strong, weak = regions(volume, heatmap, 0.5, 0.5)
    assert (strong.score, weak.score) == pytest.approx((0.9, 0.7))
    assert strong.centre_index == (4, 25, 32)
    assert strong.box_index == ((4, 20, 30), (4, 30, 34)), "first and last voxel, both inside"
    assert strong.diameter_mm == pytest.approx(11 * 0.8)
    assert weak.centre_index == (1, 6, 9)
    assert weak.box_index == ((1, 4, 6), (1, 8, 12))
    assert weak.diameter_mm == pytest.approx(7 * 0.7)
    assert strong.centre_mm == pytest.approx(volume.position_mm((4, 25, 32)))


def test_a_blob_through_slices_is_one_region(volume):
    heatmap = blank()
    for k in range(1, 5):
        heatmap[k, 10 + k : 14 + k, 20:24] = 0.6 + k / 20
    (one,) = regions(volume, heatmap, 0.5, 0.5)
    assert one.box_index == ((1, 11, 20), (4, 17, 23))
    assert one.score == pytest.approx(0.8)
    heatmap[2] = 0.0
    assert len(regions(volume, heatmap, 0.5, 0.5)) == 2, "a slice between them parts them"


def test_a_region_grows_to_the_weaker_places_that_touch_it(volume):
    heatmap = blank()
    heatmap[2, 10:20, 10:20] = 0.3
    heatmap[2, 14, 14] = 0.6
    heatmap[2, 30:35, 30:35] = 0.3
    (grown,) = regions(volume, heatmap, 0.5, 0.5)
    assert grown.box_index == ((2, 10, 10), (2, 19, 19))
    assert grown.score == pytest.approx(0.6)
    (narrow,) = regions(volume, heatmap, 0.5, 0.9)
    assert narrow.box_index == ((2, 14, 14), (2, 14, 14))


def test_neighbours_across_a_corner_touch(volume):
    heatmap = blank()
    heatmap[2, 10, 10] = heatmap[3, 11, 11] = 0.9
    assert len(regions(volume, heatmap, 0.5, 0.5)) == 1


def test_the_box_of_one_region_takes_nothing_from_another_inside_it(volume):
    heatmap = blank()
    heatmap[2, 10:31, 10] = heatmap[2, 10:31, 30] = heatmap[2, 10, 10:31] = 0.7
    heatmap[2, 25:28, 18:21] = 0.9
    inner, frame = regions(volume, heatmap, 0.5, 0.5)
    assert inner.box_index == ((2, 25, 18), (2, 27, 20))
    assert frame.box_index == ((2, 10, 10), (2, 30, 30))
    assert inner.mask.shape == (1, 3, 3)
    assert inner.mask.all()
    assert np.array_equal(frame.mask[0], heatmap[2, 10:31, 10:31] == np.float32(0.7)), "not the one inside"
    assert frame.score == pytest.approx(0.7)


@pytest.mark.parametrize("corner", [(0, 0, 0), (5, 39, 49), (0, 39, 0), (5, 0, 49)])
def test_a_region_in_the_corner_stays_inside(volume, corner):
    heatmap = blank()
    part = tuple(slice(max(c - 1, 0), c + 2) for c in corner)
    heatmap[part] = 0.6
    heatmap[corner] = 0.8
    (found,) = regions(volume, heatmap, 0.5, 0.5)
    first, last = found.box_index
    assert first == tuple(max(c - 1, 0) for c in corner)
    assert last == tuple(min(c + 1, n - 1) for c, n in zip(corner, SHAPE, strict=True))
    assert all(a <= c <= b for a, c, b in zip(first, found.centre_index, last, strict=True))
    assert found.score == pytest.approx(0.8)


def test_a_map_that_is_suspicious_everywhere_is_one_region_of_the_whole_volume(volume):
    (found,) = regions(volume, blank() + np.float32(0.9), 0.5, 0.5)
    assert found.box_index == ((0, 0, 0), (5, 39, 49))


def test_only_the_strongest_are_listed(volume):
    heatmap = blank()
    heatmap[2, ::3, ::3] = np.linspace(0.6, 0.99, heatmap[2, ::3, ::3].size).reshape(heatmap[2, ::3, ::3].shape)
    found = regions(volume, heatmap, 0.5, 0.9)
    assert len(found) == MAX_REGIONS
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert found[0].score == pytest.approx(0.99)


def test_centres_follow_an_oblique_affine(volume):
    turn = np.deg2rad(30.0)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.array([[0, 0, 0.7], [0, 0.8, 0], [2.5, 0, 0]])
    affine[:3, 3] = 11.0, -22.0, 33.0
    heatmap = blank()
    heatmap[3, 8:11, 18:21] = 0.9
    (found,) = regions(replace(volume, affine=affine), heatmap, 0.5, 0.5)
    expected = rotation @ np.array([19 * 0.7, 9 * 0.8, 3 * 2.5]) + [11.0, -22.0, 33.0]
    assert found.centre_mm == pytest.approx(tuple(expected))
    assert found.diameter_mm == pytest.approx(2.4, abs=0.01), "sizes do not depend on the direction"


@pytest.mark.parametrize(
    ("geometry", "placed", "sized"), [("patient", True, True), ("spacing", False, True), ("none", False, False)]
)
def test_what_the_series_does_not_state_is_none(volume, geometry, placed, sized):
    heatmap = blank()
    heatmap[3, 8:11, 18:21] = 0.9
    (found,) = regions(replace(volume, geometry=geometry), heatmap, 0.5, 0.5)
    assert (found.centre_mm is not None, found.diameter_mm is not None) == (placed, sized)


def test_records_hold_plain_numbers(volume):
    heatmap = blank()
    heatmap[3, 8:11, 18:21] = 0.9
    (found,) = regions(volume, heatmap, 0.5, 0.5)
    assert all(type(v) is int for v in (*found.centre_index, *found.box_index[0], *found.box_index[1]))
    assert all(type(v) is float for v in (*found.centre_mm, found.diameter_mm, found.score))


def test_deciding_changes_nothing(volume):
    heatmap = blank()
    heatmap[3, 8:11, 18:21] = 0.99
    before = heatmap.copy()
    first, again = judge(volume, 0.99, heatmap), judge(volume, 0.99, heatmap)
    assert first == again
    assert np.array_equal(heatmap, before)
