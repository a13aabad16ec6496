"""How long requests took, as counts, since percentiles of many loads cannot be had from those of each. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Counts by latency, each value exact to a fiftieth."""

    counts: tuple[tuple[int, int], ...] = ()
    """(microseconds, how many), ascending."""

    @classmethod
    def of(cls, pairs: Iterable[Sequence[int]]) -> Self:
        """Those of one load, or of several together.

        >>> Latencies.of([(200, 1), (100, 2), (200, 1)]).counts
        ((100, 2), (200, 2))
        """
        counts: dict[int, int] = {}
        for latency_us, count in pairs:
            counts[latency_us] = counts.get(latency_us, 0) + count
        return cls(counts=tuple(sorted(counts.items())))

    @property
    def total(self) -> int:
        """How many requests."""
        return sum(count for _, count in self.counts)

    @property
    def longest_ms(self) -> float:
        """The longest of all; 0 where there was none."""
        return self.counts[-1][0] / 1000 if self.counts else 0.0

    def percentile_ms(self, per_cent: float) -> float:
        """What ``per_cent`` of the requests did not exceed.

        >>> Latencies.of([(1000, 98), (2000, 1), (9000, 1)]).percentile_ms(99)
        2.0
        """
        rank, seen = self.total * per_cent / 100, 0
        for latency_us, count in self.counts:
            seen += count
            if seen >= rank:
                return latency_us / 1000
        return self.longest_ms


def together(parts: Iterable[Latencies]) -> Latencies:
    """Those of several loads."""
    return Latencies.of(pair for part in parts for pair in part.counts)
