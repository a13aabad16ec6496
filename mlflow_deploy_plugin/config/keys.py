"""The ``-C`` keys of every command: one definition gives name, type, default, unit and help.

Defaults and texts of what a Bento process reads come from :class:`mlflow_deploy_plugin.spec.settings.ServingSettings`,
so that a key and the variable it becomes cannot disagree.

>>> DeploymentConfig.parse({"max_batch_size": "8", "weight": "12.5"}).weight_total
125
>>> UpdateConfig.parse({"timeout_s": "5"}).update_environment({"MODELSERVE_LOG": "off", "OTHER": "kept"})
{'OTHER': 'kept', 'MODELSERVE_TIMEOUT_S': '5.0', 'MODELSERVE_LOG': 'off'}
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, ClassVar, Final, Literal, TypedDict

from pydantic import Field

from mlflow_deploy_plugin.config import values
from mlflow_deploy_plugin.config.reading import Key, Keys, describe, key, keys
from mlflow_deploy_plugin.spec.settings import PREFIX, Precision, ServingSettings

__all__ = [
    "DeleteConfig",
    "DeploymentConfig",
    "EndpointConfig",
    "Key",
    "Keys",
    "ResourceValues",
    "RunLocalConfig",
    "UpdateConfig",
    "describe",
    "keys",
]

EnvManager = Literal["local", "uv"]

_SETTINGS: Final = {f.name: f for f in fields(ServingSettings)}
_COUNT: Final = "a whole number, at least 1"
_ABOVE_0: Final = "a number above 0"
_ALIASES: Final = {"loader_config": "model_config"}
"""pydantic keeps ``model_config`` for itself."""


class ResourceValues(TypedDict):
    """Arguments of :class:`mlflow_deploy_plugin.manifests.model.Resources`."""

    cpu: str
    memory: str
    gpu: int


def _serving(name: str, kind: str, unit: str = "") -> Any:  # noqa: ANN401  a pydantic field
    setting = _SETTINGS[name]
    alias = name if name in _ALIASES.values() else None
    return key(setting.default, kind=kind, unit=unit, alias=alias, about=setting.metadata["about"])


class ServingKeys(Keys):
    """What a Bento process reads."""

    device: values.Device = _serving("device", "a device such as cpu or cuda:0")
    precision: Precision = _serving("precision", "fp32, tf32, bf16 or fp16")
    torch_compile: values.SwitchValue = _serving("torch_compile", "on or off")
    cuda_graphs: values.SwitchValue = _serving("cuda_graphs", "on or off")
    batching: values.SwitchValue = _serving("batching", "on or off")
    max_batch_size: values.Positive = _serving("max_batch_size", _COUNT, "rows")
    max_latency_ms: values.Seconds = _serving("max_latency_ms", _ABOVE_0, "ms")
    max_queue: values.Positive = _serving("max_queue", _COUNT, "rows")
    timeout_s: values.Seconds = _serving("timeout_s", _ABOVE_0, "s")
    max_body_bytes: values.Positive = _serving("max_body_bytes", _COUNT, "bytes")
    log: values.LogValue = _serving("log", "off, predictions or full")
    log_sample: values.Share = _serving("log_sample", "a number from 0 to 1")
    log_flush_s: values.Seconds = _serving("log_flush_s", _ABOVE_0, "s")
    log_drop: values.Columns = _serving("log_drop", "names with commas between")
    log_hash: values.Columns = _serving("log_hash", "names with commas between")
    loader_config: values.JsonObject = _serving("model_config", "a JSON object")

    def serving_settings(self, *, endpoint: str = "", deployment: str = "", stage: str = "") -> ServingSettings:
        """These keys as the settings of a process of ``deployment``."""
        named = ServingSettings(endpoint=endpoint, deployment=deployment, stage=stage)
        return replace(named, **{_ALIASES.get(name, name): getattr(self, name) for name in ServingKeys.model_fields})

    def serving_environment(self, *, endpoint: str = "", deployment: str = "", stage: str = "") -> dict[str, str]:
        """The variables of the container that say the same; what is at its default is left out."""
        return self.serving_settings(endpoint=endpoint, deployment=deployment, stage=stage).to_environment()


class ProcessKeys(ServingKeys):
    """What runs a Bento on one machine."""

    workers: values.Positive = key(1, kind=_COUNT, about="processes of one replica; each has its own GPU")
    gpu: values.Gpu = key(
        0,
        kind="a whole number, at least 0, or auto",
        unit="GPUs",
        about="GPUs of one replica; a machine with fewer refuses, auto takes what is there",
    )
    env_manager: EnvManager = key(
        "local",
        kind="local or uv",
        about="Python that runs the Bento: this one, or an environment that uv makes from the model's requirements",
    )
    reference: values.PathText = key(
        "",
        kind="the path of a CSV or Parquet file",
        about="training sample that drift is measured against; empty: the one logged with the model",
    )
    compile: values.CompileValue = key(
        "auto",
        kind="auto or off",
        about="serve a compiled form that needs no MLflow, scikit-learn or torch, where it answers as the model does",
    )
    wait_s: values.Seconds = key(
        120.0, kind=_ABOVE_0, unit="s", about="how long the command waits until the deployment answers"
    )


class PlacementKeys(ProcessKeys):
    """How many replicas, how large, from which image."""

    replicas: values.Positive = key(1, kind=_COUNT, about="copies of the deployment")
    cpu: values.Quantity = key(
        "",
        kind="a Kubernetes quantity such as 2 or 500m",
        unit="cores",
        about="CPU of one replica, and math threads of its workers; empty: not stated, one thread each",
    )
    memory: values.Quantity = key(
        "",
        kind="a Kubernetes quantity such as 2Gi",
        unit="bytes",
        about="memory of one replica, for its workers together; one that has more is replaced; empty: not stated",
    )
    image: values.Image | None = key(
        None,
        kind="an image by digest, NAME@sha256:...",
        about="container image for a cluster; empty: a placeholder that CI replaces",
    )

    def resources(self, *, gpu: int) -> ResourceValues:
        """What one replica asks for, once ``gpu`` (which may be auto) was counted on a machine."""
        return {"cpu": self.cpu, "memory": self.memory, "gpu": gpu}


class DeploymentConfig(PlacementKeys):
    """Keys of ``create``."""

    weight: values.Weight | None = key(
        None,
        kind="a number from 0 to 100 in steps of 0.1",
        unit="%",
        about="share of the endpoint's users; default: all on a new endpoint, 0 on one that exists",
    )

    override: values.SwitchValue | None = key(
        None,
        kind="on or off",
        about="whether a new endpoint lets clients pick a deployment by the header x-model-version; default: off in"
        " stage production of a named repository, else on",
    )

    @property
    def weight_total(self) -> int | None:
        """Weight of 1000; ``None`` where none was given."""
        return self.weight


class UpdateConfig(PlacementKeys):
    """Keys of ``update``: only those that were set change anything."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "override": "an endpoint says it: 'mlflow deployments update-endpoint --endpoint NAME -C override=on'",
        "weight": "a split is set by 'mlflow deployments update-endpoint --endpoint NAME -C traffic=NAME=90,OTHER=10'",
        "traffic": "a split is set by 'mlflow deployments update-endpoint --endpoint NAME -C traffic=NAME=90,OTHER=10'",
    }

    def update_environment(self, current: Mapping[str, str]) -> dict[str, str]:
        """``current`` with the keys that were set, and every variable that is not ours as it was."""
        changes = {_ALIASES.get(n, n): getattr(self, n) for n in ServingKeys.model_fields if n in self.model_fields_set}
        settings = replace(ServingSettings.from_environment(current), **changes)
        ours = {PREFIX + name.upper() for name in _SETTINGS}
        return {name: text for name, text in current.items() if name not in ours} | settings.to_environment()

    def update_resources(self, current: ResourceValues, *, gpu: int) -> ResourceValues:
        """``current`` with the keys that were set; ``gpu`` is what was granted where that key is among them."""
        return {
            "cpu": self.cpu if "cpu" in self.explicit else current["cpu"],
            "memory": self.memory if "memory" in self.explicit else current["memory"],
            "gpu": gpu if "gpu" in self.explicit else current["gpu"],
        }


class EndpointConfig(Keys):
    """Keys of ``update-endpoint`` and of the Python method ``create_endpoint``."""

    traffic: values.Traffic | None = key(
        None,
        kind="shares that sum to 100, such as churn=90,churn-v4=10",
        unit="%",
        about="the split of the endpoint's users, in steps of 0.1",
    )
    override: values.SwitchValue | None = key(
        None, kind="on or off", about="whether clients may pick a deployment by the header x-model-version"
    )
    wait_s: values.Seconds = key(
        120.0, kind=_ABOVE_0, unit="s", about="how long the command waits until the split is live"
    )

    @property
    def weights(self) -> Mapping[str, int] | None:
        """Weight of 1000 of each deployment; ``None`` where no split was given."""
        return self.traffic


class RunLocalConfig(ProcessKeys):
    """Keys of ``run-local``: one process in the foreground, without repository, agent or gateway."""

    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("weight", "override", "replicas", "cpu", "memory", "image"),
        "run-local is one process; use 'mlflow deployments create'",
    )

    port: values.Whole = Field(
        default=5000,
        ge=0,
        le=65535,
        description="port that answers; 0 takes a free one",
        json_schema_extra={"kind": "a port, 0 to 65535", "unit": ""},
    )
    host: str = key("127.0.0.1", kind="an address of this machine", about="address to bind; 0.0.0.0 opens it to all")


class DeleteConfig(Keys):
    """Keys of ``delete``."""

    wait_s: values.Seconds = key(
        120.0, kind=_ABOVE_0, unit="s", about="how long the command waits until the deployment is gone"
    )
