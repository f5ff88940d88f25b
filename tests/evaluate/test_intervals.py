from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamperscope.errors import InputError, UsageError
from tamperscope.evaluate.intervals import Interval, bootstrap, delong, delong_test, holm, paired_bootstrap
from tamperscope.evaluate.metrics import auroc

models = st.integers(1, 3).flatmap(
    lambda k: st.tuples(
        *[
            st.integers(2, 6).flatmap(
                lambda n: st.lists(st.lists(st.integers(-3, 3), min_size=n, max_size=n), min_size=k, max_size=k)
            )
        ]
        * 2
    )
)


def mean_of(values):
    return lambda rows: float(values[rows].mean())


def test_the_interval_of_two_patients_is_known():
    values = np.array([0.0, 0.0, 0.0, 1.0])  # two patients: 0 and 1 drawn twice with chance 1/4 each
    found = bootstrap(mean_of(values), ["a", "a", "a", "b"], np.random.default_rng(0))
    assert found == Interval(0.0, 1.0, 0)
    seen = set()
    bootstrap(lambda rows: seen.add(tuple(rows)) or 0.0, ["a", "a", "a", "b"], np.random.default_rng(0))
    assert seen == {(0, 1, 2, 0, 1, 2), (0, 1, 2, 3), (3, 0, 1, 2), (3, 3)}, "patients are drawn whole"


def test_rows_of_a_patient_need_not_stand_together():
    values = np.arange(4.0)
    apart = bootstrap(mean_of(values), ["a", "b", "a", "b"], np.random.default_rng(0))
    assert (apart.low, apart.high) == (1.0, 2.0)


def test_the_same_generator_gives_the_same_interval_whatever_patients_are_called():
    values, groups = np.random.default_rng(0).normal(size=20), np.arange(20) // 2
    first = bootstrap(mean_of(values), list(groups), np.random.default_rng(1), 50)
    assert first == bootstrap(mean_of(values), [f"patient {-n}" for n in groups], np.random.default_rng(1), 50)
    assert first.low < values.mean() < first.high


def test_a_higher_level_gives_a_longer_interval():
    values = np.random.default_rng(0).normal(size=20)
    short, long = (bootstrap(mean_of(values), range(20), np.random.default_rng(1), level=p) for p in (0.5, 0.95))
    assert long.low < short.low < short.high < long.high


def test_degenerate_resamples_are_dropped_and_counted():
    forged = np.array([True, False])

    def statistic(rows):
        return auroc(rows[forged[rows]], rows[~forged[rows]])

    found = bootstrap(statistic, ["a", "b"], np.random.default_rng(0), 400)
    assert (found.low, found.high) == (0.0, 0.0)
    assert found.dropped == pytest.approx(200, abs=40), "a resample of one patient has one class"
    nothing = bootstrap(lambda _: np.nan, ["a", "b"], np.random.default_rng(0), 9)
    assert np.isnan([nothing.low, nothing.high]).all()
    assert nothing.dropped == 9


@pytest.mark.parametrize("groups", [[], ["a"], ["a", "a", "a"]])
def test_fewer_than_two_patients_have_no_interval(groups):
    values = np.ones(3)
    found = bootstrap(mean_of(values), groups, np.random.default_rng(0))
    assert np.isnan([found.low, found.high]).all()
    pair = paired_bootstrap(mean_of(values), mean_of(values * 3), groups, np.random.default_rng(0))
    assert np.isnan([pair.low, pair.high, pair.p_value]).all()
    assert pair.estimate == pytest.approx(-2.0 if groups else np.nan, nan_ok=True)


def test_settings_outside_their_range_are_refused():
    for options in ({"count": 0}, {"level": 1.0}, {"level": 95}, {"level": np.nan}):
        with pytest.raises(UsageError):
            bootstrap(lambda _: 0.0, ["a", "b"], np.random.default_rng(0), **options)
        with pytest.raises(UsageError):
            paired_bootstrap(lambda _: 0.0, lambda _: 0.0, [], np.random.default_rng(0), **options)


def test_a_table_of_groups_is_refused():
    with pytest.raises(UsageError, match="a group of type ndarray"):
        bootstrap(lambda _: 0.0, np.zeros((3, 2)), np.random.default_rng(0))


def coverage(interval, runs: int = 200) -> float:
    """How often the interval of 30 patients with four alike scans each holds the true mean, 0."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(runs):
        values = np.repeat(rng.normal(size=30), 4) + 0.3 * rng.normal(size=120)
        found = interval(values, rng)
        held += found.low <= 0.0 <= found.high
    return held / runs


def test_intervals_over_patients_hold_the_truth_and_intervals_over_scans_do_not():
    patients = list(np.arange(120) // 4)
    assert 0.90 <= coverage(lambda v, rng: bootstrap(mean_of(v), patients, rng, 150)) <= 0.98
    assert coverage(lambda v, rng: bootstrap(mean_of(v), range(120), rng, 150)) < 0.8


def test_the_paired_difference_is_shorter_than_two_intervals():
    rng = np.random.default_rng(0)
    first = rng.normal(size=40)
    second = first - 0.2 + 0.1 * rng.normal(size=40)
    found = paired_bootstrap(mean_of(first), mean_of(second), range(40), np.random.default_rng(1))
    alone = bootstrap(mean_of(first), range(40), np.random.default_rng(1))
    assert found.estimate == pytest.approx((first - second).mean())
    assert 0.0 < found.low < found.estimate < found.high
    assert found.high - found.low < 0.3 * (alone.high - alone.low)
    assert found.p_value == pytest.approx(2 / 1001)


def test_a_model_does_not_differ_from_itself():
    statistic = mean_of(np.arange(9.0))
    found = paired_bootstrap(statistic, statistic, range(9), np.random.default_rng(0), 100)
    assert (found.estimate, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_swapping_the_models_mirrors_the_difference():
    rng = np.random.default_rng(0)
    first, second = (mean_of(rng.normal(size=15)) for _ in range(2))
    one, other = (
        paired_bootstrap(*pair, range(15), np.random.default_rng(1)) for pair in ((first, second), (second, first))
    )
    assert (one.estimate, one.low, one.high) == pytest.approx((-other.estimate, -other.high, -other.low))
    assert one.p_value == other.p_value


def test_the_bootstrap_p_value_is_spread_evenly_where_models_are_alike():
    rng = np.random.default_rng(3)
    found = []
    for _ in range(200):
        values = rng.normal(size=(2, 40))
        found.append(paired_bootstrap(mean_of(values[0]), mean_of(values[1]), range(40), rng, 100).p_value)
    assert np.mean(np.array(found) <= 0.1) == pytest.approx(0.1, abs=0.05)
    assert np.mean(np.array(found) <= 0.5) == pytest.approx(0.5, abs=0.1)


def by_definition(positives, negatives):
    """DeLong et al. 1988, equations 3 to 5, by all pairs."""
    psi = [np.greater.outer(p, n) + 0.5 * np.equal.outer(p, n) for p, n in zip(positives, negatives, strict=True)]
    above, below = (np.array([one.mean(axis=axis) for one in psi]) for axis in (1, 0))
    s10, s01 = (np.atleast_2d(np.cov(parts)) for parts in (above, below))
    return above.mean(axis=1), s10 / above.shape[1] + s01 / below.shape[1]


@settings(deadline=None)
@given(models)
def test_delong_is_its_definition(sides):
    positives, negatives = (np.array(side, float) for side in sides)
    found, (aurocs, covariance) = delong(positives, negatives), by_definition(positives, negatives)
    assert found.aurocs == pytest.approx(aurocs)
    assert found.aurocs == pytest.approx([auroc(p, n) for p, n in zip(positives, negatives, strict=True)])
    assert found.covariance == pytest.approx(covariance, abs=1e-12)


def test_delong_counted_by_hand():
    found = delong([[3.0, 1.0]], [[2.0, 0.0]])  # above: 1 and 1/2 of the negatives; below: 1/2 and 1 of the positives
    assert found.aurocs == pytest.approx([0.75])
    assert found.covariance == pytest.approx(np.array([[0.125 / 2 + 0.125 / 2]]))


def test_delong_gives_the_interval_that_another_implementation_publishes():
    truth = np.array([0, 0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1])  # example of the Python package pauc: 0.708 (0.378, 1.000)
    score = np.array([0.1, 0.35, 0.24, 0.8, 0.2, 0.85, 0.13, 0.85, 0.74, 0.58, 0.71, 0.25])
    found = delong([score[truth == 1]], [score[truth == 0]])
    assert found.aurocs[0] == pytest.approx(0.708, abs=5e-4)
    assert found.aurocs[0] - 1.959964 * np.sqrt(found.covariance[0, 0]) == pytest.approx(0.378, abs=5e-4)


def test_delong_without_enough_cases_is_not_a_number():
    alone = delong([[1.0]], [[0.0, 2.0]])
    assert alone.aurocs == pytest.approx([0.5])
    assert np.isnan(alone.covariance).all()
    empty = delong([[], []], [[1.0], [2.0]])
    assert np.isnan(empty.aurocs).all()
    assert empty.covariance.shape == (2, 2)
    found = delong_test([[], []], [[1.0], [2.0]])
    assert np.isnan([found.estimate, found.low, found.high, found.p_value]).all()


def test_delong_sees_no_difference_between_models_that_rank_alike():
    scores = np.random.default_rng(0).normal(size=(2, 30))
    scores[1] = np.exp(scores[0])
    found = delong_test(scores[:, :15], scores[:, 15:])
    assert (found.estimate, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_a_difference_without_variance_has_no_p_value():
    found = delong_test([[2.0, 3.0], [0.0, 1.0]], [[0.0, 1.0], [2.0, 3.0]])
    assert found.estimate == 1.0
    assert np.isnan([found.low, found.high, found.p_value]).all()


@settings(deadline=None)
@given(models)
def test_the_test_rests_on_the_covariance(sides):
    positives, negatives = (np.array(side * 2, float)[:2] for side in sides)
    found, covariance = delong_test(positives, negatives), delong(positives, negatives).covariance
    error = np.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0))
    if not np.isnan(found.low):
        assert (found.high - found.low) / 2 == pytest.approx(1.959964 * error, abs=1e-6)
        assert 0.0 <= found.p_value <= 1.0
    else:
        assert error == pytest.approx(0.0, abs=1e-6)
        assert found.estimate != 0.0


def test_delong_finds_a_real_difference():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(2, 200))
    noisy = shared + np.array([[0.3], [2.0]]) * rng.normal(size=(2, 200)) + 1.0
    found = delong_test(noisy, rng.normal(size=(2, 200)))
    assert found.low < found.estimate < found.high
    assert found.p_value < 0.05


def test_delong_holds_its_level_and_its_interval_holds_the_truth():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        shared = rng.normal(size=(1, 80))  # two models that err alike, AUROC about 0.76 each
        scores = shared + rng.normal(size=(2, 80))
        scores[:, :40] += 1.4
        found.append(delong_test(scores[:, :40], scores[:, 40:]))
    assert np.mean([one.low <= 0.0 <= one.high for one in found]) == pytest.approx(0.95, abs=0.03)
    assert np.mean([one.p_value <= 0.05 for one in found]) == pytest.approx(0.05, abs=0.03)


def test_delong_and_the_bootstrap_agree():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 120))
    scores[0, :60] += 1.5
    scores[1, :60] += 0.8

    def area(model):
        return lambda rows: auroc(scores[model][rows[rows < 60]], scores[model][rows[rows >= 60]])

    drawn = paired_bootstrap(area(0), area(1), range(120), np.random.default_rng(1), 500)
    formula = delong_test(scores[:, :60], scores[:, 60:])
    assert drawn.estimate == pytest.approx(formula.estimate)
    assert drawn.high - drawn.low == pytest.approx(formula.high - formula.low, rel=0.1)


def test_other_numbers_of_models_are_refused():
    with pytest.raises(UsageError, match="1 models on forged cases, 2"):
        delong([[1.0]], [[0.0], [1.0]])
    with pytest.raises(UsageError, match="3 models"):
        delong_test([[1.0, 2.0]] * 3, [[0.0, 1.0]] * 3)
    with pytest.raises(UsageError, match="level"):
        delong_test([[1.0]] * 2, [[0.0]] * 2, level=0.0)


def test_holm_corrected_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9, 0.6]) == pytest.approx([1.0, 1.0, 1.0])
    assert holm([0.02]) == pytest.approx([0.02])
    assert holm([]).shape == (0,)


def test_a_test_that_could_not_be_carried_out_still_counts():
    assert holm([0.01, np.nan, 0.02]) == pytest.approx([0.03, np.nan, 0.04], nan_ok=True)
    assert np.isnan(holm([np.nan, np.nan])).all()


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.sampled_from([0.05, 0.2]))
def test_holm_rejects_step_by_step(p_values, level):
    order, rejected = np.argsort(p_values, kind="stable"), set()
    for step, n in enumerate(order):
        if p_values[n] * (len(p_values) - step) > level:
            break
        rejected.add(int(n))
    assert {int(n) for n in np.flatnonzero(holm(p_values) <= level)} == rejected


@pytest.mark.parametrize("p_values", [[-0.1], [1.1], [np.inf], ["a"]])
def test_what_is_no_p_value_is_refused(p_values):
    with pytest.raises(InputError):
        holm(p_values)


def test_tables_of_p_values_are_refused():
    with pytest.raises(UsageError, match="shape"):
        holm([[0.1, 0.2]])
