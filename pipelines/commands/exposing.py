"""Leaves what a job computed in the home, where the agent exposes it; a full disk costs the metrics and not the job."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from mlflow_deploy_plugin.agent.metrics.evidence import Evidence, leave
from mlflow_deploy_plugin.errors import ConfigError, EventStoreError
from pipelines.commands.doors import Doors
from pipelines.monitoring import exposing
from pipelines.monitoring.exposing import Whose

if TYPE_CHECKING:
    from pipelines.monitoring.events import EventStore
    from pipelines.promotion.drift.record import DriftRecord


def drift(doors: Doors, decided: "DriftRecord", *, now: datetime) -> None:
    """Scores of every feature."""
    _expose(doors, lambda: exposing.of_drift(decided, now=now))


def labels(doors: Doors, store: "EventStore", whose: Whose, *, now: datetime) -> None:
    """Accuracy by window, and labelled predictions by outcome."""
    _expose(doors, lambda: exposing.of_labels(store, whose, now=now))


def _expose(doors: Doors, compute: Callable[[], Evidence]) -> None:
    try:
        leave(doors.home.metrics, compute())
    except (OSError, ConfigError, EventStoreError) as error:
        doors.warn(f"the metrics were not renewed, the rest stands: {error}")
