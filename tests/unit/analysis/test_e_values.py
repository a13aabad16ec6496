"""The e-values by enumeration: under every law of the null their mean is at most one, and they find the rest."""

import itertools

import numpy as np
import pytest
from scipy import integrate, optimize, stats
from scipy.special import betaln, rel_entr

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis import paired, rates, srm, two_rates
from pipelines.analysis.event_share import ShareTest
from pipelines.analysis.paired import Pairs
from pipelines.analysis.two_rates import Line, Table


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("ratio", [1.0, 1.5])
@pytest.mark.parametrize("is_upper", [True, False])
def test_share_of_events_has_mean_one_at_the_edge_of_its_null(share: float, ratio: float, is_upper: bool) -> None:  # noqa: FBT001
    canary = np.arange(41)
    edge = share * ratio / (share * ratio + 1 - share)
    e = np.exp(ShareTest(ratio=ratio, is_upper=is_upper).log_e((40 - canary)[:, None], canary[:, None], [share]))
    assert np.dot(stats.binom.pmf(canary, 40, edge), e) == pytest.approx(1.0, abs=1e-9)


def test_share_of_events_has_a_smaller_mean_inside_its_null() -> None:
    canary = np.arange(41)
    e = np.exp(ShareTest().log_e((40 - canary)[:, None], canary[:, None], [0.3]))
    assert np.dot(stats.binom.pmf(canary, 40, 0.2), e) < 0.5


def test_share_of_events_multiplies_over_periods_with_another_split() -> None:
    both = ShareTest().log_e([10, 20], [5, 15], [0.1, 0.4])
    swapped = ShareTest().log_e([20, 10], [15, 5], [0.4, 0.1])
    assert float(both) == pytest.approx(float(swapped))
    assert float(both) != pytest.approx(float(ShareTest().log_e([30], [20], [0.25])))


LINES = [
    Line(),
    Line(margin=0.02),
    Line(margin=-0.03),
    Line(ratio=1.2),
    Line(ratio=1.2, margin=0.005),
    Line(is_upper=False),
    Line(margin=0.02, is_upper=False),
    Line(ratio=1.5, margin=0.01, is_upper=False),
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_two_rates_have_mean_at_most_one_under_every_law_of_the_null(line: Line, share: float) -> None:
    cells = np.eye(4)[:, :, None]
    e = np.exp(two_rates.log_e(Table(*cells.transpose(1, 0, 2)), np.array([share]), line))
    grid = np.linspace(0.0, 1.0, 101)
    for stable, canary in itertools.product(grid, grid):
        edge = line.ratio * stable + line.margin
        if (canary > edge) if line.is_upper else (canary < edge):
            continue
        law = [(1 - share) * (1 - stable), (1 - share) * stable, share * (1 - canary), share * canary]
        assert np.dot(law, e) <= 1 + 1e-9


def test_the_null_point_is_the_nearest_one() -> None:
    line = Line(ratio=1.3, margin=0.01)
    found = two_rates._project(np.array([0.02]), np.array([0.09]), np.array([0.2]), line)[0, 0]

    def divergence(p: float) -> float:
        pairs = ((0.8, 0.02, p), (0.2, 0.09, 1.3 * p + 0.01))
        return float(sum(w * (rel_entr(q, r) + rel_entr(1 - q, 1 - r)) for w, q, r in pairs))

    best = optimize.minimize_scalar(divergence, bounds=(1e-6, 0.7), method="bounded", options={"xatol": 1e-10})
    assert found == pytest.approx(best.x, abs=1e-6)


def test_without_a_margin_the_null_point_is_the_pooled_rate() -> None:
    found = two_rates._project(np.array([0.02]), np.array([0.09]), np.array([0.2]), Line())[0, 0]
    assert found == pytest.approx(0.8 * 0.02 + 0.2 * 0.09, abs=1e-9)


@pytest.mark.parametrize("margin", [0.0, 0.03, -0.05])
@pytest.mark.parametrize("is_upper", [True, False])
def test_pairs_have_mean_at_most_one_under_every_law_of_the_null(margin: float, is_upper: bool) -> None:  # noqa: FBT001
    kinds = (Pairs(only_new_wrong=1, only_old_wrong=0, same=0), Pairs(only_new_wrong=0, only_old_wrong=1, same=0))
    cells = (*kinds, Pairs(only_new_wrong=0, only_old_wrong=0, same=1))
    e = np.exp([paired.log_e(cell, margin=margin, is_upper=is_upper) for cell in cells])
    for new, old in itertools.product(np.linspace(0, 1, 51), repeat=2):
        is_law = new + old <= 1
        is_null = new - old <= margin if is_upper else new - old >= margin
        if is_law and is_null:
            assert np.dot([new, old, 1 - new - old], e) <= 1 + 1e-9


def test_beta_binomial_martingale_is_the_mixed_likelihood_ratio() -> None:
    prior = stats.beta(0.5, 0.5)
    mixed = integrate.quad(lambda p: prior.pdf(p) * p**3 * (1 - p) ** 37, 0, 1)[0]
    assert float(rates.log_martingale(3, 40, 0.1)) == pytest.approx(np.log(mixed / (0.1**3 * 0.9**37)), rel=1e-6)


def test_beta_binomial_martingale_has_mean_one_at_the_truth() -> None:
    x = np.arange(61)
    assert np.dot(stats.binom.pmf(x, 60, 0.07), np.exp(rates.log_martingale(x, 60, 0.07))) == pytest.approx(1.0)


def test_rate_interval_is_wider_than_the_fixed_horizon_one_and_holds_the_estimate() -> None:
    low, high = rates.bounds([0, 3, 40, 400], 400, alpha=0.05)
    exact = [stats.binomtest(k, 400).proportion_ci(0.95, method="exact") for k in (0, 3, 40, 400)]
    assert (low <= [ci.low for ci in exact]).all()
    assert (high >= [ci.high for ci in exact]).all()
    assert (low[0], high[3]) == (0.0, 1.0)


def test_rate_interval_without_users_is_everything() -> None:
    low, high = rates.bounds(0, 0, alpha=0.05)
    assert (float(low), float(high)) == (0.0, 1.0)


def test_srm_bayes_factor_is_the_dirichlet_multinomial_ratio() -> None:
    observed, split, k = np.array([70, 20, 30]), np.array([0.5, 0.2, 0.3]), 100.0
    marginal = stats.dirichlet_multinomial(k * split, 120).logpmf(observed)
    expected = marginal - stats.multinomial(120, split).logpmf(observed)
    assert float(srm.log_bayes_factor(observed, split, concentration=k)) == pytest.approx(expected)


def test_srm_of_two_arms_is_the_beta_binomial_one() -> None:
    expected = betaln(50 + 70, 50 + 40) - betaln(50, 50) - 110 * np.log(0.5)
    assert float(srm.log_bayes_factor([70, 40], [0.5, 0.5])) == pytest.approx(expected)


@pytest.mark.parametrize("split", [[0.5, 0.6], [1.0, 0.0], [0.5, -0.5]])
def test_srm_refuses_what_is_no_split(split: list[float]) -> None:
    with pytest.raises(ConfigError, match="split"):
        srm.sequential_p([1, 2], split)


def test_srm_adds_up_over_periods_with_another_split() -> None:
    fair = srm.judge_split([[900, 100], [500, 500]], [[0.9, 0.1], [0.5, 0.5]])
    pooled = srm.judge_split([1400, 600], [0.9, 0.1])
    assert (type(fair).__name__, type(pooled).__name__) == ("Successful", "Inconclusive")
