"""From what a person typed to one commit: check, package, build the manifest's values, commit.

One implementation for every target; a target differs in who applies the commit, not in what it says.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.config.keys import (
    DeleteConfig,
    DeploymentConfig,
    EndpointConfig,
    PlacementKeys,
    ResourceValues,
    UpdateConfig,
)
from mlflow_deploy_plugin.errors import AlreadyExistsError, ConfigError
from mlflow_deploy_plugin.manifests.model import Deployment, Endpoint, Files, ModelIdentity, Resources, Stage
from mlflow_deploy_plugin.manifests.trailers import Message
from mlflow_deploy_plugin.manifests.tree import require_deployment_name
from mlflow_deploy_plugin.packaging import Packaged, PackagingOptions, placeholder_image
from mlflow_deploy_plugin.packaging.gpu import require
from mlflow_deploy_plugin.spec.bento import SPEC_FILE, BentoSpec
from mlflow_deploy_plugin.spec.headers import MODEL_VERSION
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT, require_label
from mlflow_deploy_plugin.spec.settings import GPUS
from mlflow_deploy_plugin.targets import fitting, intents
from mlflow_deploy_plugin.targets.base import DEFAULT_WAIT_S, DeploymentTarget, Outcome, Reading
from mlflow_deploy_plugin.targets.packager import Packager

NO_MODEL = ModelIdentity(bento="", uri="", digest="", name="")


class _Run(TypedDict):
    replicas: int
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """Create, update, delete and split on one target."""

    target: DeploymentTarget
    packager: Packager
    home: Home

    def create(self, name: str, model_uri: str, config: DeploymentConfig, endpoint: str | None) -> Outcome:
        """A new deployment that answers when this returns, where this machine applies commits.

        Raises:
            UserError: a name, a key, the model or the stage's state forbids it; nothing was committed.
            AgentError: it did not come to life; the stage is as it was.
        """
        draft = Deployment(
            name=require_deployment_name(name),
            endpoint=require_label(endpoint or name, what="endpoint"),
            stage=self.target.stage_name,
            model=NO_MODEL,
            image="",
        )
        wish = intents.Create(
            deployment=draft,
            weight=config.weight_total,
            joins=endpoint is not None,
            override=config.override or ("on" if self.target.lets_clients_pick else "off"),
        )
        self.target.prepare()
        seen = self.target.read()
        intents.check(wish, seen.stage)
        if config.override and draft.endpoint in seen.stage.endpoints:
            raise ConfigError(
                f"override={config.override} belongs to endpoint {draft.endpoint!r}, which exists; say it by"
                f" `mlflow deployments update-endpoint --endpoint {draft.endpoint} -C override={config.override}`"
            )
        gpu = self._granted(config, seen.stage, name, replicas=config.replicas, workers=config.workers)
        packaged = self._package(model_uri, config, current=None)
        _require_columns(config, packaged.columns)
        deployment = self._created(draft, packaged, config, gpu)
        if config.gpu == "auto" and self._is_too_large(deployment):
            deployment = self._created(draft, packaged, config, 0)
        fitting.require_room([deployment], self.target.machine())
        return self._commit(replace(wish, deployment=deployment), seen, wait_s=config.wait_s)

    def _created(self, draft: Deployment, packaged: Packaged, config: DeploymentConfig, gpu: int) -> Deployment:
        """``draft`` as the keys say, with so many GPUs a replica."""
        return replace(
            draft,
            model=_identity(packaged),
            image=config.image or placeholder_image(packaged.spec),
            replicas=config.replicas,
            workers=config.workers,
            resources=Resources(**config.resources(gpu=gpu)),
            environment=_with_gpus(
                config.serving_environment(endpoint=draft.endpoint, deployment=draft.name, stage=draft.stage), gpu
            ),
        )

    def _is_too_large(self, deployment: Deployment) -> bool:
        """Whether no GPU has room for it, so that ``auto`` means the CPU."""
        machine = self.target.machine()
        return machine is not None and bool(fitting.gpu_obstacle(deployment, machine))

    def update(self, name: str, model_uri: str | None, config: UpdateConfig, endpoint: str | None) -> Outcome:
        """Another model or other resources; nothing else of the deployment changes. Errors as :meth:`create`."""
        if model_uri is None and not config.explicit - {"wait_s"}:
            raise ConfigError(
                f"nothing says what to change of {name!r}; give --model-uri, or a key such as -C replicas=2"
            )
        self.target.prepare()
        seen = self.target.read()
        before = intents.require_deployment(seen.stage, name, endpoint)
        after = self._with_resources(before, config, seen.stage)
        if model_uri is not None:
            packaged = self._package(model_uri, config, current=before)
            after = _serving(after, packaged)
        elif config.explicit & {"env_manager", "reference", "compile"}:
            after = _serving(after, self._package(before.model.uri, config, current=before))
        if config.image:
            after = replace(after, image=config.image)
        fitting.require_room(fitting.started({name: before}, {name: after}), self.target.machine())
        return self._commit(intents.Update(deployment=after), seen, wait_s=config.wait_s)

    def delete(self, name: str, config: DeleteConfig, endpoint: str | None) -> Outcome:
        """The deployment away. Absent: nothing to do. With weight: refused, unless it is its endpoint's only one."""
        seen = self.target.read()
        known = seen.stage.deployment(name)
        if known is None or endpoint not in (None, known.endpoint):
            return Outcome(state="unchanged", commit=seen.commit)
        return self._commit(intents.Delete(stage=seen.stage.name, name=name), seen, wait_s=config.wait_s)

    def split(self, endpoint: str, config: EndpointConfig) -> Outcome:
        """The split of an endpoint's users, or whether it hears the override header.

        Raises:
            NotFoundError: the endpoint, or a deployment in it, does not exist.
        """
        if (config.weights is None) == (config.override is None):
            raise ConfigError(
                f"a command makes one change of endpoint {endpoint!r}; give -C traffic=NAME=90,OTHER=10"
                " or -C override=on"
            )
        seen = self.target.read()
        intents.require_endpoint(seen.stage, endpoint)
        wish = _wish(config, stage=seen.stage.name, endpoint=endpoint)
        return self._commit(wish, seen, wait_s=config.wait_s)

    def reserve_endpoint(self, endpoint: str) -> None:
        """Whether an endpoint of this name can be made; its first deployment makes it.

        Raises:
            AlreadyExistsError: it exists.
        """
        require_label(endpoint, what="endpoint")
        if endpoint in self.target.stage().endpoints:
            raise AlreadyExistsError(
                f"endpoint {endpoint!r} exists already in stage {self.target.stage_name!r}; join it with"
                f" `mlflow deployments create --endpoint {endpoint}`"
            )

    def delete_endpoint(self, endpoint: str) -> Outcome:
        """The endpoint away with all its deployments. Absent: nothing to do."""
        seen = self.target.read()
        if endpoint not in seen.stage.endpoints:
            return Outcome(state="unchanged", commit=seen.commit)
        return self._commit(intents.DeleteEndpoint(stage=seen.stage.name, endpoint=endpoint), seen)

    def _commit(self, wish: intents.Intent, seen: Reading, *, wait_s: float = DEFAULT_WAIT_S) -> Outcome:
        """One commit of ``wish``, which was decided on what was ``seen``."""
        operation = intents.operation_id(wish, seen.commit)
        endpoint = intents.endpoint_of(wish, seen.stage)

        def edit(files: Files) -> tuple[Files, Message]:
            return intents.apply(wish, files, operation=operation)

        return self.target.commit(edit, operation=operation, endpoint=endpoint, wait_s=wait_s)

    def _package(self, model_uri: str, config: PlacementKeys, *, current: Deployment | None) -> Packaged:
        """Packaged as the keys say; what they leave open is as the deployment's Bento on this machine has it now."""
        options = PackagingOptions(env_manager=config.env_manager, reference=config.reference, compile=config.compile)
        known = None if current is None else self._packaged(current)
        if known is not None and "env_manager" not in config.explicit:
            options = replace(options, env_manager="uv" if known.env_manager == "uv" else "local")
        if known is not None and "compile" not in config.explicit:
            options = replace(options, compile="off" if known.compile == "off" else "auto")
        return self.packager.package(model_uri, options)

    def _packaged(self, deployment: Deployment) -> BentoSpec | None:
        path = self.home.bento(deployment.model.bento) / "src" / SPEC_FILE
        return BentoSpec.from_json(path.read_text(encoding="utf-8")) if path.is_file() else None

    def _with_resources(self, before: Deployment, config: UpdateConfig, stage: Stage) -> Deployment:
        run: _Run = {
            "replicas": config.replicas if "replicas" in config.explicit else before.replicas,
            "workers": config.workers if "workers" in config.explicit else before.workers,
        }
        gpu = before.resources.gpu
        if "gpu" in config.explicit:
            gpu = self._granted(config, stage, before.name, **run)
        current: ResourceValues = {"cpu": before.resources.cpu, "memory": before.resources.memory, "gpu": gpu}
        return replace(
            before,
            **run,
            resources=Resources(**config.update_resources(current, gpu=gpu)),
            environment=_with_gpus(config.update_environment(before.environment), gpu),
        )

    def _granted(self, config: PlacementKeys, stage: Stage, name: str, *, replicas: int, workers: int) -> int:
        """GPUs of one replica of ``name``, once counted where this machine can count them: those of others are taken.

        Raises:
            ConfigError: there are fewer than asked for, or nobody here can count for ``auto``.
        """
        if not config.gpu:
            return 0
        found = self.target.gpus()
        if found is not None:
            others = [d for e in stage.endpoints.values() for d in e.deployments.values() if d.name != name]
            left = fitting.untaken(found, others)
            return require(config.gpu, workers=workers, replicas=replicas, found=left)
        if config.gpu == "auto":
            raise ConfigError(
                f"gpu=auto counts GPUs of this machine, which target {self.target.uri!r} does not use; give a number"
            )
        return config.gpu


def _require_columns(config: DeploymentConfig, known: Sequence[str]) -> None:
    """Refuse a name in ``log_drop`` or ``log_hash`` that the model does not take: the column meant would be logged.

    Raises:
        ConfigError: the signature has no such input.
    """
    for key, names in (("log_drop", config.log_drop), ("log_hash", config.log_hash)):
        for name in filter(None, names.split(",")):
            if known and name not in known:
                near = difflib.get_close_matches(name, known, n=1) or [n for n in known if n.lower() == name.lower()]
                hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(map(repr, known))}"
                raise ConfigError(f"{key}={name!r} is no input in the model's signature; {hint}")


def _wish(config: EndpointConfig, *, stage: str, endpoint: str) -> intents.Intent:
    if config.override is not None:
        return intents.Override(stage=stage, endpoint=endpoint, value=config.override)
    return intents.Split(stage=stage, endpoint=endpoint, weights=config.weights or {})


def _identity(packaged: Packaged) -> ModelIdentity:
    spec = packaged.spec
    return ModelIdentity(
        bento=packaged.tag,
        uri=spec.model_uri,
        digest=spec.model_digest,
        name=spec.model_name,
        version=spec.model_version,
        run_id=spec.run_id,
        flavor=spec.flavor,
    )


def _serving(deployment: Deployment, packaged: Packaged) -> Deployment:
    """``deployment`` with another Bento; the same one keeps the image that was built of it."""
    is_same = packaged.tag == deployment.model.bento
    image = deployment.image if is_same else placeholder_image(packaged.spec)
    return replace(deployment, model=_identity(packaged), image=image)


def picking(through: Endpoint, deployment: str) -> str:
    """What the override header says so that ``deployment`` answers; empty: everybody is answered by it anyhow.

    Raises:
        ConfigError: the endpoint does not hear the header.
    """
    route = through.route
    if route.hears_override:
        return deployment
    if route.weights.get(deployment) == TOTAL_WEIGHT:
        return ""
    raise ConfigError(
        f"deployment {deployment!r} cannot be asked by its name: endpoint {route.endpoint!r} does not hear the header"
        f" {MODEL_VERSION} in stage {route.stage!r}; ask --endpoint {route.endpoint}, or let it by"
        f" `mlflow deployments update-endpoint --endpoint {route.endpoint} -C override=on`"
    )


def endpoint_for(stage: Stage, *, deployment: str | None, endpoint: str | None) -> Endpoint:
    """The endpoint that a prediction goes through: the named one, or the deployment's.

    Raises:
        ConfigError: not exactly one of both was given.
        NotFoundError: there is none of that name.
    """
    if (deployment is None) == (endpoint is None):
        raise ConfigError("exactly one of the deployment's name and the endpoint must be given")
    if deployment is not None:
        return stage.endpoints[intents.require_deployment(stage, deployment).endpoint]
    return intents.require_endpoint(stage, str(endpoint))


def _with_gpus(environment: Mapping[str, str], gpu: int) -> dict[str, str]:
    """``environment`` in which BentoML reads as many GPUs as the manifest's limit says."""
    others = {name: text for name, text in environment.items() if name != GPUS}
    return others | ({GPUS: str(gpu)} if gpu else {})
