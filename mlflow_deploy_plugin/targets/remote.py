"""Any git repository as a target: commit and push. Who applies it, and when, is not this machine's to know."""

from collections.abc import Callable
from dataclasses import dataclass

from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.manifests.model import Endpoint
from mlflow_deploy_plugin.packaging.gpu import Gpus
from mlflow_deploy_plugin.packaging.machine import Machine
from mlflow_deploy_plugin.repository import Intent
from mlflow_deploy_plugin.spec.names import lets_clients_pick
from mlflow_deploy_plugin.targets.base import DEFAULT_WAIT_S, Outcome, Standing
from mlflow_deploy_plugin.targets.ledger import LedgerTarget
from mlflow_deploy_plugin.targets.wording import short


def _silently(_text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteTarget(LedgerTarget):
    """Commits and pushes; every deployment is ``pending``, since nobody here sees it run."""

    gateway_url: str = ""
    say: Callable[[str], None] = _silently
    """Takes what a person should read besides the answer."""

    @property
    def lets_clients_pick(self) -> bool:
        """Not in production: what a version's users and its evidence are, no client decides there."""
        return lets_clients_pick(self.stage_name)

    def gpus(self) -> Gpus | None:
        """Unknown: the models run elsewhere."""
        return None

    def machine(self) -> Machine | None:
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
