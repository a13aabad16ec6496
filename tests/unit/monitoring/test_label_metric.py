from datetime import UTC, datetime, timedelta

import pandas as pd

from pipelines.monitoring.exposure import Period
from pipelines.monitoring.label_metric import FIRST_LABEL, LABEL, label_metrics, own_past

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def labelled(*rows: tuple[str, str, int, float]) -> pd.DataFrame:
    """Deployment, user, minutes after noon, label."""
    frame = pd.DataFrame(rows, columns=["deployment", "unit", "minute", "label"])
    times = NOON + pd.to_timedelta(frame["minute"], unit="min")
    return frame.assign(time=times, arrived=times)


def period(minute: int) -> Period:
    return Period(began=NOON + timedelta(minutes=minute), commits=(), shares={}, users={}, failed={})


def test_a_user_belongs_to_the_period_of_the_first_labelled_prediction() -> None:
    rows = labelled(("v3", "ann", 5, 1.0), ("v3", "bob", 70, 2.0), ("v3", "ann", 80, 3.0), ("v3", "cy", -1, 4.0))
    found = label_metrics(rows, "v3", [period(0), period(60)])[LABEL]
    assert found.sums.tolist() == [4.0, 2.0, 2.0]
    assert found.period.tolist() == [0, 0, 1]


def test_a_user_whom_the_canary_took_over_stays_with_stable() -> None:
    rows = labelled(("v3", "ann", 5, 1.0), ("v4", "ann", 70, 9.0), ("v4", "bob", 71, 2.0))
    assert label_metrics(rows, "v4", [period(0), period(60)])[LABEL].sums.tolist() == [2.0]
    assert label_metrics(rows, "v3")[LABEL].period is None


def test_first_labels_come_as_they_arrived_so_that_a_later_look_only_adds() -> None:
    rows = labelled(("v3", "ann", 1, 1.0), ("v3", "ann", 2, 5.0), ("v3", "bob", 3, 2.0), ("v3", "cy", 4, 3.0))
    late = rows.assign(arrived=[90, 40, 10, 20])
    now = label_metrics(late[late["arrived"] <= 20], "v3")[FIRST_LABEL]
    later = label_metrics(late, "v3")[FIRST_LABEL]
    assert now.sums.tolist() == [2.0, 3.0]
    assert later.sums.tolist() == [2.0, 3.0, 5.0]


def test_who_has_no_past_counts_as_the_average_one() -> None:
    past = own_past(labelled(("v1", "ann", -90, 1.0), ("v1", "ann", -80, 3.0), ("v1", "bob", -70, 6.0)))
    rows = labelled(("v3", "ann", 1, 1.0), ("v3", "cy", 2, 5.0))
    assert label_metrics(rows, "v3", past=past)[LABEL].before.tolist() == [2.0, 4.0]
    assert label_metrics(rows, "v3", past=past.iloc[:0])[LABEL].before is None
