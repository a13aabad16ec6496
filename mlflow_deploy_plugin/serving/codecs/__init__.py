"""Wire protocols. Adding one: a module beside this one and its class in :data:`FACTORIES`; no engine code changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.serving.codecs.mlflow import MlflowCodec
from mlflow_deploy_plugin.serving.codecs.oip import OipCodec
from mlflow_deploy_plugin.serving.codecs.rest import RestCodec
from mlflow_deploy_plugin.serving.codecs.tensorflow import TensorflowCodec
from mlflow_deploy_plugin.serving.codecs.torchserve import TorchserveCodec

if TYPE_CHECKING:
    from mlflow_deploy_plugin.serving.codecs.base import Codec, Factory, Host

FACTORIES: Final[tuple[Factory, ...]] = (MlflowCodec, RestCodec, OipCodec, TensorflowCodec, TorchserveCodec)
"""Every protocol over HTTP, in the order in which their routes are tried; the first to claim a path has it."""


def make_codecs(host: Host) -> tuple[Codec, ...]:
    """One codec of each protocol over HTTP for one model."""
    return tuple(make(host) for make in FACTORIES)


def make_grpc_codecs(host: Host) -> tuple[Codec, ...]:
    """One codec of each protocol over gRPC.

    Raises:
        ImportError: protobuf is not installed.
    """
    from mlflow_deploy_plugin.serving.codecs.grpc_health import GrpcHealthCodec  # noqa: PLC0415  where gRPC is served
    from mlflow_deploy_plugin.serving.codecs.oip_grpc import OipGrpcCodec  # noqa: PLC0415
    from mlflow_deploy_plugin.serving.codecs.tensorflow_grpc import TensorflowGrpcCodec  # noqa: PLC0415

    return (OipGrpcCodec(host), TensorflowGrpcCodec(host), GrpcHealthCodec(host))
