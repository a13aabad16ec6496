"""What a batch of answers keeps while it waits for the disk: few objects, however many requests."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from mlflow_deploy_plugin.serving.record import Batch
from mlflow_deploy_plugin.serving.request import Caller

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlflow_deploy_plugin.serving.request import Payload
    from mlflow_deploy_plugin.serving.trace import Trace

SEPARATOR: Final = "\0"
"""No header of HTTP, nor gRPC's metadata, has it in a value."""


class Waiting(NamedTuple):
    """One batch. Texts of its rows are joined by :data:`SEPARATOR`; empty where each of them would be."""

    rows: int
    request_ids: str
    user_ids: str
    assigned: str
    traces: Sequence[Trace | None]
    protocols: Sequence[str]
    times: array[float]
    latencies_ms: array[float]
    payload: Payload
    output: Any

    @classmethod
    def of(cls, batch: Batch) -> Self:
        """What is kept of a batch."""
        request_ids, user_ids, assigned, traces = zip(*batch.callers, strict=True)
        return cls(
            rows=len(request_ids),
            request_ids=SEPARATOR.join(request_ids),
            user_ids=joined(user_ids),
            assigned=joined(assigned),
            traces=traces if any(traces) else (),
            protocols=batch.protocols,
            times=_numbers(batch.times),
            latencies_ms=_numbers(batch.latencies_ms),
            payload=batch.payload,
            output=batch.output,
        )

    def batch(self) -> Batch:
        """The batch again."""
        no_texts = ("",) * self.rows
        callers = zip(
            self.request_ids.split(SEPARATOR),
            apart(self.user_ids) or no_texts,
            apart(self.assigned) or no_texts,
            self.traces or (None,) * self.rows,
            strict=True,
        )
        return Batch(
            callers=[Caller(*caller) for caller in callers],
            times=self.times,
            protocols=self.protocols,
            latencies_ms=self.latencies_ms,
            payload=self.payload,
            output=self.output,
        )


def joined(texts: Iterable[str]) -> str:
    """One text of many, those that were joined before among them.

    >>> apart(joined(["a", "", "b"])), joined(["", ""])
    (['a', '', 'b'], '')
    """
    text = SEPARATOR.join(texts)
    return text if text.strip(SEPARATOR) else ""


def apart(text: str) -> Sequence[str]:
    """The texts again; none where all are empty."""
    return text.split(SEPARATOR) if text else ()


def _numbers(values: Sequence[float]) -> array[float]:
    return values if isinstance(values, array) else array("d", values)
