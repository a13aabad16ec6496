from datetime import UTC, datetime, timedelta

import pandas as pd

from pipelines.monitoring.exposure import Period
from pipelines.monitoring.label_metric import label_metric

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def labelled(*rows: tuple[str, str, int, float]) -> pd.DataFrame:
    """Deployment, user, minutes after noon, label."""
    frame = pd.DataFrame(rows, columns=["deployment", "unit", "minute", "label"])
    return frame.assign(time=NOON + pd.to_timedelta(frame["minute"], unit="min"))


def period(minute: int) -> Period:
    return Period(began=NOON + timedelta(minutes=minute), commits=(), shares={}, users={}, failed={})


def test_a_user_belongs_to_the_period_of_the_first_labelled_prediction() -> None:
    rows = labelled(("v3", "ann", 5, 1.0), ("v3", "bob", 70, 2.0), ("v3", "ann", 80, 3.0), ("v3", "cy", -1, 4.0))
    found = label_metric(rows, "v3", [period(0), period(60)])
    assert found.sums.tolist() == [2.0, 2.0, 4.0]
    assert found.period.tolist() == [0, 1, 0]


def test_a_user_whom_the_canary_took_over_stays_with_stable() -> None:
    rows = labelled(("v3", "ann", 5, 1.0), ("v4", "ann", 70, 9.0), ("v4", "bob", 71, 2.0))
    assert label_metric(rows, "v4", [period(0), period(60)]).sums.tolist() == [2.0]
    assert label_metric(rows, "v3").period is None
