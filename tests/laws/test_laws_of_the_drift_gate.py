"""The drift gate keeps its promises on simulated traffic; ``python -m pipelines simulate`` measures more of it."""

import pytest

from pipelines.monitoring import drift_alarms, drift_laws
from pipelines.monitoring.drift_laws import Outcome
from pipelines.monitoring.drift_streams import SCENARIOS, Scenario, counts
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
