"""One model in the words of TensorFlow Serving: what its REST and its gRPC form say alike. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.serving.faults import Fault, RequestError

if TYPE_CHECKING:
    from mlflow_deploy_plugin.serving.codecs.base import ModelDescription

SIGNATURE: Final = "serving_default"
"""The only signature of a model."""


def version_of(model: ModelDescription) -> str:
    """The model's registered version; ``1`` where it has none."""
    return model.model_version or "1"


def check_version(model: ModelDescription, *, version: str = "", label: str = "") -> None:
    """Refuse a version or a label that is not this model's; empty means any.

    Raises:
        RequestError: UNKNOWN_PATH.
    """
    if version in {"", version_of(model), model.deployment} and label in {"", model.deployment}:
        return
    raise RequestError(
        Fault.UNKNOWN_PATH,
        f"Servable not found for request: {version or label!r}; this is version {version_of(model)!r}. Leave it out,"
        " or name a deployment in the header x-model-version",
    )


def check_signature(name: object) -> None:
    """Refuse a signature that is not :data:`SIGNATURE`; empty means that one.

    Raises:
        RequestError: MALFORMED.
    """
    if name not in ("", SIGNATURE):
        raise RequestError(Fault.MALFORMED, f"signature {repr(name)[:60]} is not known; the only one is {SIGNATURE!r}")
