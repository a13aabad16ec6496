"""Where one machine keeps everything: the folder ``MODELSERVE_HOME`` and what lies in it.

Computes paths from a given environment; :meth:`Home.ensure` makes the folders, for their owner alone, because the
prediction log and the repository hold other people's data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from mlflow_deploy_plugin.errors import ConfigError, ModelserveError

HOME_VARIABLE: Final = "MODELSERVE_HOME"
OWNER_ONLY: Final = 0o700


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The paths of one home. Two homes on one machine share nothing but the ports they must not share."""

    root: Path
    """Absolute."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """The home that ``MODELSERVE_HOME`` names, else ``~/.modelserve``.

        >>> Home.from_environment({"HOME": "/home/ada"}).bentoml
        PosixPath('/home/ada/.modelserve/bentoml')

        Raises:
            ConfigError: neither variable says where.
        """
        if named := environment.get(HOME_VARIABLE, "").strip():
            return cls(root=_absolute(named, environment))
        if user := environment.get("HOME", "").strip():
            return cls(root=Path(user).absolute() / ".modelserve")
        raise ConfigError(f"neither {HOME_VARIABLE} nor HOME is set; set {HOME_VARIABLE} to a folder of your own")

    @property
    def repository(self) -> Path:
        """The machine's own GitOps repository: bare, branch ``main``."""
        return self.root / "repository.git"

    @property
    def bentoml(self) -> Path:
        """``BENTOML_HOME`` of the Bento store."""
        return self.root / "bentoml"

    @property
    def bentos(self) -> Path:
        """The Bento of tag ``NAME:VERSION`` lies at ``NAME/VERSION`` in here."""
        return self.bentoml / "bentos"

    @property
    def agent(self) -> Path:
        """The agent's lock, status and log."""
        return self.root / "agent"

    @property
    def logs(self) -> Path:
        """Output of each Bento process."""
        return self.agent / "logs"

    @property
    def status(self) -> Path:
        """The agent's word on what it did last; replaced atomically."""
        return self.agent / "status.json"

    @property
    def envoy(self) -> Path:
        """Envoy's bootstrap, one folder for each type of resource, its log, its raw access log."""
        return self.root / "envoy"

    @property
    def events(self) -> Path:
        """The event store; :mod:`mlflow_deploy_plugin.spec.events` says what lies in it."""
        return self.root / "events"

    @property
    def raw(self) -> Path:
        """Predictions as the workers wrote them, until the agent has made tables of them."""
        return self.root / "raw"

    @property
    def clones(self) -> Path:
        """Private bare clones of the repositories that targets name."""
        return self.root / "clones"

    @property
    def environments(self) -> Path:
        """Python environments of ``env_manager=uv``, named by the digest of their requirements."""
        return self.root / "environments"

    @property
    def packaging(self) -> Path:
        """Half-made Bentos and the locks of who makes them; on the store's file system, so that a rename is all."""
        return self.root / "packaging"

    @property
    def log_key(self) -> Path:
        """Key of the log's hashed columns, for the owner alone."""
        return self.agent / "log.key"

    @property
    def metrics(self) -> Path:
        """Evidence that jobs leave for the agent to expose, one file for each endpoint and job."""
        return self.root / "metrics"

    @property
    def reports(self) -> Path:
        """Reports of the monitoring pipelines."""
        return self.root / "reports"

    def bento(self, tag: str) -> Path:
        """Folder of the Bento of ``tag``.

        >>> Home(root=Path("/h")).bento("churn:3f0a")
        PosixPath('/h/bentoml/bentos/churn/3f0a')
        """
        name, _, version = tag.partition(":")
        if not name or not version or {"/", ".."} & {*tag, name, version}:
            raise ConfigError(f"Bento tag {tag!r} is not NAME:VERSION; list them with 'bentoml list'")
        return self.bentos / name / version

    def ensure(self) -> Self:
        """Make the root and the folders that many rooms share, readable by their owner alone; returns itself.

        Raises:
            ModelserveError: the disk refuses.
        """
        try:
            for folder in (self.root, self.bentoml, self.agent, self.events, self.clones, self.environments):
                folder.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
            self.root.chmod(OWNER_ONLY)  # mkdir's mode is cut by the umask and skipped where the folder exists
        except OSError as error:
            raise ModelserveError(
                f"cannot use {self.root} as the home of modelserve ({error.strerror or error});"
                f" set {HOME_VARIABLE} to a folder that you own"
            ) from error
        return self


def _absolute(text: str, environment: Mapping[str, str]) -> Path:
    """``text`` without a leading ``~`` and without the working directory, which the agent does not share."""
    if text == "~" or text.startswith("~/"):
        return Path(environment.get("HOME", "~"), text[2:]).absolute()
    return Path(text).absolute()
