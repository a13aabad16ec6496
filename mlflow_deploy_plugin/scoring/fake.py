"""A scorer without a network, for tests of what stands above this room."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mlflow_deploy_plugin.errors import ScoringError
from mlflow_deploy_plugin.scoring.client import Address
from mlflow_deploy_plugin.scoring.plain import Plain


@dataclass(slots=True, kw_only=True)
class FakeScorer:
    """Answers everything with ``answer``, or refuses with ``error``; remembers what it was sent."""

    answer: Plain = field(default_factory=lambda: {"predictions": [1]})
    error: ScoringError | None = None
    unexplained: ScoringError | None = None
    """What ``explain`` alone is refused with."""
    metadata_answer: Plain = None
    sent: list[tuple[str, Address, Any]] = field(default_factory=list)
    """(verb, address, body) in order."""

    def invoke(self, address: Address, body: dict[str, Any]) -> Plain:
        """The canned answer."""
        return self._answer("invocations", address, body)

    def explain(self, address: Address, body: dict[str, Any]) -> Plain:
        """The canned answer."""
        if self.unexplained is not None:
            raise self.unexplained
        return self._answer("explain", address, body)

    def stream(self, address: Address, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The canned answer as the only event."""
        answer = self._answer("stream", address, body)
        yield answer if isinstance(answer, dict) else {"predictions": answer}

    def post(self, address: Address, content: bytes, content_type: str) -> Plain:
        """The canned answer."""
        return self._answer("post", address, (content, content_type))

    def metadata(self, address: Address) -> Plain:
        """The canned metadata; ``None`` where none was given."""
        self.sent.append(("metadata", address, None))
        return self.metadata_answer

    def _answer(self, verb: str, address: Address, body: object) -> Plain:
        self.sent.append((verb, address, body))
        if self.error is not None:
            raise self.error
        return self.answer
