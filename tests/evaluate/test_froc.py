from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamperscope.errors import InputError, UsageError
from tamperscope.evaluate.froc import (
    RATES,
    Froc,
    Mark,
    Scan,
    average_precision,
    froc,
    lesions_hit,
    mean_sensitivity,
    sensitivities_at,
)

FORGED = Scan((Mark(0.9, 0), Mark(0.8), Mark(0.7, 1), Mark(0.3, 0)), lesions=3)
AUTHENTIC = Scan((Mark(0.95), Mark(0.1)), lesions=0)
CLEAN = Scan((), lesions=0)

marks = st.builds(Mark, st.integers(0, 3) | st.floats(0, 1), st.none() | st.integers(0, 1))
scans = st.lists(st.builds(Scan, st.lists(marks, max_size=5).map(tuple), st.just(2)), max_size=5)


def test_the_curve_counted_by_hand():
    curve = froc([FORGED, AUTHENTIC])
    assert list(curve.thresholds) == [np.inf, 0.95, 0.9, 0.8, 0.7, 0.1]
    assert curve.false_marks == pytest.approx([0.0, 0.5, 0.5, 1.0, 1.0, 1.5])
    assert curve.sensitivities == pytest.approx([0.0, 0.0, 1 / 3, 1 / 3, 2 / 3, 2 / 3])


def test_authentic_scans_count_in_the_number_of_scans():
    assert froc([FORGED, AUTHENTIC, CLEAN, CLEAN]).false_marks[-1] == pytest.approx(3 / 4)


def test_a_second_mark_on_a_lesion_is_neither_hit_nor_false():
    twice = froc([Scan((Mark(0.2, 0), Mark(0.6, 0), Mark(0.4, 0)), lesions=1)])
    assert list(twice.thresholds) == [np.inf, 0.6]
    assert list(twice.sensitivities) == [0.0, 1.0]
    assert list(twice.false_marks) == [0.0, 0.0]


def test_the_same_index_in_two_scans_is_two_lesions():
    assert froc([Scan((Mark(0.5, 0),), 1), Scan((Mark(0.5, 0),), 1)]).sensitivities[-1] == 1.0
    assert froc([Scan((Mark(0.5, 0),), 1), Scan((), 1)]).sensitivities[-1] == 0.5


def test_sensitivities_are_read_without_interpolation():
    curve = froc([FORGED, AUTHENTIC])
    assert sensitivities_at(curve) == pytest.approx((0.0, 0.0, 1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3))
    assert mean_sensitivity(curve) == pytest.approx((1 / 3 + 4 * 2 / 3) / 7)
    assert sensitivities_at(curve, [0.99]) == pytest.approx([1 / 3])
    assert sensitivities_at(curve, []) == ()


def test_a_detector_without_false_marks_is_perfect_everywhere():
    assert mean_sensitivity(froc([Scan((Mark(0.4, 0),), 1), CLEAN])) == 1.0
    assert mean_sensitivity(froc([Scan((), 1), CLEAN])) == 0.0


def test_nothing_is_not_a_number():
    assert np.isnan(sensitivities_at(froc([]))).all()
    assert np.isnan(mean_sensitivity(froc([])))
    assert np.isnan(mean_sensitivity(froc([AUTHENTIC])))
    assert froc([AUTHENTIC]).false_marks[-1] == 2.0


@settings(deadline=None)
@given(scans)
def test_the_curve_says_what_each_threshold_says(many):
    curve = froc(many)
    for threshold, false, found in zip(curve.thresholds, curve.false_marks, curve.sensitivities, strict=True):
        kept = [(n, m.lesion) for n, scan in enumerate(many) for m in scan.marks if m.score >= threshold]
        if many:
            assert false == pytest.approx(sum(lesion is None for _, lesion in kept) / len(many))
            assert found == pytest.approx(len({one for one in kept if one[1] is not None}) / (2 * len(many)))
    if many:
        assert (np.diff(curve.false_marks) >= 0).all()
        assert list(sensitivities_at(curve)) == sorted(sensitivities_at(curve))


@pytest.mark.parametrize(
    ("distance", "radius", "hit"), [(16.0, 2.0, True), (16.1, 2.0, False), (20.0, 20.0, True), (20.1, 20.0, False)]
)
def test_a_hit_lies_within_16_mm_or_the_radius(distance, radius, hit):
    for axis in range(3):
        place = np.full(3, -50.0)
        place[axis] += distance
        assert lesions_hit([place], [[-50.0] * 3], [radius]) == (0 if hit else None,)


def test_a_mark_hits_the_nearest_lesion_that_it_reaches():
    centres, radii = [[0.0, 0.0, 0.0], [30.0, 0.0, 0.0], [30.0, 60.0, 0.0]], [40.0, 5.0, 0.0]
    places = [[12.0, 0, 0], [18.0, 0, 0], [12.0, 20.0, 0], [30.0, 35.0, 0], [30.0, 60.0, 10.0]]
    assert lesions_hit(places, centres, radii) == (0, 1, 0, None, 2)


def test_no_marks_and_no_lesions_hit_nothing():
    assert lesions_hit([], [[0.0, 0.0, 0.0]], [1.0]) == ()
    assert lesions_hit([[0.0, 0.0, 0.0]], [], []) == (None,)
    assert lesions_hit([], [], []) == ()


@pytest.mark.parametrize(
    ("places", "centres", "radii", "error"),
    [
        ([[0.0, 0.0]], [[0.0, 0.0, 0.0]], [1.0], UsageError),
        ([0.0, 0.0, 0.0], [[0.0, 0.0, 0.0]], [1.0], UsageError),
        ([[0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]], [1.0, 2.0], UsageError),
        ([[0.0, 0.0, np.nan]], [[0.0, 0.0, 0.0]], [1.0], InputError),
        ([[0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]], [-1.0], InputError),
        ([[0.0, 0.0, 0.0], [0.0]], [[0.0, 0.0, 0.0]], [1.0], InputError),
    ],
)
def test_places_that_are_none_are_refused(places, centres, radii, error):
    with pytest.raises(error):
        lesions_hit(places, centres, radii)


def test_records_that_contradict_themselves_are_refused():
    with pytest.raises(UsageError, match="lesion 1 of a scan with 1"):
        Scan((Mark(0.5, 1),), 1)
    with pytest.raises(UsageError, match="lesion 0 of a scan with 0"):
        Scan((Mark(0.5, 0),), 0)
    with pytest.raises(UsageError, match="number of lesions -1"):
        Scan((), -1)
    with pytest.raises(InputError, match="not finite"):
        Mark(np.nan)


@pytest.mark.parametrize("rate", [-1.0, np.nan])
def test_a_rate_below_nothing_is_refused(rate):
    with pytest.raises(UsageError, match="false marks per scan"):
        sensitivities_at(froc([FORGED]), [rate])


def test_the_rates_are_the_seven_of_luna16():
    assert RATES == (0.125, 0.25, 0.5, 1, 2, 4, 8)
    curve = Froc(np.array([np.inf, 3.0, 2.0, 1.0]), np.array([0.0, 0.2, 1.0, 8.0]), np.array([0.0, 0.3, 0.5, 0.9]))
    assert sensitivities_at(curve) == (0.0, 0.3, 0.3, 0.5, 0.5, 0.5, 0.9)


def test_average_precision_by_hand():
    scans = [Scan((Mark(0.9, 0), Mark(0.8, 0), Mark(0.7)), 1), Scan((Mark(0.6, 1), Mark(0.6)), 2), Scan((), 1)]
    # 0.9: one hit of one mark. 0.6: two of four, since the false one ties. Two lesions are never marked.
    assert average_precision(scans) == pytest.approx((1 + 2 / 4) / 4)
    assert np.isnan(average_precision([Scan((Mark(0.3),), 0)]))
    assert average_precision([Scan((Mark(0.3),), 0), Scan((), 1)]) == 0.0
