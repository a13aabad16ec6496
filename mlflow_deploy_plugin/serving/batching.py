"""The scheduler's decisions, apart from asyncio: who waits, who is refused, who runs next and with whom.

Pure: time is an argument, nothing is awaited and no model is called. Rules:

- Only tickets of equal group are joined; order of arrival is kept, and the oldest ticket decides the group, so that
  no group starves another.
- Rows are counted, not requests. A ticket that is larger than a batch runs alone and whole: cutting it could change
  the answer of a model that looks across rows.
- Nobody waits for company. A batch is what has gathered while the model was busy.
- The size of a batch follows the measured service time, so that a request that arrives just after a batch began is
  still answered within ``latency_s``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

T = TypeVar("T")

DECAY: Final = 0.95
"""Weight of the past per batch: about the last 20 batches count, enough to see a slope and forget a hiccup."""


@dataclass(slots=True)
class Ticket(Generic[T]):
    """One waiting request. ``group`` None: it runs alone."""

    item: T
    rows: int
    group: Hashable | None
    deadline: float


@dataclass(frozen=True, slots=True)
class Taken(Generic[T]):
    """What to do next: run ``batch`` in one call, tell ``expired`` that their time is up, forget ``gone``."""

    batch: list[Ticket[T]]
    expired: list[Ticket[T]]
    gone: list[Ticket[T]]


@dataclass(slots=True)
class ServiceTime:
    """Seconds of one call as ``fixed + per_row * rows``, fitted to the recent batches by weighted least squares."""

    weight: float = 0.0
    rows: float = 0.0
    seconds: float = 0.0
    squares: float = 0.0
    products: float = 0.0

    def learn(self, rows: int, seconds: float) -> None:
        """One measured call."""
        self.weight = self.weight * DECAY + 1.0
        self.rows = self.rows * DECAY + rows
        self.seconds = self.seconds * DECAY + seconds
        self.squares = self.squares * DECAY + rows * rows
        self.products = self.products * DECAY + rows * seconds

    def fit(self) -> tuple[float, float]:
        """(fixed, per row), both in seconds and neither negative. Of one size alone all of it is blamed on the rows."""
        if not self.weight:
            return 0.0, 0.0
        mean_rows, mean_seconds = self.rows / self.weight, self.seconds / self.weight
        spread = self.squares / self.weight - mean_rows * mean_rows
        if spread < 1e-6 * mean_rows * mean_rows + 1e-9:
            return 0.0, mean_seconds / mean_rows
        slope = (self.products / self.weight - mean_rows * mean_seconds) / spread
        per_row = min(max(slope, 0.0), mean_seconds / mean_rows)
        return max(mean_seconds - per_row * mean_rows, 0.0), per_row

    def rows_within(self, latency_s: float, most: int) -> int:
        """Rows of the largest batch that keeps the latency target.

        A request may arrive just after a batch began and then waits for two: each gets half of the target. Where one
        row alone takes more than that, no size can keep it, and batches up to twice a lone call's time are taken for
        the sake of the queue behind.
        """
        fixed, per_row = self.fit()
        if per_row <= 0.0:
            return most
        budget = max(latency_s / 2, 2 * (fixed + per_row))
        return max(1, min(most, int((budget - fixed) / per_row + 1e-9)))


@dataclass(slots=True)
class Batcher(Generic[T]):
    """The waiting room of one worker."""

    max_rows: int
    max_waiting: int
    """Rows that may wait; a ticket that finds the room empty is always let in."""
    latency_s: float
    is_joining: bool = True
    service: ServiceTime = field(default_factory=ServiceTime)
    waiting_rows: int = 0
    _queue: deque[Ticket[T]] = field(default_factory=deque)

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def row_limit(self) -> int:
        """Rows of the next batch, at most."""
        return self.service.rows_within(self.latency_s, self.max_rows) if self.is_joining else 1

    def expected_s(self, rows: int) -> float:
        """How long a call of ``rows`` will take by what was measured; for ever, as long as nothing was."""
        fixed, per_row = self.service.fit()
        return fixed + per_row * rows if self.service.weight else float("inf")

    def offer(self, ticket: Ticket[T]) -> bool:
        """Let a ticket wait; False: the room is full."""
        if self._queue and self.waiting_rows + ticket.rows > self.max_waiting:
            return False
        self._queue.append(ticket)
        self.waiting_rows += ticket.rows
        return True

    def put_back(self, tickets: Iterable[Ticket[T]]) -> None:
        """Tickets of a batch that failed: each runs again by itself, before all others, in their order."""
        for ticket in reversed(list(tickets)):
            ticket.group = None
            self._queue.appendleft(ticket)
            self.waiting_rows += ticket.rows

    def take(self, now: float, is_gone: Callable[[T], bool]) -> Taken[T]:
        """The next batch; empty where nothing waits."""
        expired: list[Ticket[T]] = []
        gone: list[Ticket[T]] = []
        batch: list[Ticket[T]] = []
        passed: list[Ticket[T]] = []
        rows, limit = 0, self.row_limit
        while self._queue and rows < limit:
            ticket = self._queue.popleft()
            if is_gone(ticket.item):
                gone.append(ticket)
            elif ticket.deadline <= now:
                expired.append(ticket)
            elif not batch or self._may_join(batch[0], ticket, rows, limit):
                batch.append(ticket)
                rows += ticket.rows
                if ticket.group is None:
                    break
            else:
                passed.append(ticket)
        self._queue.extendleft(reversed(passed))
        self.waiting_rows -= sum(ticket.rows for left in (batch, expired, gone) for ticket in left)
        return Taken(batch, expired, gone)

    def _may_join(self, first: Ticket[T], ticket: Ticket[T], rows: int, limit: int) -> bool:
        return (
            self.is_joining and ticket.group is not None and ticket.group == first.group and rows + ticket.rows <= limit
        )

    def drop_all(self) -> list[Ticket[T]]:
        """Empty the room."""
        tickets = list(self._queue)
        self._queue.clear()
        self.waiting_rows = 0
        return tickets
