"""What the full prediction log costs a request, in CPU, measured in one process that logs now and then does not.

Two processes of the same server differ by several microseconds a request for as long as they live, and a shared machine
by more from one second to the next: both are more than the log costs. ``python docs/log/cost.py`` therefore starts a
server (``docs/log/switched.py``) that logs in every other tenth of a second, and the converter that the agent runs
beside it, on the load's core; wrk (Debian: ``apt-get install wrk``) asks it. What the thread that answers costs is told
by neighbouring tenths; the thread that writes and the converter do nothing else, so all that they cost is the log's.
Not seen is what writing does to the caches of the thread that answers, since it comes later. It needs two cores that
nobody else uses; ``--keep FILE`` adds the slices of this run to those of earlier ones.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.errors import ModelserveError
from pipelines.benchmark import machine
from pipelines.benchmark.seats import Seat, seated
from pipelines.benchmark.stage import Placed, Stage
from pipelines.benchmark.subjects import Ground, by_name, ours
from pipelines.benchmark.works import WORKS, prepare

SWITCHED = Path(__file__).with_name("switched.py")
SUBJECT = "log-converted"
COUNTED = "slices.json"
FLUSH_S = 2.5
"""Until what was logged is written and made a table of: both look once a second."""
WARMUP_S = 3.0


class Pair(NamedTuple):
    """Two neighbouring slices: microseconds a request of the thread that answers."""

    off: float
    on: float


class Run(NamedTuple):
    """One load of one server."""

    connections: int
    pairs: list[Pair]
    writer: float
    """Microseconds for each request that was logged."""
    converter: float


def main() -> None:
    """Measure, and print a table in Markdown."""
    options = arguments()
    found = machine.find(os.sched_getaffinity(0), shutil.which)
    runs = kept(options.keep)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepared = prepare(WORKS["tabular"], root / "work")
        subject = by_name(ours(Home(root=root / "home")))[SUBJECT]
        subject = replace(subject, placed=switchable(subject.placed))
        os.sched_setaffinity(0, {found.load_core})
        for nth in range(options.starts):
            with contextlib.ExitStack() as stack:
                seat = seated(stack, Stage.real(found), prepared, subject, root / str(nth))
                load(seat, connections=max(options.connections), seconds=WARMUP_S)
                time.sleep(FLUSH_S)
                runs += [measured(seat, root / str(nth), one, options.seconds) for one in options.connections]
    if options.keep:
        options.keep.write_text(json.dumps(runs))
    print(table(runs))


def arguments() -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=3, help="of the server (default 3)")
    parser.add_argument("--seconds", type=float, default=20, help="of each load (default 20)")
    parser.add_argument(
        "--connections", type=int, nargs="+", default=[1, 16, 64], help="open at once (default 1 16 64)"
    )
    parser.add_argument("--keep", type=Path, help="file of runs, which this run's are added to")
    return parser.parse_args()


def kept(file: Path | None) -> list[Run]:
    """Those of earlier calls."""
    if file is None or not file.exists():
        return []
    return [Run(one[0], [Pair(*pair) for pair in one[1]], *one[2:]) for one in json.loads(file.read_text())]


def switchable(placed: Callable[[Ground], tuple[Placed, ...]]) -> Callable[[Ground], tuple[Placed, ...]]:
    """The same processes, the first of which has the switch."""

    def place(ground: Ground) -> tuple[Placed, ...]:
        worker, *beside = placed(ground)
        interpreter, flag, module, *rest = worker.launch.command
        if (flag, module) != ("-m", "mlflow_deploy_plugin.serving.launch"):
            sys.exit(f"{worker.launch.command} is not the launcher")
        environment = {**worker.launch.environment, "LOG_COST_FILE": str(ground.folder / COUNTED)}
        started = replace(worker.launch, command=(interpreter, str(SWITCHED), *rest), environment=environment)
        return (replace(worker, launch=started), *beside)

    return place


def measured(seat: Seat, folder: Path, connections: int, seconds: float) -> Run:
    """One load, and all that it leaves behind."""
    server = next(pid for pid in seat.up.family.pids() if str(SWITCHED).encode() in command_of(pid))
    others = [pid for pid in seat.up.family.pids() if pid != server]
    counted(server, folder)
    before = (cpu_us(server, but=server), sum(map(cpu_us, others)))
    load(seat, connections=connections, seconds=seconds)
    time.sleep(FLUSH_S)
    writer, converter = cpu_us(server, but=server) - before[0], sum(map(cpu_us, others)) - before[1]
    slices = counted(server, folder)
    logged = sum(requests for is_on, requests, _ in slices if is_on)
    return Run(connections, pairs_of(slices), writer / logged, converter / logged)


def counted(server: int, folder: Path) -> list[tuple[bool, int, float]]:
    """What it counted since the last time."""
    file = folder / COUNTED
    os.kill(server, signal.SIGUSR1)
    deadline = time.monotonic() + 10
    while not file.exists():
        if time.monotonic() > deadline:
            sys.exit("the server does not tell what it counted")
        time.sleep(0.01)
    slices = [tuple(one) for one in json.loads(file.read_text())]
    file.unlink()
    return slices


def pairs_of(slices: list[tuple[bool, int, float]]) -> list[Pair]:
    """Neighbours of which one logged; slices in which hardly anything happened are left out."""
    most = max((requests for _, requests, _ in slices), default=0)
    found = []
    for first, second in zip(slices[::2], slices[1::2], strict=False):
        on, off = sorted((first, second), key=lambda one: not one[0])
        if min(on[1], off[1]) * 4 >= most and on[0] != off[0]:
            found.append(Pair(off=off[2] * 1e6 / off[1], on=on[2] * 1e6 / on[1]))
    return found


def command_of(pid: int) -> bytes:
    """What the process was started by."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def load(seat: Seat, *, connections: int, seconds: float) -> None:
    """Ask for some seconds; all must be answered, and rightly."""
    found = seat.loads["json"].run(seat.up, connections=connections, seconds=seconds)
    if bad := found.failed + found.socket_errors + found.wrong:
        sys.exit(f"{bad} of {found.requests} requests failed or were answered wrongly")


def cpu_us(pid: int, *, but: int = 0) -> float:
    """Microseconds that the threads of a process have run, without the thread ``but``."""
    tasks = [task for task in Path(f"/proc/{pid}/task").iterdir() if task.name != str(but)]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1000


def table(runs: list[Run]) -> str:
    """Means; what answering costs more is of neighbours, with its standard error."""
    heads = (
        "connections",
        "pairs",
        "without, µs",
        "answering, µs",
        "writing, µs",
        "the server",
        "converting, µs",
        "all",
    )
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for connections in sorted({run.connections for run in runs}):
        own = [run for run in runs if run.connections == connections]
        pairs = [pair for run in own for pair in run.pairs]
        off, _ = trimmed_mean([pair.off for pair in pairs])
        answering, error = trimmed_mean([pair.on - pair.off for pair in pairs])
        writer, converter = (statistics.mean(each) for each in zip(*[run[2:] for run in own], strict=True))
        cells = (
            str(connections),
            str(len(pairs)),
            f"{off:.1f}",
            f"{answering:+.2f} ± {error:.2f}",
            f"{writer:+.2f}",
            f"{(answering + writer) / off:+.1%}",
            f"{converter:+.2f}",
            f"{(answering + writer + converter) / off:+.1%}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def trimmed_mean(values: list[float]) -> tuple[float, float]:
    """Without the tenth of the values at each end, where somebody else had the core; and its standard error.

    The error is that of Tukey and McLaughlin (1963), from the deviation with both tenths drawn in to the rest.
    """
    cut = len(values) // 10
    inner = sorted(values)[cut : len(values) - cut]
    drawn_in = [inner[0]] * cut + inner + [inner[-1]] * cut
    return statistics.mean(inner), statistics.stdev(drawn_in) * len(values) ** 0.5 / len(inner)


if __name__ == "__main__":
    try:
        main()
    except ModelserveError as error:  # no wrk, one core
        sys.exit(str(error))
