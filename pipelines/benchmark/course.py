"""The order of everything: rounds of all subjects, so that what drifts on the machine meets each of them alike.

Within a round one server at a time is started, warmed, loaded at each number of connections and ended. Ratios are of
one round, where the empty app ran minutes before or after; the order turns by one subject each round.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mlflow_deploy_plugin.errors import ModelserveError
from pipelines.benchmark.load import Load, put_requests
from pipelines.benchmark.results import Absence, Cell, Footprint, Sample
from pipelines.benchmark.stage import Stage, Up, free_ports
from pipelines.benchmark.subjects import Ground, Subject
from pipelines.benchmark.wires import Format
from pipelines.benchmark.works import Prepared

_MEGA: int = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how often."""

    rounds: int
    connections: tuple[int, ...]
    seconds: float
    """Of each load."""
    warmup_s: float


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
        each_s = self.schedule.warmup_s + self.schedule.seconds * len(self.schedule.connections)
        loads = sum(
            subject.wires(prepared.work.name, format_) is not None
            for prepared in works
            for format_ in prepared.work.formats
            for subject in subjects.values()
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
                    if (prepared.work.name, name) not in self.absences:
                        self._measure(prepared, subjects[name], nth)

    def miss(self, work: str, subject: str, reason: str) -> None:
        """Note why a subject is not measured."""
        self.absences[work, subject] = Absence(work=work, subject=subject, reason=" ".join(reason.split()))
        self.tell(f"{work}: {subject} is left out: {reason}")

    def _measure(self, prepared: Prepared, subject: Subject, nth: int) -> None:
        work = prepared.work.name
        folder = self.folder / f"{work}-{subject.name}-{nth}"
        folder.mkdir(parents=True)
        (port,) = free_ports(1)
        try:
            self._serve(prepared, subject, nth, Ground(prepared=prepared, folder=folder, port=port))
        except (ModelserveError, OSError) as error:
            self.miss(work, subject.name, str(error))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _serve(self, prepared: Prepared, subject: Subject, nth: int, ground: Ground) -> None:
        loads = dict(self._loads(prepared, subject, ground))
        placed = subject.placed(ground)
        first = next(iter(loads.values()))
        with self.stage.serving(placed, port=ground.port, wire=first.wire, row=prepared.rows[0]) as up:
            for format_, load in loads.items():
                self._load(load, up, format_=format_, subject=subject.name, nth=nth)
            foot = Footprint(
                work=prepared.work.name,
                subject=subject.name,
                round=nth,
                start_s=up.start_s,
                start_cpu_s=up.start_cpu_s,
                pss_mb=up.family.pss_bytes() / _MEGA,
                processes=len(up.family.pids()),
            )
        self.footprints.append(foot)

    def _loads(self, prepared: Prepared, subject: Subject, ground: Ground) -> Iterator[tuple[Format, Load]]:
        for format_ in prepared.work.formats:
            if (wire := subject.wires(prepared.work.name, format_)) is not None:
                requests = ground.folder / f"requests-{format_}"
                put_requests(prepared, wire, requests)
                machine, is_checked = self.stage.machine, subject.has_answers
                load = Load(machine=machine, prepared=prepared, wire=wire, requests=requests, is_checked=is_checked)
                yield format_, load

    def _load(self, load: Load, up: Up, *, format_: Format, subject: str, nth: int) -> None:
        if self.schedule.warmup_s > 0:
            load.run(up, connections=max(self.schedule.connections), seconds=self.schedule.warmup_s)
        for connections in self.schedule.connections:
            measured = load.run(up, connections=connections, seconds=self.schedule.seconds)
            cell = Cell(work=load.prepared.work.name, format=format_, connections=connections, subject=subject)
            sample = Sample(cell=cell, round=nth, **asdict(measured))
            self.samples.append(sample)
            self.tell(
                f"round {nth + 1}: {cell.work} {format_} c{connections} {subject}: {sample.rps:,.0f} rps,"
                f" p99 {sample.p99_ms:.1f} ms, {sample.cpu_s_per_1000:.3f} CPU-s per 1,000"
            )
