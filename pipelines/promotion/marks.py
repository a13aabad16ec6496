"""The state of a rollout as annotations of its route: written by decisions, read by the next tick. Pure."""

from datetime import datetime
from typing import Final, Literal

from mlflow_deploy_plugin.manifests import hold_text, time_text
from mlflow_deploy_plugin.manifests.model import Hold
from mlflow_deploy_plugin.spec import annotations

Phase = Literal["progressing", "approved", "frozen", "aborted", "successful"]

PROGRESSING: Final[Phase] = "progressing"
APPROVED: Final[Phase] = "approved"
FROZEN: Final[Phase] = "frozen"
ABORTED: Final[Phase] = "aborted"
SUCCESSFUL: Final[Phase] = "successful"

MAX_REASON: Final = 300
"""Characters of a reason that a hold carries."""

Marks = dict[str, str | None]
"""Annotations to set; ``None`` removes one."""


def _second(moment: datetime) -> str:
    return time_text(moment.replace(microsecond=0))


def rolled_back(hold: Hold, *, now: datetime) -> Marks:
    """No rollout runs, and this version must not be promoted again by automation."""
    return {
        annotations.APPROVALS: None,
        annotations.ROLLOUT: None,
        annotations.STEP: None,
        annotations.PHASE: ABORTED,
        annotations.SINCE: _second(now),
        annotations.HOLD: hold_text(hold),
    }


def frozen(*, now: datetime) -> Marks:
    """The weights stay, and automation leaves them until a person approves."""
    return {annotations.PHASE: FROZEN, annotations.SINCE: _second(now)}


def stepped(*, rollout: str, step: int, now: datetime) -> Marks:
    """A rollout runs and has just reached ``step``."""
    return {
        annotations.APPROVALS: None,
        annotations.ROLLOUT: rollout,
        annotations.STEP: str(step) if step else None,
        annotations.PHASE: PROGRESSING,
        annotations.SINCE: _second(now),
    }


def promoted(stable: str, *, now: datetime) -> Marks:
    """The canary is the new stable, and no rollout runs."""
    return {
        annotations.APPROVALS: None,
        annotations.STABLE: stable,
        annotations.ROLLOUT: None,
        annotations.STEP: None,
        annotations.PHASE: SUCCESSFUL,
        annotations.SINCE: _second(now),
    }


def concluded(*, is_won: bool, now: datetime) -> Marks:
    """No rollout runs, and nobody took over."""
    return {
        annotations.APPROVALS: None,
        annotations.ROLLOUT: None,
        annotations.STEP: None,
        annotations.PHASE: SUCCESSFUL if is_won else ABORTED,
        annotations.SINCE: _second(now),
    }


def approved(count: int) -> Marks:
    """A person lets the step go on, and lifts a freeze; ``count`` people have by now."""
    return {annotations.PHASE: APPROVED, annotations.APPROVALS: str(count) if count > 1 else None}
