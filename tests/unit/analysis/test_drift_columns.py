import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike
from scipy import stats

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis.drift import DriftGate, chi2_homogeneity, compare_columns, ks_distance, psi

RNG = np.random.default_rng(1)
CALM = RNG.normal(size=5000)


def reason(reference: ArrayLike, current: ArrayLike) -> str:
    return compare_columns({"x": reference}, {"x": current}).columns[0].reason


def drifted(reference: ArrayLike, current: ArrayLike) -> bool:
    return bool(compare_columns({"x": reference}, {"x": current}).drifted)


def test_the_same_law_does_not_drift() -> None:
    assert not drifted(CALM, RNG.normal(size=3000))


def test_a_shift_drifts_and_says_how_far() -> None:
    assert reason(CALM, RNG.normal(0.5, 1, 3000)).startswith("ks distance 0.")
    assert drifted(CALM, RNG.normal(0.5, 1, 3000))


def test_a_difference_that_is_certain_but_small_does_not_drift() -> None:
    reference, current = RNG.normal(size=100_000), RNG.normal(0.05, 1, 100_000)
    found = compare_columns({"x": reference}, {"x": current}).columns[0]
    assert found.q < 1e-6
    assert not found.is_drifted


def test_a_difference_that_is_large_but_uncertain_does_not_drift() -> None:
    found = compare_columns({"x": np.arange(120.0)}, {"x": np.arange(120.0) + 12}).columns[0]
    assert found.effect >= 0.1
    assert not found.is_drifted


def test_a_category_that_changes_its_share_drifts() -> None:
    assert drifted(np.repeat(["a", "b"], [700, 300]), np.repeat(["a", "b"], [400, 600]))


def test_the_order_of_categories_does_not_matter() -> None:
    assert not drifted(np.repeat(["a", "b"], [700, 300]), np.repeat(["b", "a"], [300, 700]))


def test_a_small_reference_is_not_taken_for_the_truth() -> None:
    """A goodness-of-fit test against the reference's shares would reject; both samples come from one law."""
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(200):
        reference, current = (rng.choice(["a", "b", "c"], size, p=[0.6, 0.3, 0.1]) for size in (150, 20_000))
        alarms += (
            chi2_homogeneity(*(np.unique(side, return_counts=True)[1] for side in (reference, current)))[1] <= 0.05
        )
    assert stats.binomtest(alarms, 200, 0.05, alternative="greater").pvalue > 0.001


def test_a_category_that_was_never_seen_is_named() -> None:
    current = np.repeat(["a", "b", "new"], [500, 400, 100])
    assert "10% of rows hold a category that the reference lacks" in reason(np.repeat(["a", "b"], [600, 400]), current)


def test_ids_that_are_new_in_every_sample_do_not_drift() -> None:
    reference, current = (np.array([f"user-{side}-{n}" for n in range(1000)]) for side in ("a", "b"))
    assert not drifted(reference, current)


def test_nullable_numbers_of_pandas_are_numbers() -> None:
    reference = pd.Series(range(500), dtype="Int64")
    current = reference.where(reference > 100)
    found = compare_columns({"x": reference.to_numpy(dtype=object)}, {"x": current.to_numpy(dtype=object)}).columns[0]
    assert (found.kind, found.missing_current) == ("number", pytest.approx(101 / 500))


def test_times_and_infinities_are_numbers() -> None:
    times = np.arange("2026-01-01", "2026-07-01", dtype="datetime64[D]")
    huge = np.append(CALM, [np.inf] * 3000)
    result = compare_columns({"t": times, "x": huge}, {"t": times, "x": huge})
    assert [each.kind for each in result.columns] == ["number", "number"]
    assert result.drifted == ()


def test_missing_values_that_appear_are_named() -> None:
    current = CALM.copy()
    current[::4] = np.nan
    assert reason(CALM, current) == "missing 0% → 25%"


def test_none_among_categories_is_missing() -> None:
    found = compare_columns({"x": np.array(["a", None] * 200)}, {"x": np.array(["a", "a"] * 200)}).columns[0]
    assert (found.missing_reference, found.missing_current) == (0.5, 0.0)


def test_a_column_that_is_all_missing_is_not_tested_but_drifts() -> None:
    found = compare_columns({"x": CALM}, {"x": np.full(500, np.nan)}).columns[0]
    assert found.method == "none"
    assert found.is_drifted


def test_a_constant_column_does_not_drift() -> None:
    assert not drifted(np.ones(500), np.ones(300))
    assert not drifted(np.repeat("a", 500), np.repeat("a", 300))


def test_booleans_and_integers_are_tested() -> None:
    result = compare_columns(
        {"flag": np.arange(1000) % 2 == 0, "count": np.arange(1000) % 7},
        {"flag": np.arange(1000) % 10 == 0, "count": np.arange(1000) % 3},
    )
    assert [each.method for each in result.columns] == ["chi2", "ks"]
    assert result.drifted == ("flag", "count")


def test_few_rows_are_not_tested() -> None:
    result = compare_columns({"x": CALM}, {"x": CALM[:50] + 10})
    assert (result.untested, result.drifted) == (("x",), ())


def test_columns_that_only_one_side_has_are_named() -> None:
    result = compare_columns({"a": CALM, "b": CALM}, {"b": CALM, "c": CALM})
    assert (result.absent, result.unexpected) == (("a",), ("c",))


def test_no_common_column_gives_an_empty_result() -> None:
    assert compare_columns({}, {"a": CALM}).columns == ()


def test_a_table_is_refused_as_a_column() -> None:
    with pytest.raises(ConfigError, match="one dimension"):
        compare_columns({"x": CALM}, {"x": CALM.reshape(50, 100)})


def test_many_calm_columns_give_no_false_discovery() -> None:
    rng = np.random.default_rng(9)
    names = [f"x{number}" for number in range(100)]
    reference, current = ({name: rng.normal(size=2000) for name in names} for _ in range(2))
    assert compare_columns(reference, current, gate=DriftGate(effect=0.0)).drifted == ()


def test_q_values_grow_with_the_number_of_columns() -> None:
    moved = CALM[:1000] + 0.15
    alone = compare_columns({"x": CALM}, {"x": moved}).columns[0].q
    calm = {f"y{number}": CALM for number in range(20)}
    among = compare_columns({"x": CALM, **calm}, {"x": moved, **calm}).columns[0].q
    assert among == pytest.approx(21 * alone)


def test_statistics_are_those_of_scipy() -> None:
    x, y = RNG.normal(size=300), RNG.normal(0.2, 1, 400)
    expected = stats.ks_2samp(x, y, method="asymp")
    assert ks_distance(x, y) == pytest.approx((expected.statistic, expected.pvalue))
    table = [[30, 50, 20], [60, 90, 50]]
    assert chi2_homogeneity(*table)[1] == pytest.approx(stats.chi2_contingency(table).pvalue)


def test_psi_is_symmetric_and_zero_for_the_same_shares() -> None:
    assert psi([10, 20, 70], [100, 200, 700]) == pytest.approx(0.0)
    assert psi([10, 90], [40, 60]) == pytest.approx(psi([40, 60], [10, 90]))


def test_psi_of_an_empty_bin_is_finite() -> None:
    assert 0.5 < psi([50, 50], [100, 0]) < 10
