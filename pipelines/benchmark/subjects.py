"""What is measured: the empty app that ratios are told against, and our own ways to serve one Bento."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from mlflow_deploy_plugin.agent.envoy.bootstrap import Gateway
from mlflow_deploy_plugin.agent.envoy.clusters import PAIR, Host
from mlflow_deploy_plugin.agent.envoy.files import EnvoyFiles
from mlflow_deploy_plugin.agent.envoy.process import envoy_binary
from mlflow_deploy_plugin.agent.envoy.routes import Served, clusters_of
from mlflow_deploy_plugin.agent.launch import BentoLauncher, Place, worker_environment
from mlflow_deploy_plugin.agent.units import Unit
from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.manifests.model import Backend, Deployment, Endpoint, ModelIdentity, Resources, Route
from mlflow_deploy_plugin.packaging import Packaged, PackagingOptions, package, placeholder_image
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT
from mlflow_deploy_plugin.spec.settings import LogMode
from mlflow_deploy_plugin.version import VERSION
from pipelines.benchmark.results import BASE, EMPTY
from pipelines.benchmark.stage import HOST, Placed, free_ports, launch
from pipelines.benchmark.wires import MLFLOW_TABLE, MLFLOW_TENSOR, MODEL, OIP_BINARY, OIP_JSON, PLAIN, Format, Wire
from pipelines.benchmark.works import Prepared

CONVERTER: Final = "mlflow_deploy_plugin.serving.events.convert"
SERVERS: Final = Path(__file__).with_name("servers")
"""Programs that are run by path: the empty app, and those of peers."""

Wires = Callable[[str, Format], Wire | None]
"""How a subject is asked, by work and format; ``None``: it cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a subject is started on."""

    prepared: Prepared
    folder: Path
    """Its own, empty."""
    port: int
    """Where it must answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One way to serve."""

    name: str
    about: str
    wires: Wires
    placed: Callable[[Ground], tuple[Placed, ...]]
    """Its processes; raises ``ModelserveError`` where it cannot be started here."""
    version: Callable[[], str]
    """What it runs on, in words; asked when it has run."""
    has_answers: bool = True


def empty() -> Subject:
    """An app that reads the request and answers two bytes: what HTTP costs without a model."""

    def placed(ground: Ground) -> tuple[Placed, ...]:
        command = (sys.executable, str(SERVERS / "empty.py"), str(ground.port))
        return (Placed(launch=launch(command, folder=ground.folder, log=EMPTY)),)

    return Subject(
        name=EMPTY,
        about="uvicorn with an app that reads the request and answers {}",
        wires=lambda work, format_: PLAIN if format_ == "json" else _our_wire(work, format_),
        placed=placed,
        version=lambda: f"uvicorn {version('uvicorn')}",
        has_answers=False,
    )


def ours(home: Home) -> tuple[Subject, ...]:
    """Every way to serve a Bento of ours; Bentos are packaged in ``home``, once."""
    bentos, uncompiled = _Bentos(home=home), _Bentos(home=home, compile="off")
    log: Mapping[LogMode, str] = {"predictions": "log-predictions", "full": "log-full"}
    return (
        _ours(BASE, "the agent's launcher, prediction log off", bentos.logging("off")),
        _ours("uncompiled", "the agent's launcher, packaged with compile=off", uncompiled.logging("off")),
        _ours("bentoml-serve", "the same Bento by bentoml serve, prediction log off", bentos.bentoml_serve),
        _ours("gateway", "the agent's launcher behind Envoy, which has the load's core", bentos.behind_envoy),
        *(
            _ours(name, f"the agent's launcher, prediction log {mode}", bentos.logging(mode))
            for mode, name in log.items()
        ),
        _ours(
            "log-converted", "log-full, and the agent's converter of it, which has the load's core", bentos.converted
        ),
    )


def _ours(name: str, about: str, placed: Callable[[Ground], tuple[Placed, ...]]) -> Subject:
    return Subject(name=name, about=about, wires=_our_wire, placed=placed, version=lambda: f"modelserve {VERSION}")


def _our_wire(work: str, format_: Format) -> Wire | None:
    if format_ == "binary":
        return _at_endpoint(OIP_BINARY)
    return _at_endpoint(MLFLOW_TABLE if work == "tabular" else OIP_JSON)


def mlflow_wire(work: str, format_: Format) -> Wire | None:
    """MLflow's own protocol, which has JSON alone."""
    if format_ == "binary":
        return None
    return MLFLOW_TABLE if work == "tabular" else MLFLOW_TENSOR


def _at_endpoint(wire: Wire) -> Wire:
    """At an address that the gateway has too; ``/v2/models/bench/infer`` is one already."""
    return wire if wire.path.startswith("/v2") else replace(wire, path=f"/endpoints/{MODEL}{wire.path}")


@dataclass(slots=True, kw_only=True)
class _Bentos:
    """One Bento for each work, packaged when it is first asked for."""

    home: Home
    compile: Literal["auto", "off"] = "auto"
    _packaged: dict[str, Packaged] = field(default_factory=dict)

    def of(self, prepared: Prepared) -> Packaged:
        name = prepared.work.name
        if name not in self._packaged:
            self._packaged[name] = package(
                prepared.model.absolute().as_uri(), home=self.home, config=PackagingOptions(compile=self.compile)
            )
        return self._packaged[name]

    def logging(self, mode: LogMode) -> Callable[[Ground], tuple[Placed, ...]]:
        return lambda ground: (self.worker(ground, log=mode),)

    def worker(self, ground: Ground, *, log: LogMode) -> Placed:
        """One worker, as the agent starts it; its events lie in the ground's own folder."""
        home = replace(self.home, root=ground.folder)  # of events alone
        started = BentoLauncher(home=self.home)(self._unit(ground, log=log), Place(slot=0, port=ground.port, record={}))
        places = {"MODELSERVE_EVENTS_DIR": str(home.events), "MODELSERVE_LOG_RAW_DIR": str(home.raw)}
        environment = {**started.environment, **places}
        return Placed(launch=replace(started, environment=environment, log=ground.folder / "worker.log"))

    def converted(self, ground: Ground) -> tuple[Placed, ...]:
        """A worker that logs all, and beside it what the agent runs to make tables of that."""
        home = replace(self.home, root=ground.folder)
        command = (
            *(sys.executable, "-m", CONVERTER, "--every", "1"),
            *("--raw", str(home.raw), "--events", str(home.events)),
        )
        beside = launch(command, folder=ground.folder, log="converter")
        return (self.worker(ground, log="full"), Placed(launch=beside, core="load"))

    def bentoml_serve(self, ground: Ground) -> tuple[Placed, ...]:
        bento = self.of(ground.prepared).path
        place = Place(slot=0, port=ground.port, record={})
        command = (
            *(sys.executable, "-m", "bentoml", "serve", str(bento)),
            *("--host", HOST, "--port", str(ground.port)),
        )
        environment = worker_environment(self._unit(ground, log="off"), place, home=self.home)
        return (Placed(launch=launch(command, folder=ground.folder, log="bentoml", environment=environment)),)

    def behind_envoy(self, ground: Ground) -> tuple[Placed, ...]:
        (port,) = free_ports(1)
        worker = self.worker(replace(ground, port=port), log="off")
        host = Host(port=port, socket=worker.launch.record["socket"])
        return (worker, _envoy(ground, self._endpoint(ground), host))

    def _unit(self, ground: Ground, *, log: LogMode) -> Unit:
        return Unit.of(self._deployment(ground, log=log))

    def _deployment(self, ground: Ground, *, log: LogMode) -> Deployment:
        packaged = self.of(ground.prepared)
        spec = packaged.spec
        return Deployment(
            name=MODEL,
            endpoint=MODEL,
            stage="benchmark",
            model=ModelIdentity(bento=packaged.tag, uri=spec.model_uri, digest=spec.model_digest, name=spec.model_name),
            image=placeholder_image(spec),
            resources=Resources(cpu="1"),
            environment={"MODELSERVE_LOG": log},
        )

    def _endpoint(self, ground: Ground) -> Endpoint:
        backends = (Backend(deployment=MODEL, weight=TOTAL_WEIGHT),)
        route = Route(endpoint=MODEL, stage="benchmark", backends=backends, stable=MODEL, salt="benchmark")
        return Endpoint(route=route, deployments={MODEL: self._deployment(ground, log="off")})


def _envoy(ground: Ground, endpoint: Endpoint, host: Host) -> Placed:
    """The gateway with the agent's own configuration, its attempts log included."""
    folder = ground.folder / "envoy"
    files = EnvoyFiles(
        gateway=Gateway(
            host=HOST, port=ground.port, stage="benchmark", folder=folder, attempts_log=ground.folder / "attempts.log"
        )
    )
    served = {MODEL: Served(commit="benchmark", endpoint=endpoint)}
    publish(files, served, host)
    started = replace(launch(envoy_command(files), folder=folder, log="envoy"), log=ground.folder / "envoy.log")
    return Placed(launch=started, core="load")


def publish(files: EnvoyFiles, served: Mapping[str, Served], host: Host) -> None:
    """Write what Envoy reads, with ``host`` behind every cluster that has hosts of its own."""
    clusters = clusters_of(served.values())
    files.prepare()
    for name in sorted(name for name in clusters if PAIR not in name):
        files.publish_hosts(name, [host])
    files.publish_clusters(clusters)
    files.publish_routes(served, commit="benchmark")


def envoy_command(files: EnvoyFiles) -> tuple[str, ...]:
    """Envoy on one thread, as the agent starts it otherwise."""
    return (
        *(str(envoy_binary()), "-c", str(files.bootstrap), "-l", "warning", "--concurrency", "1"),
        *("--disable-hot-restart", "--use-dynamic-base-id", "--file-flush-interval-msec", "500"),
    )


def by_name(subjects: tuple[Subject, ...]) -> Mapping[str, Subject]:
    """Subjects in their order."""
    return MappingProxyType({subject.name: subject for subject in subjects})
