"""The drift gate keeps its promises on simulated traffic; ``python -m pipelines simulate`` measures more of it."""

import pytest

from pipelines.monitoring import drift_alarms, drift_laws
from pipelines.monitoring.drift_laws import Outcome
from pipelines.monitoring.drift_streams import SCENARIOS, Scenario, counts
from pipelines.monitoring.multivariate import Separation, separation
from pipelines.monitoring.sliding import figures
from pipelines.monitoring.univariate import shifts

REFUTED = 0.001
NAMED = {scenario.name[:2].strip(): scenario for scenario in SCENARIOS}


@pytest.fixture(scope="module")
def found() -> dict[str, Outcome]:
    return {one.name[:2].strip(): one for one in drift_laws.outcomes(repetitions=120, looked=0, seed=31)}


@pytest.mark.parametrize("name", ["A", "A2", "B", "E", "F", "G", "H"])
def test_a_version_that_is_no_worse_is_rarely_reverted(found: dict[str, Outcome], name: str) -> None:
    assert found[name].promise == "rarely"
    assert found[name].p > REFUTED


@pytest.mark.parametrize("name", ["C", "D", "I"])
def test_a_worse_version_is_surely_reverted_whatever_the_world_does(found: dict[str, Outcome], name: str) -> None:
    assert found[name].promise == "surely"
    assert found[name].p > REFUTED


@pytest.mark.parametrize("scenario", [NAMED["A"], NAMED["C"]], ids=["A", "C"])
def test_the_simulation_reverts_at_the_very_look_at_which_the_decision_does(scenario: Scenario) -> None:
    drawn = counts(scenario, repetitions=2, seed=41)
    assert all(drift_laws.agrees(drawn, run, int(tick)) for run, tick in enumerate(drift_laws.reverted_at(drawn)))


@pytest.mark.parametrize(
    ("name", "verdicts", "freezes"),
    [("B", {"Healthy", "WorldMoved"}, 1), ("F", {"Healthy"}, 0), ("G", {"HoldRouting"}, 0)],
)
def test_what_is_said_of_the_inputs_fits_the_truth(name: str, verdicts: set[str], freezes: int) -> None:
    decisions, begun = drift_laws.inputs_said(NAMED[name], seed=43, every=6)
    assert {each.verdict for each in decisions} == verdicts
    assert begun == freezes


@pytest.mark.parametrize("load", drift_alarms.PER_HOUR)
def test_calm_months_raise_hardly_an_alarm(load: float) -> None:
    found = drift_alarms.calm("columns", users_per_hour=load, days=30, runs=2, seed=44)
    assert found.p > REFUTED
    assert found.above / found.looks < 0.02


def test_the_classifier_is_calm_too() -> None:
    assert drift_alarms.calm("classifier", users_per_hour=0.6, days=3, runs=1, seed=45).p > REFUTED


def test_figures_of_all_windows_are_those_that_the_drift_job_computes_of_each() -> None:
    run = drift_alarms.drawn(users_per_hour=1.3, days=1, seed=46)
    seen = figures(run.stream, run.base, run.arrivals)
    for look, hour in list(enumerate(run.arrivals.looks))[::3]:
        found = shifts(run.window(hour), run.base, arm="a", against="reference", policy=drift_alarms.POLICY)
        exact = {shift.feature: shift for shift in found}
        for place, name in enumerate(run.stream.columns):
            assert seen.effect[look, place] == pytest.approx(exact[name].effect, abs=1e-6)
            if exact[name].q <= drift_alarms.POLICY.window_p:
                assert seen.q[look, place] == pytest.approx(exact[name].q, rel=1e-3)


def test_a_column_that_leaves_is_an_alarm() -> None:
    run = drift_alarms.drawn(users_per_hour=1, days=10, seed=47)
    run.stream.loc[250:, "f0"] += 1.5
    assert drift_alarms.column_alarms(run)[1] == 1


def told(*figures: tuple[int, float, float]) -> drift_alarms.Tell:
    """A classifier whose AUC and p-value are known from each hour on; 0.5 before."""

    def tell(run: drift_alarms.Run, hour: int) -> Separation:
        past = [(auc, p) for since, auc, p in figures if hour - run.arrivals.looks[0] >= since]
        auc, p = past[-1] if past else (0.5, 0.5)
        return Separation(auc=auc, p=p, rows=1100)

    return tell


@pytest.mark.parametrize(
    ("figures", "above", "alarms"),
    [
        ([], 0, 0),
        ([(8, 0.7, 1e-9), (10, 0.5, 0.5)], 0, 0),  # between two first looks, neither of which came near
        ([(12, 0.7, 1e-9), (20, 0.5, 0.5)], 8, 1),
        ([(12, 0.7, 1e-9), (15, 0.59, 1e-3), (20, 0.7, 1e-9), (26, 0.5, 0.5)], 9, 1),  # stands in between
        ([(12, 0.7, 1e-9), (15, 0.56, 1e-3), (20, 0.7, 1e-9), (26, 0.5, 0.5)], 9, 2),  # over in between
        ([(12, 0.7, 1e-9), (15, 0.59, 0.06), (20, 0.7, 1e-9), (26, 0.5, 0.5)], 9, 2),
        ([(12, 0.7, 1e-4), (20, 0.5, 0.5)], 0, 0),  # not sure enough
        ([(12, 0.59, 1e-9), (20, 0.5, 0.5)], 0, 0),
        ([(5, 0.7, 1e-9), (7, 0.5, 0.5)], 2, 1),  # the hour before the first look that saw it
    ],
)
def test_an_alarm_of_the_classifier_lasts_until_it_is_below_the_exit_level(
    figures: list[tuple[int, float, float]], above: int, alarms: int
) -> None:
    run = drift_alarms.drawn(users_per_hour=1, days=3, seed=48)
    assert drift_alarms.classifier_alarms(run, tell=told(*figures)) == (above, alarms)


def test_hours_are_left_out_only_below_the_exit_level() -> None:
    assert drift_alarms.POLICY.exit_auc >= drift_alarms.NEAR_AUC


def test_the_luck_of_one_deal_into_folds_is_no_alarm() -> None:
    run = drift_alarms.drawn(users_per_hour=0.6, days=20, seed=7001)
    window = run.window(run.arrivals.looks[168]).reset_index(drop=True)
    lucky, asked_again = separation(window, run.base, deals=1), separation(window, run.base)
    assert lucky.p < 1e-4 < 1e-4 * 5 < asked_again.p
    assert asked_again.auc < drift_alarms.POLICY.enter_auc < lucky.auc


def test_a_bond_between_columns_that_broke_is_seen_in_a_hundred_users_by_the_classifier_alone() -> None:
    run = drift_alarms.drawn(users_per_hour=0.6, days=1, seed=49)
    run.base["f1"] = run.base["f0"]
    assert drift_alarms.column_alarms(run) == (0, 0)
    found = drift_alarms.tell_apart(run, run.arrivals.looks[0])
    assert found.auc >= drift_alarms.least_auc(100, drift_alarms.REFERENCE)
    assert found.p <= drift_alarms.POLICY.auc_p
