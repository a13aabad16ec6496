"""What ``plan`` says of a rollout that has not begun: users, and days, by the traffic of the last week."""

import argparse
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from pipelines.monitoring.event_summaries import Window
from pipelines.promotion.forecast import Traffic, forecast

if TYPE_CHECKING:
    from pipelines.commands.doors import Doors
    from pipelines.commands.ticks import Tick

LOOK_BACK: Final = timedelta(days=7)
SHORTEST: Final = timedelta(hours=1)
"""Less traffic than that is not a rate."""


def lines(tick: "Tick", options: argparse.Namespace, doors: "Doors") -> tuple[str, ...]:
    """Sentences; none while a rollout runs, or where there is none to begin.

    Raises:
        EventStoreError: the event store cannot be read.
    """
    if tick.plan is None or tick.state.is_running or not tick.state.candidates:
        return ()
    return tuple(f"forecast: {line}" for line in forecast(tick.plan, _traffic(tick, options, doors)))


def _traffic(tick: "Tick", options: argparse.Namespace, doors: "Doors") -> Traffic:
    window = Window(
        stage=tick.state.stage,
        endpoint=tick.state.endpoint,
        begin=tick.now - LOOK_BACK,
        end=tick.now + timedelta(seconds=1),
    )
    with doors.open_events(doors.known_events_at(options.events)) as log:
        arms = log.exposure(window).arms.values()
    users, failed = sum(arm.users for arm in arms), sum(arm.users_with_error for arm in arms)
    began = min((period.began for arm in arms for period in arm.periods), default=None)
    seen = _per_day(users, began, tick.now)
    return Traffic(users_per_day=options.users_per_day or seen, error_ratio=failed / users if users else None)


def _per_day(users: int, began: datetime | None, now: datetime) -> float | None:
    if began is None or now - began < SHORTEST:
        return None
    return users / ((now - began) / timedelta(days=1))
