"""What each part of the gateway costs a request, in CPU: the agent's own configuration of Envoy, part by part.

``python docs/gateway/parts.py`` starts an empty worker on one core, and on another one Envoy for each line of its
table: first a hop without anything of ours, then one part more each time, until it is all that the agent serves. wrk
(Debian: ``apt-get install wrk``) asks all of them in short rounds, each of which begins with another one, so that what
drifts meets all alike. CPU is user and system time of Envoy and of the worker; Envoy's is told apart too: its own code
runs in user time, and the kernel for it in system time. Figures need two cores that nobody else uses, and many rounds:
``--keep FILE`` adds those of this run to those of earlier ones.
"""

import argparse
import contextlib
import http.client
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mlflow_deploy_plugin.agent.envoy.bootstrap import Gateway
from mlflow_deploy_plugin.agent.envoy.clusters import Host
from mlflow_deploy_plugin.agent.envoy.files import EnvoyFiles
from mlflow_deploy_plugin.agent.envoy.routes import Served
from mlflow_deploy_plugin.manifests.model import Backend, Deployment, Endpoint, ModelIdentity, Route
from mlflow_deploy_plugin.spec.sockets import abstract, socket_name
from pipelines.benchmark.stage import free_ports
from pipelines.benchmark.subjects import envoy_command, publish

Json = dict[str, Any]
Cut = Callable[[Json], None]
"""Takes something away from the documents of Envoy's files, by kind: lds, rds and cds."""

PATH = "/endpoints/bench/invocations"
PATIENCE_S = 60.0
BODY = json.dumps({"dataframe_split": {"columns": [f"x{n}" for n in range(30)], "data": [[n / 7 for n in range(30)]]}})
WRK = """
local requests, nth = {}, 0
function init()
  for user = 1, 256 do
    local headers = {["content-type"] = "application/json", ["x-user-id"] = "user-" .. user}
    requests[user] = wrk.format("POST", "PATH", headers, [==[BODY]==])
  end
end
function request() nth = nth % 256 + 1 return requests[nth] end
function done(summary) io.write("\\n", summary.requests, " ", summary.errors.status + summary.errors.read, "\\n") end
"""


def without_log(documents: Json) -> None:
    """No line for an attempt."""
    manager = connection_manager(documents)
    manager.pop("access_log")
    manager["http_filters"][-1]["typed_config"].pop("upstream_log")


def without_split(documents: Json) -> None:
    """One cluster in the place of the split, and nobody is told who was meant."""

    def cut(value: Json) -> None:
        if "weighted_clusters" in value:
            value["cluster"] = value.pop("weighted_clusters")["clusters"][0]["name"]
            value.pop("hash_policy")

    everywhere(documents["rds"], cut)


def without_attempts(documents: Json) -> None:
    """No second attempt, no limits of time, no count of attempts."""
    keys = ("retry_policy", "idle_timeout", "include_request_attempt_count")
    everywhere(documents["rds"], lambda value: [value.pop(key, None) for key in keys])
    everywhere(documents["rds"], lambda value: value.pop("request_body_buffer_limit", None))


def with_one_route(documents: Json) -> None:
    """Whatever is asked goes to the split of users."""
    host = documents["rds"]["resources"][0]["virtual_hosts"][-1]
    host["routes"] = [
        next(one for one in host["routes"] if "hash_policy" in one.get("route", {})) | {"match": {"prefix": "/"}}
    ]
    documents["rds"]["resources"][0]["virtual_hosts"] = [host]


def with_bare_listener(documents: Json) -> None:
    """No request id, no addresses, no rules for headers and paths."""
    manager = connection_manager(documents)
    kept = {"@type", "stat_prefix", "codec_type", "rds", "http_filters", "access_log"}
    for key in manager.keys() - kept:
        del manager[key]
    manager["generate_request_id"] = False


@dataclass(frozen=True)
class Part:
    """One line of the table: all the lines above it, and this."""

    name: str
    cuts: tuple[Cut, ...]
    by_socket: bool = True
    has_canary: bool = False


PARTS = (
    Part(
        "an Envoy without anything of ours",
        (without_log, with_bare_listener, with_one_route, without_split, without_attempts),
        by_socket=False,
    ),
    Part(
        "+ the worker's Unix socket in the place of its port",
        (without_log, with_bare_listener, with_one_route, without_split, without_attempts),
    ),
    Part(
        "+ request id, client's address, normal paths, errors as JSON",
        (without_log, with_one_route, without_split, without_attempts),
    ),
    Part("+ addresses of an endpoint, and overrides", (without_log, without_split, without_attempts)),
    Part("+ a second attempt elsewhere, limits of time", (without_log, without_split)),
    Part("+ the split by a user's hash, who was meant", (without_log,)),
    Part("+ the log of attempts: all that the agent serves", ()),
    Part("+ a canary of 30 % that falls back to stable", (), has_canary=True),
)


def main() -> None:
    """Measure, and print a table in Markdown."""
    options = arguments()
    if options.serve:
        serve(options.serve)
        return
    if missing := [name for name in ("wrk", "taskset") if shutil.which(name) is None]:
        sys.exit(f"{missing[0]} is not installed")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        root, (port,) = Path(folder), free_ports(1)
        (root / "load.lua").write_text(WRK.replace("PATH", PATH).replace("BODY", BODY))
        worker = stack.enter_context(started([sys.executable, __file__, "--serve", str(port)], core=0, folder=root))
        gateways = [stack.enter_context(gateway(root / str(n), part, port)) for n, part in enumerate(PARTS)]
        asked = [(0, port), *gateways]
        print(table(kept(options.keep, all_rounds(root, options, worker, asked))))
        print(f"\nReading the log costs the agent {reading_us(root / str(len(PARTS) - 1)):.1f} µs an attempt.")


def arguments() -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of all lines in turn (default 5)")
    parser.add_argument("--seconds", type=int, default=1, help="of each load (default 1)")
    parser.add_argument("--connections", type=int, default=64, help="open at once (default 64)")
    parser.add_argument("--keep", type=Path, help="file of rounds, which this run's are added to")
    parser.add_argument("--serve", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def serve(port: int) -> None:
    """The benchmark's empty app, at ``port`` and at the socket beside it."""
    import socket

    import uvicorn

    from pipelines.benchmark.servers.empty import app

    listeners = [socket.socket(), socket.socket(socket.AF_UNIX)]
    listeners[0].bind(("127.0.0.1", port))
    listeners[1].bind(abstract(socket_name(port)))
    quiet: Any = {"log_level": "warning", "access_log": False, "server_header": False, "date_header": False}
    config = uvicorn.Config(app, loop="uvloop", http="httptools", ws="none", lifespan="off", interface="asgi3", **quiet)
    uvicorn.Server(config).run(sockets=listeners)


@contextlib.contextmanager
def started(command: list[str], *, core: int, folder: Path) -> Iterator[int]:
    """The pid of a process on one core, until the block ends."""
    folder.mkdir(exist_ok=True)
    with (folder / "log").open("w") as log:
        pinned = ["taskset", "-c", str(core), *command]
        process = subprocess.Popen(pinned, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@contextlib.contextmanager
def gateway(folder: Path, part: Part, port: int) -> Iterator[tuple[int, int]]:
    """Pid and port of an Envoy with this part and those above it, once it answers."""
    (own,) = free_ports(1)
    folder.mkdir()
    place = Gateway(host="127.0.0.1", port=own, stage="bench", folder=folder, attempts_log=folder / "attempts.log")
    files = EnvoyFiles(gateway=place)
    served = {"bench": Served(commit="0" * 40, endpoint=endpoint(has_canary=part.has_canary))}
    publish(files, served, Host(port=port, socket=socket_name(port) if part.by_socket else ""))
    documents = {kind: json.loads(place.file(kind).read_text()) for kind in ("lds", "rds", "cds")}
    for cut in part.cuts:
        cut(documents)
    for kind, document in documents.items():
        place.file(kind).write_text(json.dumps(document))
    with started([*envoy_command(files)], core=1, folder=folder) as pid:
        wait_ready(own, folder / "log")
        yield pid, own


def endpoint(*, has_canary: bool) -> Endpoint:
    """What is served: one deployment, or two."""
    weights = {"bench": 700, "canary": 300} if has_canary else {"bench": 1000}
    backends = tuple(Backend(deployment=name, weight=weight) for name, weight in weights.items())
    route = Route(endpoint="bench", stage="bench", backends=backends, stable="bench", salt="bench", has_grpc=False)
    return Endpoint(route=route, deployments={name: deployment(name) for name in weights})


def deployment(name: str) -> Deployment:
    """One that the worker stands for."""
    model = ModelIdentity(bento=f"{name}:1", uri="models:/bench/1", digest=f"sha256:{name}", name="bench")
    return Deployment(name=name, endpoint="bench", stage="bench", model=model, image="none")


def wait_ready(port: int, log: Path) -> None:
    """Until a request is answered."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("POST", PATH, b"{}")
            if connection.getresponse().status == http.client.OK:
                return
        time.sleep(0.05)
    sys.exit(f"nothing answers on port {port}: {log.read_text()[-500:]}")


class Costs(NamedTuple):
    """Microseconds of CPU a request."""

    user: float
    """Of the gateway: its own code."""
    system: float
    """Of the gateway: the kernel's."""
    worker: float

    @property
    def gateway(self) -> float:
        """Both of its own."""
        return self.user + self.system

    @property
    def whole(self) -> float:
        """Of all."""
        return self.gateway + self.worker


def all_rounds(root: Path, options: Any, worker: int, asked: list[tuple[int, int]]) -> list[list[Costs]]:
    """Each begins with the one after that of the round before."""
    return [one_round(root, options, worker, asked, first=nth) for nth in range(options.rounds)]


def one_round(root: Path, options: Any, worker: int, asked: list[tuple[int, int]], *, first: int) -> list[Costs]:
    """The worker alone and behind each gateway, in the order of ``asked`` but measured from ``first`` on."""
    costs: dict[int, Costs] = {}
    for nth in range(first, first + len(asked)):
        pid, port = asked[nth % len(asked)]
        before = (cpu_us(pid), cpu_us(worker), ticks(pid))
        answered = load(root, options, port)
        gateway_us, worker_us = (cpu_us(one) - then for one, then in zip((pid, worker), before[:2], strict=True))
        user, system = (now - then for now, then in zip(ticks(pid), before[2], strict=True))
        user_us = gateway_us * user / max(1, user + system)
        costs[nth % len(asked)] = Costs(user_us / answered, (gateway_us - user_us) / answered, worker_us / answered)
    return [costs[nth] for nth in range(len(asked))]


def kept(file: Path | None, rounds: list[list[Costs]]) -> list[list[Costs]]:
    """``rounds`` behind those of ``file``, which holds all of them then."""
    if file is None:
        return rounds
    read = json.loads(file.read_text()) if file.exists() else []
    if any(len(costs) != len(Costs._fields) for one in read for costs in one):
        sys.exit(f"{file} holds rounds that do not tell user time from system time: name another file")
    whole = [*([Costs(*costs) for costs in one] for one in read), *rounds]
    file.write_text(json.dumps(whole))
    return whole


def load(root: Path, options: Any, port: int) -> int:
    """Requests that were answered in the time."""
    size = ("-t1", f"-c{options.connections}", f"-d{options.seconds}s", "-s", str(root / "load.lua"))
    command = ["taskset", "-c", "1", "wrk", *size, f"http://127.0.0.1:{port}"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    answered, failed = map(int, told[-1].split())
    if failed or not answered:
        sys.exit(f"port {port} failed {failed} of {answered} requests")
    return answered


def cpu_us(pid: int) -> float:
    """Microseconds that the threads of a process have run; 0 for no process."""
    tasks = Path(f"/proc/{pid}/task").iterdir() if pid else ()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1000


def ticks(pid: int) -> tuple[int, int]:
    """User and system time of a process in the kernel's ticks; 0 for no process."""
    if not pid:
        return 0, 0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # the name before it may hold anything
    return int(fields[11]), int(fields[12])


FIGURES = ("gateway", "of it user", "of it system", "worker", "beside the worker alone", "this part")


def table(rounds: list[list[Costs]]) -> str:
    """Medians over rounds; differences are of one round."""
    heads = ["part", *(f"{what}, µs" for what in FIGURES)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    alone = statistics.median(one[0].worker for one in rounds)
    lines.append(f"| the worker, asked directly | | | | {alone:.0f} | | |")
    for n, part in enumerate(PARTS, start=1):
        sides = [(one[n].gateway, one[n].user, one[n].system, one[n].worker) for one in rounds]
        medians = " | ".join(f"{statistics.median(side):.0f}" for side in zip(*sides, strict=True))
        beside = statistics.median(one[n].whole - one[0].worker for one in rounds)
        added = statistics.median(one[n].whole - one[n - 1].whole for one in rounds)
        lines.append(f"| {part.name} | {medians} | {beside:+.0f} | {added:+.0f} |")
    return "\n".join(lines)


def reading_us(folder: Path) -> float:
    """CPU of the agent for one line of the log that was written, in microseconds."""
    from mlflow_deploy_plugin.agent import attempt_rows

    time.sleep(1)  # two intervals in which Envoy writes what it kept
    lines = (folder / "attempts.log").read_bytes().splitlines(keepends=True)[:50_000]
    attempt_rows.read(lines[:100])
    began = time.process_time()
    attempt_rows.read(lines)
    return (time.process_time() - began) / len(lines) * 1e6


def connection_manager(documents: Json) -> Json:
    """The HTTP settings of the listener."""
    found: Json = documents["lds"]["resources"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def everywhere(value: Any, cut: Callable[[Json], Any]) -> None:
    """``cut`` on every object within ``value``."""
    if isinstance(value, dict):
        cut(value)
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        everywhere(one, cut)


if __name__ == "__main__":
    os.environ.setdefault("DO_NOT_TRACK", "1")
    main()
