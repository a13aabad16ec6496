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

    def has_whole_body(self) -> bool:
        """Whether the body is known to have arrived, so that reading it cannot wait."""
        return getattr(self._cycle, "more_body", True) is False
