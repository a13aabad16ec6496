"""The door to Prometheus: instant queries over HTTP, and a canned server that ships for tests.

Knows nothing of rollouts. A server that is away, or that answers anything but a vector, is an error and never a number.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from mlflow_deploy_plugin.errors import ConfigError, ModelserveError, RetryLaterError

if TYPE_CHECKING:
    import httpx

Labels = frozenset[tuple[str, str]]
Vector = Mapping[Labels, float]
"""The value of each series, by its labels."""

TIMEOUT_S: Final = 20.0
PATH: Final = "/api/v1/query"
_BAD_QUERY: Final = frozenset({400, 422})
_OK: Final = 200


class Prometheus(Protocol):
    """One verb: what an expression was at a moment."""

    def query(self, expression: str, at: datetime) -> Vector:
        """The instant vector of ``expression`` at ``at``.

        Raises:
            RetryLaterError: the server is away or overloaded.
            ModelserveError: it refuses the query, or is no Prometheus.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpPrometheus:
    """A server at ``url``, with its path prefix if it has one."""

    url: str
    transport: "httpx.BaseTransport | None" = None
    """Another transport for tests: :class:`CannedPrometheus`."""

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in {"http", "https"} or not urlsplit(self.url).hostname:
            raise ConfigError(f"{self.url!r} is no address of Prometheus; write one such as http://127.0.0.1:9090")

    def query(self, expression: str, at: datetime) -> Vector:
        """The instant vector of ``expression`` at ``at``."""
        import httpx  # noqa: PLC0415  a light command must not pay for it

        asked = {"query": expression, "time": f"{at.timestamp():.3f}"}
        try:
            with httpx.Client(transport=self.transport, timeout=TIMEOUT_S, trust_env=False) as client:
                answer = client.get(self.url.rstrip("/") + PATH, params=asked)
        except httpx.TransportError as error:
            raise RetryLaterError(f"Prometheus at {self.url} does not answer ({error}); try again later") from error
        return _vector(answer, self.url)


def _vector(answer: "httpx.Response", url: str) -> Vector:
    if answer.status_code in _BAD_QUERY:
        raise ModelserveError(f"Prometheus at {url} refuses the query: {answer.text[:300]}")
    if answer.status_code != _OK:
        raise RetryLaterError(f"Prometheus at {url} answers {answer.status_code}: {answer.text[:200]}; try again later")
    try:
        return {_labels(one["metric"]): float(one["value"][1]) for one in answer.json()["data"]["result"]}
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ModelserveError(f"{url} does not answer as Prometheus does: {answer.text[:200]}") from error


def _labels(metric: Mapping[str, str]) -> Labels:
    return frozenset((name, text) for name, text in metric.items() if name != "__name__")


@dataclass(slots=True)
class CannedPrometheus:
    """A Prometheus without a process: counters as a test wrote them, behind the real client's HTTP.

    Understands the shapes that :mod:`.counter_source` and :mod:`.gpu_source` ask: ``SELECTOR``, and ``resets`` and
    ``max_over_time`` and the like of ``SELECTOR[Nms]``, each selector as the text that was given to :meth:`record`.
    """

    samples: dict[str, dict[Labels, list[tuple[datetime, float]]]] = field(default_factory=dict)
    is_away: bool = False
    lookback_s: float = 300.0

    def record(self, selector: str, at: datetime, value: float, **labels: str) -> None:
        """One scrape of one series that ``selector`` matches."""
        self.samples.setdefault(selector, {}).setdefault(frozenset(labels.items()), []).append((at, value))

    def client(self) -> HttpPrometheus:
        """The real client, speaking to this."""
        import httpx  # noqa: PLC0415

        return HttpPrometheus(url="http://prometheus.invalid", transport=httpx.MockTransport(self._answer))

    def _answer(self, request: "httpx.Request") -> "httpx.Response":
        import httpx  # noqa: PLC0415

        if self.is_away:
            raise httpx.ConnectError("connection refused", request=request)
        asked = request.url.params
        at = datetime.fromtimestamp(float(asked["time"]), tz=UTC)
        result = [
            {"metric": dict(labels), "value": [at.timestamp(), str(value)]}
            for labels, value in self._evaluate(asked["query"], at)
        ]
        body = {"status": "success", "data": {"resultType": "vector", "result": result}}
        return httpx.Response(_OK, content=json.dumps(body))

    def _evaluate(self, expression: str, at: datetime) -> list[tuple[Labels, float]]:
        function, _, inner = expression.partition("(") if expression.endswith(")") else ("", "", expression)
        selector, _, window = inner.removesuffix(")").rpartition("[") if function else (inner, "", "")
        span = float(window.removesuffix("ms]")) / 1000 if window else self.lookback_s
        found: list[tuple[Labels, float]] = []
        for labels, series in self.samples.get(selector, {}).items():
            values = [value for when, value in series if 0 <= (at - when).total_seconds() <= span]
            if values:
                found.append((labels, _APPLIED[function](values)))
        return found


def _resets(values: list[float]) -> float:
    return float(sum(after < before for before, after in pairwise(values)))


def _last(values: list[float]) -> float:
    return values[-1]


def _largest(values: list[float]) -> float:
    return max(values, default=math.nan)


_APPLIED: Final[Mapping[str, Any]] = {
    "": _last,
    "resets": _resets,
    "max_over_time": _largest,
    "min_over_time": min,
    "count_over_time": len,
}
