"""Numbers that others published, or that other libraries give, beside ours."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower, TTestIndPower
from statsmodels.stats.proportion import proportion_effectsize, samplesize_proportions_2indep_onetail

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis import means, paired, srm
from pipelines.analysis.arms import Metric, metric
from pipelines.analysis.bayes import Posterior, compare_posteriors
from pipelines.analysis.gates import MeanGate
from pipelines.analysis.metrics import adjusted, compare_mean, estimate
from pipelines.analysis.multiple import dunnett, holm, q_values, split_alpha
from pipelines.analysis.power import Change, most_after_none, needed, users_for_mean, users_per_arm
from pipelines.analysis.verdict import Failed, Inconclusive, Successful


def test_best_rho_is_that_of_confseq() -> None:
    assert means.best_rho(100, 0.05) == pytest.approx(12.60056, abs=5e-6)


def test_normal_mixture_is_narrowest_where_it_was_tuned() -> None:
    widths = [float(means.normal_mixture_bound(100, rho=rho, alpha=0.05)) for rho in (4.0, 12.60056, 40.0)]
    assert widths[1] == min(widths)


def test_the_asymptotic_interval_is_the_mixture_for_one_mean() -> None:
    """With unit variance the half width times n is the normal mixture of n with rho = 1 / rho2."""
    n, rho2 = 800.0, (5.991464547 + np.log1p(5.991464547)) / 5000
    mixture = float(means.normal_mixture_bound(n, rho=1 / rho2, alpha=0.05))
    assert float(means.asymptotic_half_width(1 / n, n, alpha=0.05)) * n == pytest.approx(mixture, rel=1e-8)


@pytest.mark.parametrize(("baseline", "changed", "users"), [(0.10, 0.12, 3841), (0.01, 0.02, 2319)])
def test_users_per_arm_are_the_published_ones(baseline: float, changed: float, users: int) -> None:
    assert users_per_arm(Change(baseline=baseline, changed=changed), alpha=0.05) == users


def test_users_at_nine_to_one_agree_with_statsmodels() -> None:
    ours = users_per_arm(Change(baseline=0.10, changed=0.12, share=0.1), alpha=0.05)
    theirs = samplesize_proportions_2indep_onetail(0.02, 0.10, 0.8, ratio=9, alpha=0.05, alternative="two-sided")
    arcsine = NormalIndPower().solve_power(proportion_effectsize(0.12, 0.10), alpha=0.05, power=0.8, ratio=9)
    assert ours == np.ceil(theirs)
    assert np.ceil(arcsine) == 2131
    assert ours == pytest.approx(2131, rel=0.03)


def test_users_for_a_mean_agree_with_statsmodels() -> None:
    theirs = TTestIndPower().solve_power(0.1, alpha=0.05, power=0.8)
    assert users_for_mean(1.0, 0.1, alpha=0.05) == pytest.approx(theirs, rel=1e-3)


def test_no_error_among_59_users_proves_less_than_five_per_cent() -> None:
    assert most_after_none(58) > 0.05 > most_after_none(59) - 1e-3


def test_a_smaller_share_needs_more_time() -> None:
    wide, narrow = (
        needed(Change(baseline=0.01, changed=0.03, share=share), alpha=0.01, users_per_day=10_000)
        for share in (0.5, 0.1)
    )
    assert narrow.typical > wide.typical
    assert wide.typical < wide.late


@pytest.mark.parametrize("change", [(0.1, 0.1), (0.0, 0.1), (0.1, 1.0)])
def test_a_change_that_no_number_of_users_finds_is_refused(change: tuple[float, float]) -> None:
    with pytest.raises(ConfigError):
        Change(baseline=change[0], changed=change[1])


P_VALUES = np.array([0.001, 0.3, 0.02, 0.04, 0.04, 0.9])


@pytest.mark.parametrize(("method", "is_dependent"), [("fdr_bh", False), ("fdr_by", True)])
def test_q_values_are_those_of_statsmodels(method: str, is_dependent: bool) -> None:  # noqa: FBT001
    expected = multipletests(P_VALUES, method=method)[1]
    assert q_values(P_VALUES, is_dependent=is_dependent) == pytest.approx(expected)


def test_holm_is_that_of_statsmodels() -> None:
    assert holm(P_VALUES) == pytest.approx(multipletests(P_VALUES, method="holm")[1])


def test_no_test_has_no_q_value() -> None:
    assert q_values([]).size == holm([]).size == 0


@pytest.mark.parametrize("wrong", [[1.1], [-0.1], [float("nan")]])
def test_what_is_no_p_value_is_refused(wrong: list[float]) -> None:
    with pytest.raises(ConfigError):
        q_values(wrong)


def test_dunnett_gives_the_values_of_his_example() -> None:
    """Blood counts after two drugs (Dunnett 1955), as scipy's documentation has them."""
    control = [7.40, 8.50, 7.20, 8.24, 9.84, 8.32]
    drug_a, drug_b = [9.76, 8.80, 7.68, 9.36], [12.80, 9.68, 12.16, 9.20, 10.55]
    assert dunnett(control, drug_a, drug_b) == pytest.approx([0.62004941, 0.0059035], abs=2e-3)


def test_alpha_is_split_over_gates_and_arms() -> None:
    parts = split_alpha(0.01, ["errors", "p50", "p99"], arms=2)
    assert sum(parts.values()) * 2 == pytest.approx(0.01)


@pytest.mark.parametrize(("gates", "arms"), [([], 1), (["a", "a"], 1), (["a"], 0)])
def test_alpha_without_gates_or_arms_is_refused(gates: list[str], arms: int) -> None:
    with pytest.raises(ConfigError):
        split_alpha(0.01, gates, arms=arms)


def test_posterior_probability_and_loss_are_those_of_simulation() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.beta(41, 961, 400_000), rng.beta(56, 946, 400_000)
    found = compare_posteriors(Posterior(successes=40, failures=960), Posterior(successes=55, failures=945))
    assert found.probability_better == pytest.approx((b > a).mean(), abs=3e-3)
    assert found.expected_loss == pytest.approx(np.maximum(a - b, 0).mean(), rel=0.03)
    assert found.warning == "not safe under peeking"


def test_equal_posteriors_are_a_coin() -> None:
    same = Posterior(successes=50, failures=950)
    assert compare_posteriors(same, same).probability_better == pytest.approx(0.5)


def test_pairs_agree_with_mcnemar_on_what_is_clear() -> None:
    for new, old in ((60, 10), (12, 10)):
        p_value = mcnemar([[0, new], [old, 0]], exact=True).pvalue
        low, _ = paired.difference_bounds(paired.Pairs(only_new_wrong=new, only_old_wrong=old, same=900), alpha=0.01)
        assert (p_value < 1e-6) == (low > 0)


def test_the_ratio_of_sums_has_the_variance_of_its_linearisation() -> None:
    rng = np.random.default_rng(3)
    counts = rng.poisson(4, 500) + 1.0
    sums = rng.binomial(counts.astype(int), 0.3) + 0.0
    found = estimate(metric(sums, counts=counts))
    ratio = sums.sum() / counts.sum()
    residuals = (sums - ratio * counts) / counts.mean()
    assert found.value == pytest.approx(ratio)
    assert found.variance == pytest.approx(residuals.var(ddof=1) / 500)


def test_cuped_takes_out_what_the_past_explains() -> None:
    rng = np.random.default_rng(4)
    past = rng.normal(10, 2, 4000)
    value = past + rng.normal(0, 1, 4000)
    plain = metric(value[:2000], before=past[:2000]), metric(value[2000:], before=past[2000:])
    before, after = (estimate(arm).variance for arm in (plain[0], adjusted(*plain)[0]))
    correlation = np.corrcoef(value, past)[0, 1]
    assert after / before == pytest.approx(1 - correlation**2, rel=0.1)


def test_cuped_is_left_out_where_one_arm_has_no_past() -> None:
    arms = metric([1.0, 2.0], before=[1.0, 2.0]), metric([1.0, 2.0])
    assert adjusted(*arms) == arms


@pytest.mark.parametrize(("shift", "expected"), [(-0.5, Failed), (0.0, Successful), (0.5, Successful)])
@pytest.mark.parametrize("better", ["higher", "lower"])
def test_a_metric_is_judged_in_its_good_direction(shift: float, expected: type, better: str) -> None:
    rng = np.random.default_rng(5)
    sign = 1 if better == "higher" else -1
    stable, canary = metric(rng.normal(10, 1, 8000)), metric(rng.normal(10 + sign * shift, 1, 8000))
    gate = MeanGate(margin=0.2, better="higher" if better == "higher" else "lower")
    assert isinstance(compare_mean(stable, canary, gate, alpha=0.01), expected)


def test_a_metric_of_few_users_decides_nothing() -> None:
    stable, canary = metric(np.full(499, 10.0)), metric(np.zeros(600))
    assert isinstance(compare_mean(stable, canary, MeanGate(margin=0.1), alpha=0.01), Inconclusive)


def test_a_ratio_without_denominator_decides_nothing() -> None:
    stable, canary = metric(np.ones(600), counts=np.ones(600)), metric(np.ones(600), counts=np.zeros(600))
    assert isinstance(compare_mean(stable, canary, MeanGate(margin=0.1), alpha=0.01), Inconclusive)


def test_betting_is_the_hedged_capital_written_out() -> None:
    values = np.random.default_rng(6).beta(2, 5, 300)
    low, high = means.betting_bounds(values, alpha=0.05)
    kept = [m for m in np.linspace(0.2, 0.4, 201) if _hedged_capital(values, m, alpha=0.05) < 1 / 0.05]
    assert low == pytest.approx(min(kept), abs=1.1e-3)
    assert high == pytest.approx(max(kept), abs=1.1e-3)


def _hedged_capital(values: np.ndarray, m: float, *, alpha: float) -> float:
    up = down = 1.0
    total, square = 0.5, 0.25
    for t, x in enumerate(values, start=1):
        stake = np.sqrt(2 * np.log(2 / alpha) / (square / t * t * np.log(t + 1)))
        up *= 1 + min(stake, 0.5 / m) * (x - m)
        down *= 1 - min(stake, 0.5 / (1 - m)) * (x - m)
        total += x
        square += (x - total / (t + 1)) ** 2
    return max(0.5 * up, 0.5 * down)


def test_betting_is_tighter_than_hoeffding_for_small_variance() -> None:
    low, high = means.betting_bounds(np.random.default_rng(7).beta(5, 100, 1000), alpha=0.05)
    assert high - low < 0.3 * 2 * np.sqrt(np.log(2 / 0.05) / 2000)


@pytest.mark.parametrize("wrong", [[1.5], [-0.1], [float("nan")]])
def test_betting_refuses_values_that_are_not_bounded(wrong: list[float]) -> None:
    with pytest.raises(ConfigError):
        means.betting_bounds(wrong, alpha=0.05)


@pytest.mark.parametrize(("looks", "inflated"), [(2, 0.083), (5, 0.142), (10, 0.193)])
def test_peeking_inflates_a_z_test_as_published(looks: int, inflated: float) -> None:
    steps = np.random.default_rng(8).standard_normal((100_000, looks))
    z = np.cumsum(steps, axis=1) / np.sqrt(np.arange(1, looks + 1))
    alarms = (np.abs(z) > stats.norm.isf(0.025)).any(axis=1).mean()
    assert alarms == pytest.approx(inflated, abs=0.004)


@pytest.mark.parametrize(("shift", "expected"), [(-0.3, Failed), (0.0, Successful)])
def test_bounded_values_are_compared_without_a_burn_in(shift: float, expected: type) -> None:
    rng = np.random.default_rng(9)
    stable, canary = metric(rng.beta(8, 2, 3000)), metric(np.clip(rng.beta(8, 2, 400) + shift, 0, 1))
    gate = MeanGate(margin=0.1, bounds=(0.0, 1.0), minimum_users=100)
    verdict = compare_mean(stable, canary, gate, alpha=0.01)
    assert isinstance(verdict, expected), verdict


def test_bounds_scale_with_the_unit() -> None:
    rng = np.random.default_rng(10)
    arms = rng.beta(2, 5, 500), rng.beta(2, 5, 200)
    narrow, wide = (
        compare_mean(
            *(metric(scale * arm) for arm in arms),
            MeanGate(margin=0.1, bounds=(0.0, scale), minimum_users=2),
            alpha=0.05,
        ).numbers
        for scale in (1.0, 250.0)
    )
    assert [250 * narrow[end] for end in ("low", "high")] == pytest.approx([wide[end] for end in ("low", "high")])


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_bounds_that_bound_nothing_are_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="bounds"):
        MeanGate(margin=0.1, bounds=bounds)


def test_values_outside_their_bounds_and_ratios_with_bounds_are_refused() -> None:
    gate = MeanGate(margin=0.1, bounds=(0.0, 1.0), minimum_users=2)
    for arm in (metric([0.5, 1.5]), metric([0.5, 1.0], counts=[1.0, 2.0])):
        with pytest.raises(ConfigError):
            compare_mean(arm, arm, gate, alpha=0.01)


def test_one_mean_against_another_has_the_standard_error_of_welch() -> None:
    rng = np.random.default_rng(11)
    first, second = rng.normal(0, 1, 900), rng.normal(0, 3, 300)
    ours = estimate(metric(first)).variance + estimate(metric(second)).variance
    theirs = stats.ttest_ind(second, first, equal_var=False)
    assert theirs.statistic == pytest.approx((second.mean() - first.mean()) / np.sqrt(ours))


def test_a_mismatch_that_chi_square_finds_once_costs_the_sequential_test_its_looks() -> None:
    """The classic example of 821,588 against 815,482 users at an even split (Fabijan et al., KDD 2019)."""
    observed = [821_588, 815_482]
    assert stats.chisquare(observed).pvalue == pytest.approx(1.8e-6, rel=0.03)
    assert float(srm.sequential_p(observed, [0.5, 0.5])) == pytest.approx(0.00146, rel=0.01)
    assert float(srm.sequential_p([818_588, 818_482], [0.5, 0.5])) == 1.0


def by_hour(rng: np.random.Generator, *, counts: bool = False, **extra: float) -> list[Metric]:
    """Both arms alike in both hours; the second is twice as good, and the canary is large in it."""
    arms = []
    for users in ((9500, 500), (500, 9500)):
        values = np.concatenate([rng.normal(10, 2, users[0]), rng.normal(20, 2, users[1])])
        given = {"counts": np.ones(sum(users))} if counts else {}
        arms.append(metric(values + extra.get("shift", 0.0) * len(arms), period=np.repeat([0, 1], users), **given))
    return arms


@pytest.mark.parametrize("counts", [False, True])
def test_a_good_hour_in_which_the_canary_was_large_is_not_to_its_credit(counts: bool) -> None:  # noqa: FBT001
    verdict = compare_mean(*by_hour(np.random.default_rng(12), counts=counts), MeanGate(margin=0.5), alpha=0.01)
    assert isinstance(verdict, Successful)
    assert abs(verdict.numbers["difference"]) < 0.3
    assert verdict.numbers["low"] < 0 < verdict.numbers["high"]


def test_a_worse_canary_is_found_within_the_periods() -> None:
    """Pooled, its mean is nearly twice stable's."""
    verdict = compare_mean(*by_hour(np.random.default_rng(13), shift=-2.0), MeanGate(margin=0.5), alpha=0.01)
    assert isinstance(verdict, Failed)
    assert verdict.numbers["difference"] == pytest.approx(-2.0, abs=0.3)


def test_periods_without_users_in_common_decide_nothing() -> None:
    early, late = metric(np.ones(600), period=np.zeros(600)), metric(np.ones(600), period=np.ones(600))
    assert isinstance(compare_mean(early, late, MeanGate(margin=0.1), alpha=0.01), Inconclusive)


def test_of_bounded_values_the_newest_period_speaks() -> None:
    rng = np.random.default_rng(14)
    stable = metric(rng.beta(2, 8, 4000), period=np.repeat([0, 1], 2000))
    canary = metric(np.concatenate([rng.beta(8, 2, 500), rng.beta(2, 8, 500)]), period=np.repeat([0, 1], 500))
    gate = MeanGate(margin=0.1, better="lower", bounds=(0.0, 1.0), minimum_users=2)
    assert isinstance(compare_mean(stable, canary, gate, alpha=0.01), Successful)
