"""Everything outside that a verb touches; a test hands over fakes instead."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mlflow_deploy_plugin.errors import AgentError, ConfigError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pandas import DataFrame

    from mlflow_deploy_plugin.config.home import Home
    from mlflow_deploy_plugin.manifests.model import Deployment
    from mlflow_deploy_plugin.targets.base import DeploymentTarget
    from pipelines.monitoring.artifacts import Kept
    from pipelines.monitoring.events import EventStore
    from pipelines.monitoring.gather import Gathered
    from pipelines.monitoring.prometheus import Prometheus
    from pipelines.promotion.drift.record import DriftRecord
    from pipelines.registry.model_registry import ModelRegistry


def _draw(gathered: "Gathered", decided: "DriftRecord", folder: "Path") -> "tuple[Path, ...]":
    from pipelines.monitoring.pages import draw  # noqa: PLC0415  slow

    return draw(gathered, decided, folder)


def _keep(kept: "Kept") -> None:
    from pipelines.monitoring.artifacts import keep  # noqa: PLC0415

    keep(kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What a verb opens, and how it speaks."""

    environment: Mapping[str, str]
    open_target: "Callable[[str], DeploymentTarget]"
    open_events: "Callable[[str], AbstractContextManager[EventStore]]"
    now: Callable[[], datetime]
    identity: Callable[[], str]
    """Who runs this: a person's address, as their commits carry it."""
    say: Callable[[str], None]
    """The answer: standard output."""
    warn: Callable[[str], None]
    """What a person should know besides: standard error."""
    draw: "Callable[[Gathered, DriftRecord, Path], tuple[Path, ...]]" = _draw
    """Draws the report of a drift tick into a folder."""
    keep: "Callable[[Kept], None]" = _keep
    """Takes a report into MLflow."""
    score: "Callable[[Deployment, DataFrame], Sequence[Any]]" = field(default_factory=lambda: _unscored)
    """Asks a deployment's Bento, started for it, about every row."""
    score_at: "Callable[[str, Deployment, DataFrame], Sequence[Any]]" = field(default_factory=lambda: _score_at)
    """Asks the server at an address, which serves a deployment, about every row."""
    open_prometheus: "Callable[[str], Prometheus]" = field(default_factory=lambda: _prometheus)
    open_registry: "Callable[[str], ModelRegistry]" = field(default_factory=lambda: _registry)

    @classmethod
    def real(cls, environment: Mapping[str, str]) -> Self:
        """Those of this machine. Opens nothing yet."""
        return cls(
            environment=environment,
            open_target=lambda uri: _target(uri, environment),
            open_events=_events,
            now=lambda: datetime.now(UTC),
            identity=lambda: _identity(environment),
            score=lambda deployment, rows: _score(deployment, rows, environment),
            say=_say,
            warn=_warn,
        )

    def events_at(self, option: str | None) -> str:
        """Folder or URL of the event store that an option names; this machine's where it names none.

        For ticks of a schedule, which may look at a folder before anything lies in it.
        """
        if not option or "://" in option:
            return option or str(self.home.events)
        return str(Path(option).expanduser())

    def known_events_at(self, option: str | None) -> str:
        """As :meth:`events_at`, for verbs to which a store without events has nothing to say.

        A mistyped folder would look to a person as if there were no events, and bury labels.

        Raises:
            ConfigError: the option names a folder that is not there.
        """
        place = self.events_at(option)
        if option and "://" not in place and not Path(place).is_dir():
            raise ConfigError(
                f"--events {option!r} is no folder of this machine; name one, or a URL like s3://bucket/events"
            )
        return place

    @property
    def home(self) -> "Home":
        """The home of this machine.

        Raises:
            ConfigError: nobody says where it is.
        """
        from mlflow_deploy_plugin.config.home import Home  # noqa: PLC0415

        return Home.from_environment(self.environment)


def _target(uri: str, environment: Mapping[str, str]) -> "DeploymentTarget":
    from mlflow_deploy_plugin.targets import open_target  # noqa: PLC0415  a second

    return open_target(uri, environment=environment, say=_warn)


def _identity(environment: Mapping[str, str]) -> str:
    from mlflow_deploy_plugin.repository.objects import configured_author  # noqa: PLC0415
    from pipelines.commands import people  # noqa: PLC0415

    return people.acting(environment) or people.who(configured_author())


def _events(place: str) -> "AbstractContextManager[EventStore]":
    from pipelines.monitoring.events import EventStore  # noqa: PLC0415  DuckDB

    return EventStore(place)


def _prometheus(url: str) -> "Prometheus":
    from pipelines.monitoring.prometheus import HttpPrometheus  # noqa: PLC0415

    return HttpPrometheus(url=url)


def _registry(uri: str) -> "ModelRegistry":
    from pipelines.registry.model_registry import MlflowModelRegistry  # noqa: PLC0415

    return MlflowModelRegistry(uri=uri)


def _score(deployment: "Deployment", rows: "DataFrame", environment: Mapping[str, str]) -> Sequence[Any]:
    from mlflow_deploy_plugin.config.home import Home  # noqa: PLC0415
    from pipelines.commands.version_before import score  # noqa: PLC0415

    return score(deployment, rows, home=Home.from_environment(environment))


def _score_at(url: str, deployment: "Deployment", rows: "DataFrame") -> Sequence[Any]:
    from mlflow_deploy_plugin.scoring import HttpScorer  # noqa: PLC0415
    from pipelines.commands.version_elsewhere import score  # noqa: PLC0415

    return score(url, deployment, rows, scorer=HttpScorer())


def _unscored(deployment: "Deployment", _rows: "DataFrame") -> Sequence[Any]:
    """Where no door was given."""
    raise AgentError(f"nothing here can start {deployment.name}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _warn(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
