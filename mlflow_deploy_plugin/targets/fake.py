"""An agent without processes, for tests of what stands above targets; the repository's own fake stands beside it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mlflow_deploy_plugin.agent.client import Applied, Outcome
from mlflow_deploy_plugin.agent.status import AgentStatus
from mlflow_deploy_plugin.errors import AgentError


def applied(_commit: str) -> Outcome:
    """The word of an agent to which everything is fine."""
    return Applied()


@dataclass(slots=True, kw_only=True)
class FakeAgent:
    """Gives the word that ``word`` says; remembers how often it was started and what it was asked."""

    word: Callable[[str], Outcome] = applied
    said: AgentStatus | None = None
    broken: str = ""
    """Non-empty: it cannot start, for this reason."""
    starts: int = 0
    waits: int = 0
    asked: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Count the start."""
        if self.broken:
            raise AgentError(self.broken)
        self.starts += 1

    def wait_applied(self, commit: str, timeout_s: float, *, endpoint: str) -> Outcome:  # noqa: ARG002  takes no time
        """The word on ``commit``."""
        self.asked.append(commit)
        return self.word(commit)

    def wait_until(self, holds: Callable[[AgentStatus], bool], timeout_s: float) -> bool:  # noqa: ARG002  takes no time
        """Whether it is so now."""
        self.waits += 1
        return self.said is not None and holds(self.said)

    def status(self) -> AgentStatus | None:
        """What the test gave."""
        return self.said


def make_status(**fields: Any) -> AgentStatus:  # noqa: ANN401  any field of the status
    """What an agent with nothing to do says; a test names only what matters."""
    defaults: dict[str, Any] = {
        "version": "0",
        "pid": 1,
        "started": "2026-01-01T00:00:00Z",
        "stage": "production",
        "repository": "file:///home/repository.git",
        "gateway": "http://gateway.test",
    }
    return AgentStatus(**{**defaults, **fields})
