"""What a turn costs: all the CPU until the server's next one, since a log is written after the answers."""

from pipelines.benchmark.course import taken_whole
from pipelines.benchmark.results import Cell, Sample, Turn


def sample(nth: int, cpu_s: float) -> Sample:
    return Sample(
        cell=Cell(work="tabular", format="json", connections=1, subject="log-full"),
        turn=Turn(round=0, of="log-full", nth=nth),
        seconds=1.0,
        requests=1000,
        cpu_s=cpu_s,
        p50_ms=1.0,
        p99_ms=1.0,
        failed=0,
        socket_errors=0,
        checked=0,
        wrong=0,
        foreign_share=0.0,
    )


def test_what_a_server_does_between_its_turns_and_after_the_last_is_counted() -> None:
    taken = [(10.0, sample(0, 0.5)), (10.75, sample(1, 0.5))]
    assert [one.cpu_s for one in taken_whole(taken, ended_s=11.5)] == [0.75, 0.75]


def test_a_server_that_has_ended_keeps_what_was_measured() -> None:
    assert [one.cpu_s for one in taken_whole([(10.0, sample(0, 0.5))], ended_s=0.0)] == [0.5]
