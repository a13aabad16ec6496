"""W3C Trace Context (https://www.w3.org/TR/trace-context/): read, continued by a span of ours, told and logged.

No span is exported from here: a request that comes without a context is not traced, and one that comes with it leaves
its ids in the answer and in the prediction log, where a tracing backend and the log are joined. A ``traceparent`` that
is not whole is ignored with its ``tracestate``, as the standard demands.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

PARENT: Final = b"traceparent"
STATE: Final = b"tracestate"
MAX_STATE: Final = 512
"""Characters of a tracestate that is passed on; the standard asks for at least these."""

_PARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class Trace(NamedTuple):
    """The trace that a request belongs to, and our span within it; ids in lower-case hexadecimal."""

    trace_id: str
    parent_id: str
    span_id: str
    flags: str
    state: str = ""

    @property
    def parent(self) -> str:
        """``traceparent`` of whatever comes after us."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    def headers(self) -> list[tuple[str, str]]:
        """What an answer says of it."""
        told = [(PARENT.decode(), self.parent)]
        return [*told, (STATE.decode(), self.state)] if self.state else told


def read_trace(headers: Mapping[bytes, bytes]) -> Trace | None:
    """The trace of a request; None where it has none.

    >>> parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    >>> trace = read_trace({b"traceparent": parent, b"tracestate": b"vendor=x"})
    >>> (trace.trace_id, trace.parent_id, trace.flags, trace.state)
    ('0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331', '01', 'vendor=x')
    """
    given = headers.get(PARENT)
    if given is None:
        return None
    matched = _PARENT.fullmatch(given)
    if matched is None:
        return None
    version, trace_id, parent_id, flags, more = matched.groups()
    is_void = not trace_id.strip(b"0") or not parent_id.strip(b"0")
    if is_void or version == b"ff" or (version == b"00" and more):
        return None
    state = headers.get(STATE, b"")
    return Trace(
        trace_id=trace_id.decode(),
        parent_id=parent_id.decode(),
        span_id=f"{random.getrandbits(64) or 1:016x}",
        flags=flags.decode(),
        state=state.decode("latin-1") if len(state) <= MAX_STATE else "",
    )
