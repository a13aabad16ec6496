"""What the server under the application knows of a connection, read where ASGI has no cheap way to ask.

uvicorn binds ``receive`` to the cycle of one request, which knows whether the client has gone and whether the body is
complete. Under any other server both answers are "not known", which costs only the optimisation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Receive = Callable[[], Awaitable[dict[str, Any]]]


class Connection:
    """One request's view of its connection."""

    __slots__ = ("_cycle",)

    def __init__(self, receive: Receive) -> None:
        self._cycle = getattr(receive, "__self__", None)

    def is_gone(self) -> bool:
        """Whether the client is known to have hung up."""
        return getattr(self._cycle, "disconnected", False) is True

    def whole_body(self) -> bytes | None:
        """The body, where it is known to have arrived; None: it must be received.

        ``receive`` would give the same for a coroutine, an event and a dict more; what else it does (to let a paused
        connection go on) uvicorn does again when the response is complete.
        """
        cycle = self._cycle
        if getattr(cycle, "more_body", True) is not False or cycle.disconnected is not False:  # type: ignore[union-attr]
            return None
        body = getattr(cycle, "body", None)
        return bytes(body) if isinstance(body, (bytearray, bytes)) else None
