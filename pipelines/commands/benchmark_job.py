"""One benchmark: gather a machine and its subjects, measure, tell."""

import argparse
import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Final

from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.errors import EXIT_BAD_VERDICT, EXIT_DONE, ConfigError
from pipelines.benchmark import machine, peers, plot, tables
from pipelines.benchmark import soak as soaking
from pipelines.benchmark.course import Course, Schedule
from pipelines.benchmark.environments import Environments
from pipelines.benchmark.results import EMPTY, Report, joined, tracked
from pipelines.benchmark.stage import Stage
from pipelines.benchmark.subjects import Subject, by_name, empty, ours
from pipelines.benchmark.works import WORKS, prepare
from pipelines.commands import documents, summary
from pipelines.commands.doors import Doors

RESULTS: Final = "results.json"
TRACKED: Final = "tracked.json"
PLOT: Final = "results.png"
SOAK: Final = "soak.json"
SOAKED: Final = "log-converted"
"""What is soaked unless said: a deployment logs everything by default."""


def run(options: argparse.Namespace, doors: Doors) -> int:
    """Measure; the exit code.

    Raises:
        ModelserveError: an argument is wrong, or this machine cannot measure.
    """
    found = machine.find(os.sched_getaffinity(0), _which(doors))
    works = _chosen(options.works, list(WORKS), what="work")
    out = _folder(options, doors)
    began = doors.now().isoformat()
    with tempfile.TemporaryDirectory(prefix="modelserve-benchmark-") as scratch, _on_core(found.load_core), _ended():
        folder = Path(scratch)
        subjects = _subjects(options, folder, doors)
        course = Course(stage=Stage.real(found), schedule=_schedule(options), folder=folder, tell=doors.warn)
        try:
            course.run([prepare(WORKS[name], folder / "works" / name) for name in works], subjects)
        except KeyboardInterrupt:
            doors.warn(f"what was measured so far is in {out}")
            raise
        finally:
            report = _report(course, subjects, works, began=began)
            _write(report, out, doors)
    text = tables.markdown(report)
    doors.say(text)
    doors.say(f"\nresults: {out}")
    summary.append(options.summary, text)
    return EXIT_DONE


def soak(options: argparse.Namespace, doors: Doors) -> int:
    """One client for minutes; the exit code says whether what must hold does.

    Raises:
        ModelserveError: an argument is wrong, this machine cannot measure, or a server stopped answering.
    """
    found = machine.find(os.sched_getaffinity(0), _which(doors))
    (name, *_) = _chosen(options.works, list(WORKS), what="work")
    out = _folder(options, doors)
    with tempfile.TemporaryDirectory(prefix="modelserve-benchmark-") as scratch, _on_core(found.load_core), _ended():
        folder = Path(scratch)
        own = by_name((empty(), *ours(Home(root=folder / "home"))))
        chosen = own[_chosen(options.subjects or (SOAKED,), list(own), what="subject")[-1]]
        prepared = prepare(WORKS[name], folder / "works" / name)
        told = soaking.run(
            Stage.real(found), prepared, (own[EMPTY], chosen), folder / "soak", seconds=options.soak, tell=doors.warn
        )
    documents.write(out / SOAK, json.dumps(asdict(told), indent=1) + "\n")
    text = f"Measured {doors.now():%Y-%m-%d %H:%M} UTC on {machine.describe()}.\n\n{tables.soaked(told)}"
    doors.say(text)
    doors.say(f"\nresults: {out}")
    summary.append(options.summary, text)
    return EXIT_DONE if all(claim.holds for claim in told.claims()) else EXIT_BAD_VERDICT


def _which(doors: Doors) -> Callable[[str], str | None]:
    path = doors.environment.get("PATH", os.defpath)
    return lambda name: shutil.which(name, path=path)


def rewrite(options: argparse.Namespace, doors: Doors) -> int:
    """Write the tables of earlier results into a document, and nothing else.

    Raises:
        ConfigError: one of the files is not what it should be.
    """
    if not options.results:
        raise ConfigError("--document needs --results, the results.json of an earlier run")
    report = joined([Report.from_document(documents.read_json(Path(name))) for name in options.results])
    document = Path(options.document)
    before = documents.read(document)
    after = before
    for name in [name for name in _PARTS if documents.is_marked(before, name)] or list(_PARTS)[:1]:
        after = documents.between(after, name, _PARTS[name](report))
    if after != before:
        documents.write(document, after)
    doors.say(f"{document}: {'unchanged' if after == before else 'rewritten'}")
    return EXIT_DONE


_PARTS: Final[Mapping[str, Callable[[Report], str]]] = {
    "benchmark": lambda report: tables.markdown(report, level=3),
    "benchmark-in-brief": tables.brief,
}
"""Parts of a document that :func:`rewrite` writes, by the name of their markers."""


def _subjects(options: argparse.Namespace, folder: Path, doors: Doors) -> Mapping[str, Subject]:
    """Ours and, where they are asked for, those of others."""
    own = by_name((empty(), *ours(Home(root=folder / "home"))))
    known = [own[name] for name in _chosen(options.subjects or (), list(own), what="subject")]
    if options.peers is None:
        return by_name(tuple(known))
    cache = Path(options.cache).expanduser() if options.cache else _user_cache(doors)
    environments = Environments(folder=cache)
    chosen = _chosen(options.peers, list(peers.PEERS), what="peer")
    return by_name((*known, *(peers.subject(peers.PEERS[name], environments) for name in chosen)))


def _user_cache(doors: Doors) -> Path:
    if named := doors.environment.get("XDG_CACHE_HOME", ""):
        return Path(named) / "modelserve-benchmark"
    if user := doors.environment.get("HOME", ""):
        return Path(user) / ".cache" / "modelserve-benchmark"
    raise ConfigError("neither XDG_CACHE_HOME nor HOME is set; say by --cache where peers' environments shall lie")


def _chosen(names: Sequence[str], known: Sequence[str], *, what: str) -> list[str]:
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"{what} {unknown[0]!r} is not known; known: {', '.join(known)}")
    return [name for name in known if not names or name in names]


def _schedule(options: argparse.Namespace) -> Schedule:
    return Schedule(
        rounds=options.rounds,
        connections=tuple(sorted(set(options.connections))),
        seconds=options.seconds,
        warmup_s=options.warmup,
    )


def _folder(options: argparse.Namespace, doors: Doors) -> Path:
    """The folder of the results, made.

    Raises:
        ConfigError: it cannot be.
    """
    named = Path(options.out).expanduser() if options.out else doors.home.root / "benchmarks" / _stamp(doors)
    try:
        named.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {named} cannot be made ({error.strerror}); give another folder") from error
    return named


def _stamp(doors: Doors) -> str:
    return doors.now().strftime("%Y-%m-%dT%H-%M-%S")


def _report(course: Course, subjects: Mapping[str, Subject], works: Sequence[str], *, began: str) -> Report:
    return Report(
        began=began,
        machine=machine.describe(),
        settings=asdict(course.schedule),
        subjects={name: subject.about for name, subject in subjects.items()},
        versions={name: subject.version() for name, subject in subjects.items()},
        works={name: WORKS[name].about for name in works},
        samples=tuple(course.samples),
        footprints=tuple(course.footprints),
        absences=tuple(course.absences.values()),
    )


def _write(report: Report, out: Path, doors: Doors) -> None:
    for name, document in ((RESULTS, report.to_document()), (TRACKED, tracked(report))):
        documents.write(out / name, json.dumps(document, indent=1) + "\n")
    if not report.samples:
        return
    try:
        plot.write(report, out / PLOT)
    except ConfigError as error:
        doors.warn(f"no {PLOT}: {error}")


@contextlib.contextmanager
def _on_core(core: int) -> Iterator[None]:
    """This process, and the comparison of answers in it, on the load's core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def _ended() -> Iterator[None]:
    """SIGTERM as Ctrl-C, so that it too leaves no process behind."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
