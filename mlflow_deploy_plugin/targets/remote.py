"""Any git repository as a target: commit and push. Who applies it, and when, is not this machine's to know."""

from collections.abc import Callable
from dataclasses import dataclass

from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.manifests.model import Endpoint, Files, Stage
from mlflow_deploy_plugin.packaging.gpu import Gpus
from mlflow_deploy_plugin.repository import Commit, Intent
from mlflow_deploy_plugin.targets.base import DEFAULT_WAIT_S, Outcome, Reading, Standing
from mlflow_deploy_plugin.targets.ledger import Ledger
from mlflow_deploy_plugin.targets.wording import short


def _silently(_text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteTarget:
    """Commits and pushes; every deployment is ``pending``, since nobody here sees it run."""

    uri: str
    ledger: Ledger
    gateway_url: str = ""
    say: Callable[[str], None] = _silently
    """Takes what a person should read besides the answer."""

    @property
    def stage_name(self) -> str:
        """Which stage."""
        return self.ledger.stage_name

    def head(self) -> str:
        """The newest commit; empty where there is none."""
        return self.ledger.head()

    def files(self) -> Files:
        """The newest tree."""
        return self.ledger.files()

    def files_at(self, commit: str) -> Files:
        """The tree of ``commit``; empty where there is none."""
        return self.ledger.files_at(commit)

    def stage(self) -> Stage:
        """The newest tree's say on this stage."""
        return self.ledger.stage()

    def read(self) -> Reading:
        """The newest commit and its say on this stage, in one look."""
        return self.ledger.read()

    def history(self, endpoint: str = "") -> tuple[Commit, ...]:
        """Commits that touched the stage, or one endpoint of it; newest first."""
        return self.ledger.history(endpoint)

    def gpus(self) -> Gpus | None:
        """Unknown: the models run elsewhere."""
        return None

    def prepare(self) -> None:
        """See whether the repository can be reached, before anything is packaged."""
        self.ledger.open()

    def commit(self, edit: Intent, *, operation: str, endpoint: str, wait_s: float = DEFAULT_WAIT_S) -> Outcome:  # noqa: ARG002
        """One commit, pushed; ``wait_s`` and ``endpoint`` are for targets that can wait and take back."""
        result = self.ledger.change(edit, operation=operation)
        if result.review:
            self.say(f"commit {short(result.sha)} waits to be merged: {result.review}")
        return Outcome(
            state="pending" if result.changed else "unchanged",
            commit=result.sha,
            before=result.before,
            review=result.review,
        )

    def standing(self, endpoint: Endpoint, deployment: str = "") -> Standing:  # noqa: ARG002  all stand alike
        """Pending, behind the gateway that the target or the route names."""
        return Standing(state="pending", gateway=self._address(endpoint))

    def gateway(self, endpoint: Endpoint) -> str:
        """The gateway that the target or the route names.

        Raises:
            ConfigError: neither names one.
        """
        if address := self._address(endpoint):
            return address
        raise ConfigError(
            f"nobody says where endpoint {endpoint.route.endpoint!r} of target {self.uri!r} answers; add"
            " gateway=http://HOST:PORT to the target, or the annotation modelserve.io/gateway-address to its route"
        )

    def _address(self, endpoint: Endpoint) -> str:
        return self.gateway_url or endpoint.route.gateway_address
