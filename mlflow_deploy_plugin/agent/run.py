"""``modelserve agent``: the agent in the foreground, from its command line to its exit code."""

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.agent.agent import Agent
from mlflow_deploy_plugin.agent.attempts import AttemptLog
from mlflow_deploy_plugin.agent.envoy.admin import SocketAdmin
from mlflow_deploy_plugin.agent.envoy.bootstrap import Gateway
from mlflow_deploy_plugin.agent.envoy.files import EnvoyFiles
from mlflow_deploy_plugin.agent.envoy.process import KIND, EnvoyProcess, envoy_binary, require_free
from mlflow_deploy_plugin.agent.gpus import visible_gpus
from mlflow_deploy_plugin.agent.launch import BentoLauncher, Launcher
from mlflow_deploy_plugin.agent.lock import exclusive
from mlflow_deploy_plugin.agent.log_key import ensure_key
from mlflow_deploy_plugin.agent.memory import Memory, recall
from mlflow_deploy_plugin.agent.metrics.exporter import Exporter
from mlflow_deploy_plugin.agent.predictions import PredictionTables
from mlflow_deploy_plugin.agent.processes import OsProcesses, Running
from mlflow_deploy_plugin.agent.reconciler import Reconciler
from mlflow_deploy_plugin.agent.reserve import Reserve
from mlflow_deploy_plugin.agent.retention import RetentionPolicy
from mlflow_deploy_plugin.agent.shipping import ShippingPolicy
from mlflow_deploy_plugin.agent.supervisor import Supervisor
from mlflow_deploy_plugin.agent.upkeep import Upkeep
from mlflow_deploy_plugin.agent.watch import Watch
from mlflow_deploy_plugin.config.environment import (
    MAX_PORT,
    agent_stage,
    events_days,
    events_max_bytes,
    events_url,
    gateway_port,
    metrics_port,
)
from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.errors import EXIT_DONE, AlreadyExistsError, ConfigError, ModelserveError
from mlflow_deploy_plugin.repository import Message, Repository, RepositoryDoor, Trailers, head_token
from mlflow_deploy_plugin.repository.address import local_folder, normal
from mlflow_deploy_plugin.spec.names import require_label

POLL_S: Final = 5.0
READY_LIMIT_S: Final = 180.0
LOCALHOST: Final = "127.0.0.1"

EVENTS_HELP: Final = (
    "Environment of the event store: MODELSERVE_EVENTS_DAYS (days that it keeps, default 90, 0 for ever),"
    " MODELSERVE_EVENTS_MAX_BYTES (its size, default no bound), MODELSERVE_EVENTS_URL (where closed files are moved to,"
    " such as s3://bucket/events)"
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line and the environment say."""

    host: str
    port: int
    metrics_port: int
    stage: str
    repository: str
    """Address; empty: the home's own repository."""
    branch: str
    poll_s: float
    ready_limit_s: float
    accepts_rewrite: bool
    events_days: int
    events_max_bytes: int
    events_url: str

    def upkeep(self, home: Home) -> Upkeep:
        """What keeps the event store small."""
        return Upkeep(
            events_dir=home.events,
            retention=RetentionPolicy(days=self.events_days, max_bytes=self.events_max_bytes),
            shipping=ShippingPolicy(url=self.events_url) if self.events_url else None,
        )


def main(arguments: list[str] | None = None, *, launcher: Callable[[Home], Launcher] | None = None) -> int:
    """Run the agent until SIGTERM or Ctrl-C; its exit code. ``launcher`` says how models are started.

    An error of ours is one line on stderr, beginning with ``modelserve:``.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments, os.environ)
        home = Home.from_environment(os.environ).ensure()
        with exclusive(home.agent / "lock"):
            _run(home, options, (launcher or _bentos)(home))
    except ModelserveError as error:
        sys.stderr.write(f"modelserve: {error}\n")
        return error.exit_code
    return EXIT_DONE


def _bentos(home: Home) -> Launcher:
    return BentoLauncher(home=home)


def parse(arguments: list[str], environment: Mapping[str, str]) -> Options:
    """The command line over the environment.

    >>> parse(["--port", "9090"], {}).port
    9090

    Raises:
        ConfigError: a value breaks its rule.
    """
    parser = argparse.ArgumentParser(
        prog="modelserve agent", description="Serve what the GitOps repository says.", epilog=EVENTS_HELP
    )
    parser.add_argument("--port", type=int, help="port of the gateway (default: MODELSERVE_PORT, else 8080)")
    parser.add_argument(
        "--metrics-port", type=int, help="port of the metrics, 0 for any (default: MODELSERVE_METRICS_PORT, else 9464)"
    )
    parser.add_argument("--host", default=LOCALHOST, help="address that the gateway listens on (default 127.0.0.1)")
    parser.add_argument("--stage", help="stage to serve (default: MODELSERVE_STAGE, else production)")
    parser.add_argument("--repository", default="", help="path or URL (default: this home's own repository)")
    parser.add_argument("--branch", default="main", help="branch to follow (default main)")
    parser.add_argument("--poll", type=float, default=POLL_S, help="seconds between looks at a remote (default 5)")
    parser.add_argument(
        "--ready-limit", type=float, default=READY_LIMIT_S, help="seconds a new version may take (default 180)"
    )
    parser.add_argument("--accept-rewrite", action="store_true", help="serve the head although history was rewritten")
    given = parser.parse_args(arguments)
    if given.port is not None and not 1 <= given.port <= MAX_PORT:
        raise ConfigError(f"--port {given.port} is not a port (1 to {MAX_PORT})")
    if given.metrics_port is not None and not 0 <= given.metrics_port <= MAX_PORT:
        raise ConfigError(f"--metrics-port {given.metrics_port} is not a port (0 to {MAX_PORT})")
    return Options(
        host=given.host,
        port=given.port if given.port is not None else gateway_port(environment),
        metrics_port=given.metrics_port if given.metrics_port is not None else metrics_port(environment),
        stage=require_label(given.stage, what="stage") if given.stage else agent_stage(environment),
        repository=normal(given.repository) if given.repository else "",
        branch=given.branch,
        poll_s=given.poll,
        ready_limit_s=given.ready_limit,
        accepts_rewrite=given.accept_rewrite,
        events_days=events_days(environment),
        events_max_bytes=events_max_bytes(environment),
        events_url=events_url(environment),
    )


def _run(home: Home, options: Options, launcher: Launcher) -> None:
    processes = OsProcesses()
    found = processes.find(str(home.root))
    if not _has_gateway(found, options):
        require_free(options.host, options.port)
        _end_gateways(processes, found)
    _make_key(home)
    agent = build(home, options, launcher=launcher, processes=processes)
    agent.envoy.adopt(found)
    agent.supervisor.adopt(found)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    _log.info("serving stage %s of %s on %s", agent.stage, agent.repository, agent.address)
    agent.run()


def _make_key(home: Home) -> None:
    """Before the first Bento asks for it; a full disk costs the hashed columns and not the serving."""
    try:
        ensure_key(home.log_key)
    except OSError as error:
        _log.warning("no key for hashed log columns, they are left out: %s", error)


def _has_gateway(found: tuple[Running, ...], options: Options) -> bool:
    """Whether an earlier agent's Envoy listens where this one is to listen."""
    here = (options.host, options.port)
    return any((one.record.get("host"), one.record.get("port")) == here for one in found if one.record["kind"] == KIND)


def _end_gateways(processes: OsProcesses, found: tuple[Running, ...]) -> None:
    """An Envoy that listens elsewhere makes way; its clients were told another address."""
    for running in found:
        if running.record["kind"] != KIND:
            continue
        processes.signal(running, signal.SIGTERM)
        deadline = time.monotonic() + 5
        while processes.exit_of(running) is None and time.monotonic() < deadline:
            time.sleep(0.02)
        processes.signal(running, signal.SIGKILL)


def build(home: Home, options: Options, *, launcher: Launcher, processes: OsProcesses) -> Agent:
    """The agent of ``home``, wired; nothing is started yet."""
    address = options.repository or str(home.repository)
    attempts = AttemptLog(raw_dir=home.envoy / "raw", events_dir=home.events, stage=options.stage)
    gateway = Gateway(
        host=options.host, port=options.port, stage=options.stage, folder=home.envoy, attempts_log=attempts.path
    )
    files = EnvoyFiles(gateway=gateway)
    files.prepare()
    attempts.prepare()
    predictions = PredictionTables(raw_dir=home.raw, events_dir=home.events, log=home.agent / "converter.log")
    predictions.prepare()
    memory_file = home.agent / "applied.json"
    memory = recall(memory_file, repository=address, stage=options.stage)
    supervisor = Supervisor(
        home=str(home.root),
        processes=processes,
        launcher=launcher,
        gpus=lambda: visible_gpus(os.environ),
        clock=time.monotonic,
    )
    envoy = EnvoyProcess(
        home=str(home.root),
        gateway=gateway,
        bootstrap=files.bootstrap,
        processes=processes,
        clock=time.monotonic,
        binary=envoy_binary(),
    )
    admin = SocketAdmin(home.envoy)
    reconciler = Reconciler(
        supervisor=supervisor,
        envoy=envoy,
        files=files,
        admin=admin,
        memory=memory,
        memory_file=memory_file,
        reserve=Reserve(path=home.agent / "reserve"),
        clock=time.monotonic,
        ready_limit_s=options.ready_limit_s,
    )
    return Agent(
        home=home,
        stage=options.stage,
        repository=_url(address),
        address=f"http://{_shown(options.host)}:{options.port}",
        reconciler=reconciler,
        supervisor=supervisor,
        envoy=envoy,
        admin=admin,
        watch=_watch(home, options, memory),
        attempts=attempts,
        predictions=predictions,
        upkeep=options.upkeep(home),
        exporter=Exporter(port=options.metrics_port, evidence=home.metrics, ask_gateway=admin.metrics),
    )


def _watch(home: Home, options: Options, memory: Memory) -> Watch:
    address = options.repository or str(home.repository)
    folder = local_folder(address)
    return Watch(
        open=lambda: _open(home, options),
        token=None if folder is None else lambda: head_token(folder, options.branch),
        stage=options.stage,
        interval_s=options.poll_s,
        base="" if options.accepts_rewrite else memory.commit,
    )


def _open(home: Home, options: Options) -> RepositoryDoor:
    """The repository; the home's own is made where it is missing."""
    if not options.repository and not home.repository.exists():
        first = Message(subject="Begin the GitOps repository of this machine", trailers=Trailers(operation="begin"))
        try:
            Repository.create_bare(home.repository, manifests.skeleton(), first)
        except AlreadyExistsError:
            _log.info("somebody else made %s just now", home.repository)
    return Repository.open(options.repository or home.repository, clones=home.clones, branch=options.branch)


def _url(address: str) -> str:
    folder = local_folder(address)
    return folder.as_uri() if folder is not None else address


def _shown(host: str) -> str:
    return {"0.0.0.0": LOCALHOST, "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104


if __name__ == "__main__":
    sys.exit(main())
