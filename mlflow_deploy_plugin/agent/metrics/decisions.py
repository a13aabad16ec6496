"""What was decided last on each endpoint, by trailers or, where a person committed, by effect. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mlflow_deploy_plugin.manifests.model import Stage
from mlflow_deploy_plugin.repository import Commit

ACTIONS: Final = frozenset(
    {
        *("create", "update", "delete", "join", "split", "restore"),
        *("step", "promote", "conclude", "retire", "shadow", "stage", "approve", "freeze", "rollback"),
    }
)
"""What trailers may say; anything else is :data:`OTHER`."""
EDIT: Final = "edit"
"""A commit without trailers."""
OTHER: Final = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The newest commit on one endpoint."""

    action: str
    commit: str
    time: datetime


def of_trailers(commits: Iterable[Commit], *, stage: str) -> dict[str, Decision]:
    """The newest decision on each endpoint of ``stage``; ``commits`` come newest first."""
    found: dict[str, Decision] = {}
    for commit in commits:
        said = commit.trailers
        if said is not None and said.stage == stage and said.endpoint and said.endpoint not in found:
            action = said.action if said.action in ACTIONS else OTHER
            found[said.endpoint] = Decision(action=action, commit=commit.sha, time=commit.time)
    return found


def of_effect(head: Commit, *, before: Stage | None, after: Stage) -> dict[str, Decision]:
    """A decision on each endpoint that ``head`` made other than it was; none where it is not known how it was."""
    if before is None:
        return {}
    changed = [name for name, one in after.endpoints.items() if before.endpoints.get(name) != one]
    return {name: Decision(action=EDIT, commit=head.sha, time=head.time) for name in changed}


def newest(
    known: Mapping[str, Decision], found: Mapping[str, Decision], *, served: Iterable[str]
) -> dict[str, Decision]:
    """``known`` with ``found`` over it, of the endpoints that are served."""
    merged = {**known, **found}
    return {name: merged[name] for name in served if name in merged}
