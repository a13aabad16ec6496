"""The state of a rollout as annotations of its route: written by decisions, read by the next tick. Pure."""

from datetime import datetime
from typing import Final, Literal

from mlflow_deploy_plugin.manifests import hold_text, time_text
from mlflow_deploy_plugin.manifests.model import Hold
from mlflow_deploy_plugin.spec import annotations

Phase = Literal["progressing", "paused", "frozen", "aborted", "successful"]

PROGRESSING: Final[Phase] = "progressing"
PAUSED: Final[Phase] = "paused"
FROZEN: Final[Phase] = "frozen"
ABORTED: Final[Phase] = "aborted"
SUCCESSFUL: Final[Phase] = "successful"

Marks = dict[str, str | None]
"""Annotations to set; ``None`` removes one."""


def rolled_back(hold: Hold, *, now: datetime) -> Marks:
    """No rollout runs, and this version must not be promoted again by automation."""
    return {
        annotations.ROLLOUT: None,
        annotations.STEP: None,
        annotations.PHASE: ABORTED,
        annotations.SINCE: time_text(now),
        annotations.HOLD: hold_text(hold),
    }


def frozen(*, now: datetime) -> Marks:
    """The weights stay, and automation leaves them until a person approves."""
    return {annotations.PHASE: FROZEN, annotations.SINCE: time_text(now)}
