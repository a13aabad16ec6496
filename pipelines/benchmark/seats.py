"""A seat of a measurement: one subject, started and answering, with a load for each format that it speaks."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pipelines.benchmark.load import Load, put_requests
from pipelines.benchmark.stage import Stage, SubjectError, Up, free_ports
from pipelines.benchmark.subjects import Ground, Subject
from pipelines.benchmark.wires import Format
from pipelines.benchmark.works import Prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One started server, and how it is loaded."""

    name: str
    up: Up
    loads: Mapping[Format, Load]
    """In the order of the work's formats; at least one."""


def seated(stack: ExitStack, stage: Stage, prepared: Prepared, subject: Subject, folder: Path) -> Seat:
    """``subject`` in a new ``folder``, answering until ``stack`` ends.

    Raises:
        ModelserveError: it does not start, or speaks none of the work's formats.
    """
    folder.mkdir(parents=True)
    (port,) = free_ports(1)
    loads = dict(_loads(stage, prepared, subject, folder))
    if not loads:
        raise SubjectError(f"{subject.name} speaks none of {', '.join(prepared.work.formats)}")
    wire = next(iter(loads.values())).wire
    placed = subject.placed(Ground(prepared=prepared, folder=folder, port=port))
    up = stack.enter_context(stage.serving(placed, port=port, wire=wire, row=prepared.rows[0]))
    return Seat(name=subject.name, up=up, loads=loads)


def _loads(stage: Stage, prepared: Prepared, subject: Subject, folder: Path) -> Iterator[tuple[Format, Load]]:
    for format_ in prepared.work.formats:
        if (wire := subject.wires(prepared.work.name, format_)) is not None:
            requests = folder / f"requests-{format_}"
            put_requests(prepared, wire, requests)
            machine, is_checked = stage.machine, subject.has_answers
            load = Load(machine=machine, prepared=prepared, wire=wire, requests=requests, is_checked=is_checked)
            yield format_, load
