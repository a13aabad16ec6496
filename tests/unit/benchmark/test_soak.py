"""What must hold of a soak: tails beside the empty app's, no stall, flat memory, right answers."""

from collections.abc import Sequence
from typing import Any

from pipelines.benchmark.latencies import Latencies, together
from pipelines.benchmark.soak import Soaked, Stretch
from pipelines.benchmark.tables import soaked


def stretch(*, p50_us: int = 200, tail_us: int = 500, pss_mb: float = 100.0, bad: int = 0) -> Stretch:
    latencies = Latencies.of([(p50_us, 970), (tail_us, 30)])
    return Stretch(seconds=1.0, requests=1000, checked=0, bad=bad, latencies=latencies, pss_mb=pss_mb)


def found(*ours: Stretch, empty: Sequence[Stretch] = (stretch(p50_us=100, tail_us=200),)) -> Soaked:
    return Soaked(subject="log-full", stretches={"empty": empty, "log-full": ours})


def broken(of: Soaked) -> list[str]:
    return [claim.what for claim in of.claims() if not claim.holds]


def test_a_steady_server_breaks_nothing() -> None:
    assert broken(found(*[stretch()] * 5)) == []


def test_a_tail_is_judged_by_its_own_median_or_by_what_the_machine_does_to_everybody() -> None:
    slow = stretch(tail_us=5000)
    assert broken(found(slow)) == ["p99"]
    assert broken(found(slow, empty=[stretch(tail_us=4000)])) == []


def test_one_long_answer_is_a_stall_unless_the_machine_stood_still() -> None:
    stalled = Stretch(
        seconds=1.0,
        requests=1000,
        checked=0,
        bad=0,
        latencies=together([stretch().latencies, Latencies.of([(400_000, 1)])]),
        pss_mb=100.0,
    )
    assert broken(found(stalled)) == ["longest answer"]
    assert broken(found(stalled, empty=[stretch(tail_us=300_000)])) == []


def test_memory_is_judged_by_medians_so_that_one_peak_is_no_growth() -> None:
    peak: list[Any] = [stretch()] * 4 + [stretch(pss_mb=300.0)] + [stretch()] * 5
    assert broken(found(*peak)) == []
    assert broken(found(*[stretch(pss_mb=100.0 + 2 * nth) for nth in range(10)])) == ["growth of memory"]


def test_a_wrong_answer_is_told_and_the_table_says_what_does_not_hold() -> None:
    of = found(stretch(bad=1))
    assert broken(of) == ["failed, lost or wrong"]
    (line,) = [line for line in soaked(of).splitlines() if "failed, lost or wrong" in line]
    assert line.rstrip("| ").endswith("no")
