"""A gauge of a GPU as a guardrail: what is asked of Prometheus, what fails, and that it never promotes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlflow_deploy_plugin.errors import ManifestError
from mlflow_deploy_plugin.serving.exposition import HELP
from pipelines.analysis.arms import Arm, Missing, user_counts
from pipelines.analysis.gates import ErrorRatioGate, GpuGate
from pipelines.analysis.readings import Readings, judge_readings
from pipelines.analysis.verdict import Failed, Inconclusive, Successful
from pipelines.monitoring.gpu_source import BUSY, TOTAL, USED, gpu_readings
from pipelines.monitoring.prometheus import CannedPrometheus
from pipelines.promotion.decide import decide
from pipelines.promotion.decision import Abort, Advance, Decision, Hold
from pipelines.promotion.observation import Observation
from pipelines.promotion.plan import Plan
from pipelines.promotion.schema import read_plan
from pipelines.promotion.state import Candidate, State
from pipelines.promotion.strategies.canary import Canary, Step
from pipelines.promotion.terms import NamedGate, Terms

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
GATE = GpuGate(kind="memory", bound=0.9)
SCRAPES = [NOW - timedelta(seconds=15 * number) for number in range(40)]


def scraped(*shares: float, kind: str = "memory", total: float = 80e9) -> CannedPrometheus:
    """A device for each of ``shares``, every reading alike."""
    canned = CannedPrometheus()
    for device, share in enumerate(shares):
        for at in SCRAPES:
            if kind == "memory":
                canned.record(f'{USED}{{model_version="v4"}}', at, share * total, gpu=f"GPU-{device}")
                canned.record(f'{TOTAL}{{model_version="v4"}}', at, total, gpu=f"GPU-{device}")
            else:
                canned.record(f'{BUSY}{{model_version="v4"}}', at, share, gpu=f"GPU-{device}")
    return canned


def read(
    canned: CannedPrometheus, gate: GpuGate = GATE, *, since: datetime = NOW - timedelta(hours=1)
) -> Readings | Missing:
    return gpu_readings(canned.client(), "v4", [gate], since=since, now=NOW)[gate.kind]


def test_the_gauges_are_those_that_a_bento_tells() -> None:
    assert {USED, TOTAL, BUSY} <= HELP.keys()


def test_the_fullest_device_speaks() -> None:
    found = judge_readings(read(scraped(0.2, 0.95)), GATE)
    assert isinstance(found, Failed)
    assert "GPU memory at least 95.0% in 21 readings of 5 min, above 90.0%" in found.reason
    assert f'[{USED}{{model_version="v4"}}]' in found.reason
    assert found.numbers == {"lowest": 0.95, "highest": 0.95, "threshold": 0.9, "readings": 21}


def test_within_the_bound_is_successful_and_around_it_is_neither() -> None:
    assert isinstance(judge_readings(read(scraped(0.2, 0.9)), GATE), Successful)
    canned = scraped(0.95)
    canned.record(f'{USED}{{model_version="v4"}}', NOW, 0.5 * 80e9, gpu="GPU-0")
    assert isinstance(judge_readings(read(canned), GATE), Inconclusive)


def test_utilization_is_a_share_already() -> None:
    gate = GpuGate(kind="utilization", bound=0.8)
    assert isinstance(judge_readings(read(scraped(0.99, kind="utilization"), gate), gate), Failed)


def test_what_was_not_read_holds() -> None:
    nothing = read(CannedPrometheus())
    assert isinstance(nothing, Missing)
    assert "Prometheus has no model_gpu_memory_used_bytes" in nothing.reason
    assert isinstance(read(scraped(0.95, total=0.0)), Missing)
    assert isinstance(read(scraped(float("nan"))), Missing)
    few = judge_readings(read(scraped(0.99)), GpuGate(kind="memory", bound=0.9, minimum_readings=99))
    assert isinstance(few, Inconclusive)


def test_a_window_that_was_not_read_from_its_beginning_says_nothing() -> None:
    """Ten minutes of a warm-up at 99 % are no half an hour."""
    gate = GpuGate(kind="utilization", bound=0.98, window_s=1800.0)
    found = read(scraped(0.99, kind="utilization"), gate)
    assert isinstance(found, Missing)
    assert "do not reach back 30 min on every GPU" in found.reason
    late = scraped(0.99)
    late.record(f'{USED}{{model_version="v4"}}', NOW, 79e9, gpu="GPU-new")
    late.record(f'{TOTAL}{{model_version="v4"}}', NOW, 80e9, gpu="GPU-new")
    assert isinstance(read(late), Missing)


def test_readings_from_before_the_rollout_do_not_count() -> None:
    young = read(scraped(0.99), since=NOW - timedelta(minutes=2))
    assert isinstance(young, Missing)
    assert "do not reach back 5 min: the versions are compared since 2026-01-01T11:58:00+00:00" in young.reason
    within = read(scraped(0.99), since=NOW - timedelta(minutes=4, seconds=30))
    assert isinstance(within, Readings)
    assert within.count == 19
    canned = scraped(0.99)
    canned.record(f'{USED}{{model_version="v4"}}', NOW - timedelta(minutes=4, seconds=45), 0.5 * 80e9, gpu="GPU-0")
    cut = judge_readings(read(canned, since=NOW - timedelta(minutes=4, seconds=30)), GATE)
    assert isinstance(cut, Failed)


PLAN = Plan(
    strategy=Canary(steps=(Step(weight=500), Step(weight=1000))),
    terms=Terms(
        gates=(
            NamedGate(name="errors", gate=ErrorRatioGate(margin=0.05)),
            NamedGate(name="gpu memory", gate=GATE),
        )
    ),
)


def decided(**gpu: Any) -> Decision:
    arms = {name: Arm(name=name, errors=user_counts(5000, 50, shares=0.5)) for name in ("v3", "v4")}
    state = State(
        endpoint="churn",
        stage="production",
        stable="v3",
        stable_weight=500,
        candidates=(Candidate(deployment="v4", model_digest="sha256:4", weight=500),),
        rollout="r1",
        since=NOW - timedelta(hours=1),
    )
    return decide(PLAN, state, (Observation(stable=arms["v3"], canary=arms["v4"], gpu=gpu),), NOW)


def readings(share: float) -> Readings:
    return Readings(query="q", lowest=share, highest=share, count=20)


def test_a_full_gpu_takes_a_version_back_that_its_users_like() -> None:
    decision = decided(memory=readings(0.99))
    assert isinstance(decision, Abort)
    (gate,) = [gate for gate in decision.gates if gate.gate == "gpu memory"]
    assert gate.numbers["threshold"] == 0.9
    assert "[q]" in gate.reason


def test_a_gpu_that_nobody_was_asked_about_holds() -> None:
    decision = decided()
    assert isinstance(decision, Hold)
    assert "name Prometheus by --prometheus URL" in decision.reason


def test_a_gpu_within_its_bound_is_in_nobody_s_way() -> None:
    assert not isinstance(decided(memory=readings(0.5)), Hold | Abort | Advance)


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ("{errors: null, gpu: [{guardrail: 95}]}", "promote nothing"),
        ("{gpu: [{guardrail: 95}, {guardrail: 90}]}", "each name once"),
        ("{gpu: [{guardrail: 101}]}", "less than or equal to 100"),
    ],
)
def test_the_file_asks_for_what_can_be(gates: str, said: str) -> None:
    text = f"apiVersion: modelserve.io/v1alpha1\nkind: Rollout\nspec: {{steps: [{{weight: 100}}], gates: {gates}}}\n"
    with pytest.raises(ManifestError, match=said):
        read_plan(text, path="rollout.yaml")
    fine = text.replace(gates, "{gpu: [{metric: utilization, guardrail: 95, window: 10m}]}")
    plan = read_plan(fine, path="rollout.yaml")
    assert plan is not None
    assert plan.terms.gates[-1] == NamedGate(
        name="gpu utilization", gate=GpuGate(kind="utilization", bound=0.95, window_s=600.0)
    )
