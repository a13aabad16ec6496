"""The state of a rollout as annotations of its route: written by decisions, read by the next tick. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Literal

from mlflow_deploy_plugin.manifests import holds_text, time_text
from mlflow_deploy_plugin.manifests.model import Hold
from mlflow_deploy_plugin.spec import annotations

Phase = Literal["progressing", "approved", "frozen", "aborted", "inconclusive", "successful"]

PROGRESSING: Final[Phase] = "progressing"
APPROVED: Final[Phase] = "approved"
FROZEN: Final[Phase] = "frozen"
ABORTED: Final[Phase] = "aborted"
INCONCLUSIVE: Final[Phase] = "inconclusive"
SUCCESSFUL: Final[Phase] = "successful"

MAX_REASON: Final = 300
"""Characters of a reason that a hold carries."""

MAX_HOLDS: Final = 8
"""Holds that a route carries; of more the oldest go."""

Marks = dict[str, str | None]
"""Annotations to set; ``None`` removes one."""


def _second(moment: datetime) -> str:
    return time_text(moment.replace(microsecond=0))


def held(fresh: Sequence[Hold], before: Iterable[Hold]) -> Marks:
    """New holds beside those that are there; the newest word on a model counts."""
    digests = {hold.model_digest for hold in fresh}
    kept = [hold for hold in before if hold.model_digest not in digests]
    return {annotations.HOLD: holds_text([*fresh, *kept][:MAX_HOLDS]) or None}


def lifted(digests: Iterable[str], before: Iterable[Hold]) -> Marks:
    """The holds but for those on these models."""
    gone = set(digests)
    return held([], [hold for hold in before if hold.model_digest not in gone])


def rolled_back(*, now: datetime) -> Marks:
    """No rollout runs, and nobody took over; who was at fault is :func:`held`."""
    return {
        annotations.APPROVALS: None,
        annotations.BASELINE: None,
        annotations.ROLLOUT: None,
        annotations.STEP: None,
        annotations.PHASE: ABORTED,
        annotations.SINCE: _second(now),
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
        annotations.BASELINE: None,
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
        annotations.BASELINE: None,
        annotations.ROLLOUT: None,
        annotations.STEP: None,
        annotations.PHASE: SUCCESSFUL if is_won else INCONCLUSIVE,
        annotations.SINCE: _second(now),
    }


def approved(count: int) -> Marks:
    """A person lets the step go on, and lifts a freeze; ``count`` people have by now."""
    return {annotations.PHASE: APPROVED, annotations.APPROVALS: str(count) if count > 1 else None}
