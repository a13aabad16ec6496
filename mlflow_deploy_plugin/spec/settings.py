"""How one deployment serves: the settings that travel as environment variables of its container.

Written by a target into the manifest, read by the Bento when it starts; both through this one table, so that the
two cannot disagree. Every field carries its variable's name and unit.

>>> ServingSettings(endpoint="churn", deployment="churn-v4").to_environment()["MODELSERVE_DEPLOYMENT"]
'churn-v4'
>>> ServingSettings.from_environment({"MODELSERVE_MAX_BATCH_SIZE": "8"}).max_batch_size
8
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, Self, get_args, get_origin, get_type_hints

from mlflow_deploy_plugin.errors import ConfigError

LogMode = Literal["off", "predictions", "full"]
Switch = Literal["on", "off"]
Precision = Literal["fp32", "tf32", "bf16", "fp16"]

PREFIX: Final = "MODELSERVE_"

GPUS: Final = "MODELSERVE_GPUS"
"""GPUs of one replica, beside ``nvidia.com/gpu`` of its manifest: what BentoML's own allocator is told."""


def _about(text: str) -> Mapping[str, str]:
    return {"about": text}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSettings:
    """Settings of one Bento process; ``MODELSERVE_<FIELD>`` in its environment."""

    endpoint: str = field(default="", metadata=_about("name of the endpoint"))
    deployment: str = field(
        default="", metadata=_about("name of the deployment; x-model-version and the metric label carry it")
    )
    stage: str = field(default="", metadata=_about("name of the stage"))
    device: str = field(
        default="",
        metadata=_about("torch device such as cpu, cuda or cuda:0; empty: the worker's own GPU, else the CPU"),
    )
    precision: Precision = field(default="fp32", metadata=_about("arithmetic on a GPU"))
    torch_compile: Switch = field(
        default="off",
        metadata=_about("compile a torch model, for batches filled up to powers of two, before it is ready"),
    )
    cuda_graphs: Switch = field(
        default="off", metadata=_about("record a torch model's work on a GPU, for batches filled up to powers of two")
    )
    batching: Switch = field(default="on", metadata=_about("join waiting requests into one call of the model"))
    max_batch_size: int = field(default=64, metadata=_about("rows of one batch, at most"))
    max_latency_ms: float = field(
        default=100.0, metadata=_about("milliseconds that a request may take; batches are kept below it")
    )
    max_queue: int = field(default=1024, metadata=_about("rows that may wait; beyond them requests are answered 429"))
    timeout_s: float = field(default=60.0, metadata=_about("seconds until a request is answered 504"))
    max_body_bytes: int = field(default=16 * 1024 * 1024, metadata=_about("bytes of a request's body, at most"))
    grpc_address: str = field(
        default="", metadata=_about("HOST:PORT where each worker serves gRPC; empty: it does not")
    )
    log: LogMode = field(
        default="full", metadata=_about("what the prediction log keeps; predictions leaves the features out")
    )
    log_sample: float = field(default=1.0, metadata=_about("share of the requests that are logged, 0 to 1"))
    log_flush_s: float = field(
        default=1.0, metadata=_about("seconds between two flushes; a killed process loses at most that much")
    )
    log_drop: str = field(default="", metadata=_about("comma-separated feature columns that the log leaves out"))
    log_hash: str = field(
        default="", metadata=_about("comma-separated feature columns that the log keeps as keyed hashes alone")
    )
    log_key_file: str = field(default="", metadata=_about("file with the key of log_hash; the agent gives its home's"))
    events_dir: str = field(default="", metadata=_about("folder of the event store; empty: nothing is logged"))
    log_raw_dir: str = field(
        default="",
        metadata=_about(
            "folder where predictions lie until somebody makes tables of them; empty: the worker does. The agent gives"
            " its home's"
        ),
    )
    model_config: str = field(default="", metadata=_about("JSON object given to the model's loader"))

    def to_environment(self) -> dict[str, str]:
        """Variables for every field that differs from its default."""
        return {
            PREFIX + f.name.upper(): str(getattr(self, f.name))
            for f in fields(self)
            if getattr(self, f.name) != f.default
        }

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """The settings that ``environment`` holds; absent variables keep their defaults.

        Raises:
            ConfigError: a variable does not read as its field's type.
        """
        hints = get_type_hints(cls)
        return cls(
            **{
                f.name: _read(PREFIX + f.name.upper(), environment[PREFIX + f.name.upper()], hints[f.name])
                for f in fields(cls)
                if PREFIX + f.name.upper() in environment
            }
        )


def _read(variable: str, text: str, kind: Any) -> Any:  # noqa: ANN401  the type is the field's
    if get_origin(kind) is Literal:
        if text in get_args(kind):
            return text
        raise ConfigError(f"{variable}={text!r} is not one of {', '.join(get_args(kind))}")
    try:
        return kind(text)
    except ValueError as error:
        raise ConfigError(f"{variable}={text!r} is not {'a whole number' if kind is int else 'a number'}") from error
