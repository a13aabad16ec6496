"""Ends connections whose request line and headers do not arrive: uvicorn waits for them for ever.

A client that sends a header's byte now and then, or none at all, would hold a socket of this process as long as it
likes. Every :data:`PERIOD_S` the connections are looked over; one that has owed the same head for ``limit_s`` is
answered 408 and closed. No request has a timer for it. A connection between two requests owes nothing, since the
gateway keeps those.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable


class Connection(Protocol):
    """What is asked of a connection."""

    transport: asyncio.Transport

    @property
    def owes(self) -> object | None:
        """One object for one head that has not arrived; None: nothing is owed."""


PERIOD_S: Final = 5.0
LIMIT_S: Final = 30.0
"""As long as a body may take; a head is one packet, and comes with the connection."""
REFUSAL: Final = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

_logger = logging.getLogger("modelserve.launch")


class SlowHeads:
    """Watches the connections of one server."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connections: Callable[[], Iterable[Connection]],
        *,
        limit_s: float = LIMIT_S,
        period_s: float = PERIOD_S,
    ) -> None:
        self._loop = loop
        self._connections = connections
        self._limit_s = limit_s
        self._period_s = period_s
        self._since: dict[Connection, tuple[object, float]] = {}
        """By connection, which head it owes, and since when that is known."""

    def watch(self) -> None:
        """Look them over now, and again."""
        now, known = self._loop.time(), self._since
        self._since = {}
        for connection in self._connections():
            owed = connection.owes
            if owed is not None:
                before = known.get(connection)
                self._since[connection] = before if before is not None and before[0] is owed else (owed, now)
        late = [connection for connection, (_, since) in self._since.items() if now - since >= self._limit_s]
        for connection in late:
            _refuse(connection)
        if late:
            _logger.warning("closed %d connections whose headers did not arrive in %g s", len(late), self._limit_s)
        self._loop.call_later(self._period_s, self.watch)


def _refuse(connection: Connection) -> None:
    transport = connection.transport
    if not transport.is_closing():
        transport.write(REFUSAL)
        transport.close()
