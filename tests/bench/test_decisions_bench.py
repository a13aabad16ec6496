"""The prediction log's share of a request, the split, and a decision."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlflow_deploy_plugin.manifests.model import Route
from mlflow_deploy_plugin.manifests.split import assign, layout, resplit
from mlflow_deploy_plugin.serving.codecs.base import ModelDescription
from mlflow_deploy_plugin.serving.events import open_recorder
from mlflow_deploy_plugin.serving.record import Batch, Prediction, Recorder, singly
from mlflow_deploy_plugin.serving.request import Caller, Matrix
from mlflow_deploy_plugin.spec.settings import LogMode, ServingSettings
from pipelines.analysis.arms import Arm, user_counts
from pipelines.promotion import marks
from pipelines.promotion.decide import decide
from pipelines.promotion.decision import Promote
from pipelines.promotion.observation import Observation
from pipelines.promotion.plan import Plan
from pipelines.promotion.state import Candidate, State
from pipelines.promotion.strategies.canary import Canary, Step

Measure = Callable[[Callable[[], Any]], Any]

EVENTS = 256
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(params=["predictions", "full"])
def fresh_log(
    request: pytest.FixtureRequest, tmp_path: Path, description: ModelDescription
) -> Iterator[Callable[[Prediction], Recorder]]:
    """Makes a log whose thread runs already and does not flush meanwhile; the last one is closed before the next."""
    mode: LogMode = request.param
    settings = ServingSettings(log=mode, events_dir=str(tmp_path), log_flush_s=3600)
    opened: list[Recorder] = []

    def make(first: Prediction) -> Recorder:
        while opened:
            opened.pop().close()
        opened.append(open_recorder(settings, signature=description.signature, model_digest="sha256:m"))
        opened[0].record(first)
        return opened[0]

    yield make
    opened.pop().close()


def test_prediction_log_of_256(
    measure: Any, fresh_log: Callable[[Prediction], Recorder], description: ModelDescription
) -> None:
    """In batches of 64, as they come from as many clients."""
    columns = tuple(column.name for column in description.signature.inputs)
    batches = [
        Batch(
            callers=[Caller(request_id=f"{start + number:032x}") for number in range(64)],
            times=[NOW.timestamp()] * 64,
            protocols=["mlflow"] * 64,
            latencies_ms=[1.0] * 64,
            payload=Matrix(values=np.full((64, len(columns)), float(start)), columns=columns),
            output=np.arange(64) % 2,
        )
        for start in range(0, EVENTS, 64)
    ]

    def record(recorder: Recorder) -> int:
        for batch in batches:
            recorder.record_batch(batch)
        return sum(len(batch.callers) for batch in batches)

    assert measure.afresh(lambda: fresh_log(singly(batches[0])[0]), record) == EVENTS


def test_assign(measure: Measure) -> None:
    route = Route(
        endpoint="e", stage="s", backends=layout({"a": 100, "b": 800, "c": 100}, "b"), stable="b", salt="salt"
    )
    assert measure(lambda: assign("user-1", route)) in {"a", "b", "c"}


def test_resplit_of_nine(measure: Measure) -> None:
    arms = {f"arm-{number}": 60 for number in range(8)}
    before = layout({"stable": 1000 - 8 * 60, **arms}, "stable")
    grown = {"stable": 1000 - 8 * 70, **dict.fromkeys(arms, 70)}
    assert sum(slot.weight for slot in measure(lambda: resplit(before, grown, "stable"))) == 1000


@pytest.mark.benchmark(min_rounds=12)  # a third of a second each
def test_decide(measure: Measure) -> None:
    plan = Plan(strategy=Canary(steps=(Step(weight=500), Step(weight=1000))))
    state = State(
        endpoint="churn",
        stage="production",
        stable="v3",
        stable_weight=500,
        candidates=(Candidate(deployment="v4", model_digest="sha256:4", weight=500),),
        rollout="r1",
        phase=marks.PROGRESSING,
        step=0,
        since=NOW - timedelta(days=1),
        began=NOW - timedelta(days=1),
    )
    arms = [Arm(name=name, errors=user_counts([20_000], [200], shares=np.array([0.5]))) for name in ("v3", "v4")]
    observed = (Observation(stable=arms[0], canary=arms[1]),)
    assert isinstance(measure(lambda: decide(plan, state, observed, NOW)), Promote)
