"""What MLflow sees of modelserve: one client class, ``run_local`` and ``target_help``.

MLflow loads this module by its entry point and demands exactly one :class:`BaseDeploymentClient` subclass among its
names. It builds a client on every command, so the constructor opens nothing. Every method leaves with a
:class:`~mlflow_deploy_plugin.targets.failures.DeploymentError` or with an answer, never with another error.
"""

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

import click
from mlflow.deployments import PredictionsResponse
from mlflow.deployments.base import BaseDeploymentClient

from mlflow_deploy_plugin.config.keys import (
    DeleteConfig,
    DeploymentConfig,
    EndpointConfig,
    RunLocalConfig,
    UpdateConfig,
)
from mlflow_deploy_plugin.errors import ConfigError, ScoringError
from mlflow_deploy_plugin.manifests.model import Deployment, Endpoint
from mlflow_deploy_plugin.scoring import Address, build_payload
from mlflow_deploy_plugin.scoring.rebuild import read_original
from mlflow_deploy_plugin.spec.bento import REFERENCE_FILE
from mlflow_deploy_plugin.targets import guidance, intents
from mlflow_deploy_plugin.targets.base import DeploymentTarget, Outcome
from mlflow_deploy_plugin.targets.doors import Doors
from mlflow_deploy_plugin.targets.failures import as_deployment_error
from mlflow_deploy_plugin.targets.foreground import serve_in_foreground
from mlflow_deploy_plugin.targets.lifecycle import Lifecycle, endpoint_for, picking
from mlflow_deploy_plugin.targets.signatures import signature_of
from mlflow_deploy_plugin.targets.views import FLAVOR, deployment_view, endpoint_view
from mlflow_deploy_plugin.targets.wording import short

__all__ = ["ModelserveClient", "run_local", "target_help"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

Config = Mapping[str, Any] | None
View = dict[str, Any]

_EXPLAINS_NOTHING = frozenset({404, 405, 501})
"""Statuses of a server that has no explainer."""


def _speaks_mlflow(method: Callable[_P, _T]) -> Callable[_P, _T]:
    """``method`` whose errors are MLflow's; the signature stays, since MLflow's command line inspects it."""

    @functools.wraps(method)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with as_deployment_error():
            return method(*args, **kwargs)

    return wrapped


class ModelserveClient(BaseDeploymentClient):  # type: ignore[misc]  # MLflow is not typed
    """Deployments and endpoints of one target; ``mlflow deployments help -t modelserve`` says what it takes."""

    @_speaks_mlflow
    def __init__(self, target_uri: str, *, doors: Doors | None = None) -> None:
        super().__init__(target_uri)
        self._doors = doors or Doors.real(os.environ)

    @functools.cached_property
    def _target(self) -> DeploymentTarget:
        return self._doors.open_target(self.target_uri)

    @property
    def _lifecycle(self) -> Lifecycle:
        return Lifecycle(target=self._target, packager=self._doors.packager, home=self._doors.home)

    @_speaks_mlflow
    def create_deployment(
        self, name: str, model_uri: str, flavor: str | None = None, config: Config = None, endpoint: str | None = None
    ) -> View:
        """Package a model and serve it as ``name``; returns when it answers (a remote target: when it is pushed).

        Raises:
            DeploymentError: the name is taken (RESOURCE_ALREADY_EXISTS), or anything else forbids it.
        """
        _require_flavor(flavor)
        outcome = self._lifecycle.create(name, model_uri, DeploymentConfig.parse(config), endpoint)
        return self._done(outcome, name, self._deployment)

    @_speaks_mlflow
    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: Config = None,
        endpoint: str | None = None,
    ) -> View:
        """Another model or other resources, with no failed request. What is not named stays as it is."""
        _require_flavor(flavor)
        outcome = self._lifecycle.update(name, model_uri, UpdateConfig.parse(config), endpoint)
        return self._done(outcome, name, self._deployment)

    @_speaks_mlflow
    def delete_deployment(self, name: str, config: Config = None, endpoint: str | None = None) -> None:
        """The deployment away; twice is as good as once. Refused while it has users, unless it is the only one."""
        self._say(self._lifecycle.delete(name, DeleteConfig.parse(config), endpoint))

    @_speaks_mlflow
    def list_deployments(self, endpoint: str | None = None) -> list[View]:
        """Every deployment of the stage, or of one endpoint."""
        seen = self._target.read()
        chosen = [intents.require_endpoint(seen.stage, endpoint)] if endpoint else seen.stage.endpoints.values()
        return [self._shown_deployment(d, e, seen.commit) for e in chosen for d in e.deployments.values()]

    @_speaks_mlflow
    def get_deployment(self, name: str, endpoint: str | None = None) -> View:
        """One deployment: what it serves, where, with which weight, and which commit says so."""
        return self._deployment(name, endpoint)

    @_speaks_mlflow
    def predict(
        self,
        deployment_name: str | None = None,
        inputs: object = None,
        endpoint: str | None = None,
    ) -> PredictionsResponse:
        """Predictions of one deployment, or of whichever the endpoint's split chooses."""
        address, body = self._question(deployment_name, inputs, endpoint)
        answer = self._doors.scorer.invoke(address, body)
        return PredictionsResponse(answer if isinstance(answer, dict) else {"predictions": answer})

    def predict_stream(
        self,
        deployment_name: str | None = None,
        inputs: object = None,
        endpoint: str | None = None,
    ) -> Iterator[View]:
        """The same, event by event, for a model that has ``predict_stream``; its server refuses the others."""
        with as_deployment_error():
            address, body = self._question(deployment_name, inputs, endpoint)
            yield from self._doors.scorer.stream(address, body)

    @_speaks_mlflow
    def explain(
        self,
        deployment_name: str | None = None,
        df: object = None,
        endpoint: str | None = None,
    ) -> Any:  # noqa: ANN401  whatever the server's explainer says
        """What made the model answer so: the deployment's own word, else from its answers to other rows.

        An endpoint is explained by its stable deployment, since one explanation must not mix two versions.
        """
        asked, body = self._question(deployment_name, df, endpoint)
        through = endpoint_for(self._target.stage(), deployment=None, endpoint=asked.endpoint)
        address = replace(asked, deployment=asked.deployment or picking(through, through.route.stable))
        try:
            return self._doors.scorer.explain(address, body)
        except ScoringError as error:
            if error.status not in _EXPLAINS_NOTHING:
                raise
        return self._explain_from_outside(address, body)

    @_speaks_mlflow
    def create_endpoint(self, name: str, config: Config = None) -> View:
        """Check that ``name`` is free. The endpoint comes into being with its first deployment, which takes all users.

        With ``model_uri`` among the keys that deployment is made at once, under the endpoint's own name; the other
        keys are those of ``create``.
        """
        keys = dict(config or {})
        model_uri = keys.pop("model_uri", None)
        self._lifecycle.reserve_endpoint(name)
        if model_uri is None:
            EndpointConfig.parse(keys)
            self._doors.say(f"endpoint {name} comes into being with `mlflow deployments create --endpoint {name}`")
            return {"name": name, "state": "empty", "deployments": []}
        outcome = self._lifecycle.create(name, str(model_uri), DeploymentConfig.parse(keys), name)
        return self._done(outcome, name, self._endpoint)

    @_speaks_mlflow
    def update_endpoint(self, endpoint: str, config: Config = None) -> View:
        """The split: ``config={"traffic": "churn=90,churn-v4=10"}``, or the same as a mapping."""
        outcome = self._lifecycle.split(endpoint, EndpointConfig.parse(config))
        return self._done(outcome, endpoint, self._endpoint)

    @_speaks_mlflow
    def delete_endpoint(self, endpoint: str) -> None:
        """The endpoint away, with all its deployments; twice is as good as once."""
        self._say(self._lifecycle.delete_endpoint(endpoint))

    @_speaks_mlflow
    def list_endpoints(self) -> list[View]:
        """Every endpoint of the stage."""
        seen = self._target.read()
        return [self._shown_endpoint(endpoint, seen.commit) for endpoint in seen.stage.endpoints.values()]

    @_speaks_mlflow
    def get_endpoint(self, endpoint: str) -> View:
        """One endpoint: its split, its address, and which commit says so."""
        return self._endpoint(endpoint)

    def _deployment(self, name: str, endpoint: str | None = None) -> View:
        seen = self._target.read()
        known = intents.require_deployment(seen.stage, name, endpoint)
        return self._shown_deployment(known, seen.stage.endpoints[known.endpoint], seen.commit)

    def _endpoint(self, name: str) -> View:
        seen = self._target.read()
        return self._shown_endpoint(intents.require_endpoint(seen.stage, name), seen.commit)

    def _shown_deployment(self, deployment: Deployment, endpoint: Endpoint, commit: str) -> View:
        return deployment_view(deployment, endpoint, self._target.standing(endpoint, deployment.name), commit=commit)

    def _shown_endpoint(self, endpoint: Endpoint, commit: str) -> View:
        return endpoint_view(endpoint, self._target.standing(endpoint), commit=commit)

    def _question(self, deployment: str | None, inputs: object, endpoint: str | None) -> tuple[Address, View]:
        """Who is asked, and what, cast to what that model expects."""
        stage = self._target.stage()
        through = endpoint_for(stage, deployment=deployment, endpoint=endpoint)
        address = Address(
            gateway=self._target.gateway(through),
            endpoint=through.route.endpoint,
            deployment=picking(through, deployment) if deployment else "",
            user=self._doors.user,
        )
        model = through.deployments[deployment or through.route.stable]
        signature = signature_of(model, home=self._doors.home, scorer=self._doors.scorer, address=address)
        return address, build_payload(_as_written(inputs), signature)

    def _explain_from_outside(self, address: Address, body: Mapping[str, Any]) -> View:
        from mlflow_deploy_plugin.scoring.explain import explain_rows  # noqa: PLC0415  pandas

        through = endpoint_for(self._target.stage(), deployment=None, endpoint=address.endpoint)
        model = through.deployments[address.deployment or through.route.stable]
        signature = signature_of(model, home=self._doors.home, scorer=self._doors.scorer, address=address)
        reference = self._doors.home.bento(model.model.bento) / "src" / REFERENCE_FILE

        def ask(rows: object) -> object:
            answer = self._doors.scorer.invoke(address, build_payload(rows, signature))
            return answer["predictions"] if isinstance(answer, dict) else answer

        return {"deployment": model.name, **explain_rows(body, ask, reference=reference)}

    def _done(self, outcome: Outcome, name: str, describe: Callable[[str], View]) -> View:
        self._say(outcome)
        if outcome.review:  # not merged yet, so the branch does not say it
            return {"name": name, "flavor": FLAVOR, "state": "pending", "review": outcome.review}
        return {**describe(name), "change": outcome.state}

    def _say(self, outcome: Outcome) -> None:
        self._doors.say(
            f"unchanged at commit {short(outcome.commit)}"
            if outcome.state == "unchanged"
            else f"{outcome.state}: commit {short(outcome.commit)}"
        )


@_speaks_mlflow
def run_local(name: str, model_uri: str, flavor: str | None = None, config: Config = None) -> None:
    """Serve a model in the foreground until Ctrl-C, without repository, agent or gateway."""
    _require_flavor(flavor)
    serve_in_foreground(name, model_uri, RunLocalConfig.parse(config), doors=Doors.real(os.environ))


@_speaks_mlflow
def target_help() -> str:
    """Target URIs, keys, environment variables and examples."""
    return guidance.target_help()


def _require_flavor(flavor: str | None) -> None:
    if flavor not in (None, FLAVOR):
        raise ConfigError(f"flavor {flavor!r} is not served; every model is served as {FLAVOR!r}: leave --flavor out")


def _as_written(inputs: object) -> object:
    """The file that ``mlflow deployments predict -I`` was given, where that is how we are called; else ``inputs``.

    The command has read the file by then, and the reading loses zeros and dates (facts: ``pd.read_json``).
    """
    context = click.get_current_context(silent=True)
    path = context.params.get("input_path") if context is not None else None
    original = read_original(path) if isinstance(path, str) else None
    return inputs if original is None else original
