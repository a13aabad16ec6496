"""A real series that really changed: carbon dioxide in the air of Mauna Loa, 1958 to 2001, week by week.

Keeling & Whorf (2004), as statsmodels ships it. The level rose by a fifth and left what was seen before; the weekly
change swings with the seasons as it always did.
"""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.monitoring.event_summaries import Window
from pipelines.monitoring.events import EventStore
from pipelines.monitoring.gather import Question, gather
from pipelines.monitoring.reference import ReferenceSample
from pipelines.promotion.drift.decide import decide_drift
from pipelines.promotion.drift.decision import DriftDecision, Healthy, WorldMoved
from pipelines.promotion.drift.evidence import Arm, Reference
from pipelines.promotion.drift.policy import DriftPolicy

SPLIT = {"v3": 600, "v4": 400}


@pytest.fixture(scope="module")
def weeks() -> pd.DataFrame:
    co2 = pytest.importorskip("statsmodels.datasets.co2", reason="statsmodels is not installed")
    level = co2.load_pandas().data["co2"].interpolate()
    return pd.DataFrame({"level": level, "change": level.diff()}).dropna()


def decided(build: Any, store: EventStore, window: Window, *, then: pd.DataFrame, now: pd.DataFrame) -> DriftDecision:
    """What is said of ``now``, whose weeks are dealt to two versions, beside the sample ``then``."""
    rows = [
        {"request_id": str(n), "user_id": f"week {n}", "time": window.begin + n * timedelta(seconds=1),
         "feature_level": float(level), "feature_change": float(change)}
        for n, (level, change) in enumerate(now.to_numpy())
    ]  # fmt: skip
    is_canary = np.random.default_rng(1).random(len(rows)) < SPLIT["v4"] / 1000
    for arm, mine in (("v3", ~is_canary), ("v4", is_canary)):
        chosen = [row for row, is_mine in zip(rows, mine, strict=True) if is_mine]
        build.predictions(*chosen, deployment=arm)
        build.attempts(
            *({key: row[key] for key in ("request_id", "user_id", "time")} for row in chosen), deployment=arm
        )
    stable, canary = (
        Arm(deployment=name, model_digest="", weight=weight, rows=0, users=0) for name, weight in SPLIT.items()
    )
    question = Question(
        commit="c1",
        rollout="",
        inputs=window,
        faults=window,
        stable=stable,
        canaries=(canary,),
        split_of={"c1": SPLIT}.get,
    )
    about = Reference(source="co2", digest="", rows=len(then))
    found = gather(store, question, reference=ReferenceSample(frame=then, about=about), policy=DriftPolicy())
    return decide_drift(found.evidence, DriftPolicy())


def test_a_world_that_left_its_past_is_told_as_such_and_no_version_is_blamed(
    build: Any, store: EventStore, window: Window, weeks: pd.DataFrame
) -> None:
    said = decided(build, store, window, then=weeks[:"1975"], now=weeks["1988":])  # type: ignore[misc]
    assert isinstance(said, WorldMoved)
    assert said.features == ("level",)  # and not how it changes from week to week
    assert "in every arm alike" in said.reasons[0].text


def test_weeks_of_one_time_are_calm(build: Any, store: EventStore, window: Window, weeks: pd.DataFrame) -> None:
    mixed = weeks["1975":"1990"].sample(frac=1.0, random_state=2)  # type: ignore[misc]
    said = decided(build, store, window, then=mixed[:400], now=mixed[400:])
    assert isinstance(said, Healthy)
