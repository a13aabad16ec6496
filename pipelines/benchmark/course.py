"""The order of everything: rounds of all subjects, each beside what it is told against, and short turns between them.

A subject, the empty app and, for a layer of ours, the plain server are all started; then they are loaded in turn, a
second each, forth and back, at each number of connections. What drifts on the machine, and it does within seconds,
meets all of them alike; ratios are of one turn. The order of subjects turns by one each round.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from mlflow_deploy_plugin.errors import ModelserveError
from pipelines.benchmark.results import Absence, Cell, Footprint, Sample, Turn, references
from pipelines.benchmark.seats import Seat, seated
from pipelines.benchmark.stage import Stage
from pipelines.benchmark.subjects import Subject
from pipelines.benchmark.wires import Format
from pipelines.benchmark.works import Prepared

TURN_S: Final = 1.0
"""Seconds of one load; wrk takes whole ones."""
SETTLE_S: Final = 1.5
"""After the last turn, for what a server does later, such as writing its log: that is once a second."""
_MEGA: Final = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how often."""

    rounds: int
    connections: tuple[int, ...]
    seconds: float
    """That each server is loaded at each number of connections, in turns of a second."""
    warmup_s: float

    @property
    def turns(self) -> int:
        """Turns of each server at each number of connections in each round."""
        return max(1, round(self.seconds / TURN_S))


class _Place(NamedTuple):
    """Where the samples of some turns belong."""

    work: str
    format: Format
    connections: int
    of: str
    round: int


@dataclass(slots=True, kw_only=True)
class Course:
    """One run; what it found grows while it goes on, so that an interrupted one still has its rounds."""

    stage: Stage
    schedule: Schedule
    folder: Path
    tell: Callable[[str], None]
    samples: list[Sample] = field(default_factory=list)
    footprints: list[Footprint] = field(default_factory=list)
    absences: dict[tuple[str, str], Absence] = field(default_factory=dict)

    def load_s(self, works: Sequence[Prepared], subjects: Mapping[str, Subject]) -> float:
        """Seconds that all loads take together, warm-ups included; starts come on top."""
        each_s = self.schedule.warmup_s + self.schedule.turns * TURN_S * len(self.schedule.connections)
        loads = sum(
            subjects[one].wires(prepared.work.name, format_) is not None
            for prepared in works
            for name in subjects
            for format_ in _formats(prepared, subjects[name])
            for one in _together(name, subjects)
        )
        return each_s * loads * self.schedule.rounds

    def run(self, works: Sequence[Prepared], subjects: Mapping[str, Subject]) -> None:
        """Every round of every work; a subject that fails sits out the rest of its work."""
        names = list(subjects)
        self.tell(f"{self.load_s(works, subjects) / 60:.0f} minutes of load, and the starts of {len(names)} servers")
        for nth in range(self.schedule.rounds):
            turned = names[nth % len(names) :] + names[: nth % len(names)]
            for prepared in works:
                for name in turned:
                    if not self._is_missed(prepared, name):
                        self._measure(prepared, subjects, of=name, nth=nth)

    def miss(self, work: str, subject: str, reason: str) -> None:
        """Note why a subject is not measured."""
        self.absences[work, subject] = Absence(work=work, subject=subject, reason=" ".join(reason.split()))
        self.tell(f"{work}: {subject} is left out: {reason}")

    def _is_missed(self, prepared: Prepared, name: str) -> bool:
        return (prepared.work.name, name) in self.absences

    def _measure(self, prepared: Prepared, subjects: Mapping[str, Subject], *, of: str, nth: int) -> None:
        """One subject and what it is told against, in turns."""
        with contextlib.ExitStack() as stack:
            seats = [
                seat
                for name in _together(of, subjects)
                if not self._is_missed(prepared, name)
                and (seat := self._start(stack, prepared, subjects[name], label=f"{of}-{nth}"))
            ]
            if self._is_missed(prepared, of):
                return
            for format_ in _formats(prepared, subjects[of]):
                able = [seat for seat in seats if format_ in seat.loads]
                for connections in self.schedule.connections:
                    self._take_turns(able, _Place(prepared.work.name, format_, connections, of, nth))
            self.footprints.extend(_footprint(seat, prepared.work.name, nth) for seat in seats)

    def _start(self, stack: contextlib.ExitStack, prepared: Prepared, subject: Subject, *, label: str) -> Seat | None:
        """The subject, warm and answering until ``stack`` ends; ``None``: it does not, and that is noted."""
        folder = self.folder / f"{prepared.work.name}-{label}-{subject.name}"
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            seat = seated(stack, self.stage, prepared, subject, folder)
            for load in seat.loads.values() if self.schedule.warmup_s > 0 else ():
                load.run(seat.up, connections=max(self.schedule.connections), seconds=self.schedule.warmup_s)
        except (ModelserveError, OSError) as error:
            self.miss(prepared.work.name, subject.name, str(error))
            return None
        return seat

    def _take_turns(self, seats: Sequence[Seat], place: _Place) -> None:
        """Each in its turn, and back again; who fails is left out."""
        taken: dict[str, list[tuple[float, Sample]]] = {seat.name: [] for seat in seats}
        for turn in range(self.schedule.turns):
            for seat in seats if turn % 2 == 0 else reversed(seats):
                if {(place.work, seat.name), (place.work, place.of)} & self.absences.keys():
                    continue
                began_s = seat.up.family.cpu_s()
                try:
                    taken[seat.name].append((began_s, _sample(seat, place, turn)))
                except (ModelserveError, OSError) as error:
                    self.miss(place.work, seat.name, str(error))
        self.stage.sleep(SETTLE_S)
        samples = [sample for seat in seats for sample in taken_whole(taken[seat.name], seat.up.family.cpu_s())]
        self.samples.extend(samples)
        if samples:
            self._tell_of(place, samples)

    def _tell_of(self, place: _Place, samples: Sequence[Sample]) -> None:
        each = {
            name: median(one.cpu_s_per_1000 for one in samples if one.cell.subject == name)
            for name in dict.fromkeys(one.cell.subject for one in samples)
        }
        told = ", ".join(f"{name} {cpu_s:.3f}" for name, cpu_s in each.items())
        self.tell(f"round {place.round + 1}: {place.work} {place.format} c{place.connections}, CPU-s per 1,000: {told}")


def taken_whole(taken: Sequence[tuple[float, Sample]], ended_s: float) -> Iterator[Sample]:
    """Samples with all the CPU that their requests cost: until the server's next turn, since some of it comes later.

    ``taken`` is the server's CPU when each turn began, and what was measured in it; ``ended_s`` its CPU in the end.
    """
    ends_s = [*(began_s for began_s, _ in taken[1:]), *([ended_s] if taken else [])]
    for (began_s, sample), end_s in zip(taken, ends_s, strict=True):
        yield replace(sample, cpu_s=max(end_s - began_s, sample.cpu_s))


def _together(name: str, subjects: Mapping[str, Subject]) -> list[str]:
    """Who is started for the measurement of ``name``: what it is told against, and itself."""
    return [*(one for one in references(name) if one in subjects), name]


def _formats(prepared: Prepared, subject: Subject) -> list[Format]:
    return [one for one in prepared.work.formats if subject.wires(prepared.work.name, one) is not None]


def _sample(seat: Seat, place: _Place, nth: int) -> Sample:
    measured = seat.loads[place.format].run(seat.up, connections=place.connections, seconds=TURN_S)
    cell = Cell(work=place.work, format=place.format, connections=place.connections, subject=seat.name)
    figures = {name: figure for name, figure in asdict(measured).items() if name != "latencies"}
    return Sample(cell=cell, turn=Turn(round=place.round, of=place.of, nth=nth), **figures)


def _footprint(seat: Seat, work: str, nth: int) -> Footprint:
    return Footprint(
        work=work,
        subject=seat.name,
        round=nth,
        start_s=seat.up.start_s,
        start_cpu_s=seat.up.start_cpu_s,
        pss_mb=seat.up.family.pss_bytes() / _MEGA,
        processes=len(seat.up.family.pids()),
    )
