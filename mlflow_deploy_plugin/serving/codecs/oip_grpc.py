"""The Open Inference Protocol v2 over gRPC: ``inference.GRPCInferenceService``, as Triton and KServe speak it.

The answer comes as the request came: raw for ``raw_input_contents``, typed for typed contents, and raw wherever a
datatype (FP16) has no typed form. Versions, parameters and outputs are as in :mod:`.oip`; so is what is not offered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mlflow_deploy_plugin.serving.codecs import grpc_status, oip_messages
from mlflow_deploy_plugin.serving.codecs.base import Answer, Call, Infer, Reply
from mlflow_deploy_plugin.serving.codecs.blame import as_told
from mlflow_deploy_plugin.serving.codecs.oip_management import numbered
from mlflow_deploy_plugin.serving.codecs.oip_messages import MESSAGES
from mlflow_deploy_plugin.serving.codecs.oip_model import EXTENSIONS, OipModel
from mlflow_deploy_plugin.serving.codecs.protobuf import parse
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow_deploy_plugin.serving.codecs.base import Host, Route
    from mlflow_deploy_plugin.serving.request import Request, Response

SERVICE: Final = "/inference.GRPCInferenceService/"


class _Asked(NamedTuple):
    """What the answer must look like."""

    model: str
    id: str
    outputs: tuple[str, ...]
    """Wanted outputs; empty: all."""
    is_raw: bool


class OipGrpcCodec:
    """The methods of ``inference.GRPCInferenceService``."""

    name = "oip-grpc"

    def __init__(self, host: Host) -> None:
        self._is_ready = host.is_ready
        self._model = OipModel(host)
        self._signature = host.model.signature
        self._max_values = host.max_values

    def routes(self) -> Sequence[Route]:
        """A path for each method, as gRPC has it."""
        return (
            Infer(path=f"{SERVICE}ModelInfer", verb="infer"),
            Answer(path=f"{SERVICE}ServerLive", methods=("POST",), answer=self._server_live),
            Answer(path=f"{SERVICE}ServerReady", methods=("POST",), answer=self._server_ready),
            Answer(path=f"{SERVICE}ServerMetadata", methods=("POST",), answer=self._server_metadata),
            Answer(path=f"{SERVICE}ModelReady", methods=("POST",), answer=self._model_ready),
            Answer(path=f"{SERVICE}ModelMetadata", methods=("POST",), answer=self._model_metadata),
            Answer(path=f"{SERVICE}ModelConfig", methods=("POST",), answer=self._model_configuration),
            Answer(path=f"{SERVICE}ModelStatistics", methods=("POST",), answer=self._model_statistics),
            Answer(path=f"{SERVICE}RepositoryIndex", methods=("POST",), answer=self._index),
            Answer(path=f"{SERVICE}RepositoryModelLoad", methods=("POST",), answer=self._refuse),
            Answer(path=f"{SERVICE}RepositoryModelUnload", methods=("POST",), answer=self._refuse),
        )

    def decode(self, call: Call) -> Request:
        """Read a ``ModelInferRequest``."""
        message = parse(MESSAGES["ModelInferRequest"], call.body, max_values=self._max_values)
        self._model.check_version(message.model_version)
        if any("classification" in output.parameters for output in message.outputs):
            raise RequestError(Fault.INVALID, "the classification extension is not offered; ask for 'probability'")
        asked = _Asked(
            model=message.model_name,
            id=message.id,
            outputs=tuple(output.name for output in message.outputs),
            is_raw=bool(message.raw_input_contents),
        )
        given = oip_messages.parameters(message.parameters)
        arrays = oip_messages.inputs(message, max_values=self._max_values)
        return self._model.request(arrays, given, asked.outputs, echo=asked)

    def encode(self, response: Response, request: Request, call: Call) -> Reply:  # noqa: ARG002  the request says enough
        """A ``ModelInferResponse`` with the outputs that were asked for."""
        asked: _Asked = request.echo
        message = MESSAGES["ModelInferResponse"](model_name=asked.model, model_version=self._model.version, id=asked.id)
        try:
            oip_messages.add_outputs(message, self._model.outputs(response, asked.outputs), is_raw=asked.is_raw)
        except (TypeError, ValueError, RecursionError) as error:
            raise RequestError(Fault.MODEL_FAILED, f"the model's output is no tensor: {error}") from None
        return grpc_status.answer(message.SerializeToString())

    def encode_error(self, error: RequestError, call: Call, request: Request | None = None) -> Reply:  # noqa: ARG002
        """A status of gRPC and a message."""
        return grpc_status.refusal(as_told(error, request, self._signature))

    def _server_live(self, call: Call) -> Reply:  # noqa: ARG002  all servers are alike
        return _reply("ServerLiveResponse", live=True)

    def _server_ready(self, call: Call) -> Reply:  # noqa: ARG002
        return _reply("ServerReadyResponse", ready=self._is_ready())

    def _server_metadata(self, call: Call) -> Reply:  # noqa: ARG002
        return _reply("ServerMetadataResponse", name="modelserve", version=VERSION, extensions=EXTENSIONS)

    def _model_ready(self, call: Call) -> Reply:
        message = parse(MESSAGES["ModelReadyRequest"], call.body, max_values=self._max_values)
        return _reply("ModelReadyResponse", ready=self._is_ready() and self._model.serves(message.version))

    def _model_metadata(self, call: Call) -> Reply:
        message = parse(MESSAGES["ModelMetadataRequest"], call.body, max_values=self._max_values)
        self._model.check_version(message.version)
        return _reply("ModelMetadataResponse", **self._model.metadata(message.name))

    def _model_configuration(self, call: Call) -> Reply:
        message = parse(MESSAGES["ModelConfigRequest"], call.body, max_values=self._max_values)
        self._model.check_version(message.version)
        return _reply("ModelConfigResponse", config=numbered(self._model.configuration(message.name)))

    def _model_statistics(self, call: Call) -> Reply:
        message = parse(MESSAGES["ModelStatisticsRequest"], call.body, max_values=self._max_values)
        self._model.check_version(message.version)
        return _reply("ModelStatisticsResponse", **self._model.statistics(message.name))

    def _index(self, call: Call) -> Reply:  # noqa: ARG002
        return _reply("RepositoryIndexResponse", models=self._model.index())

    def _refuse(self, call: Call) -> Reply:  # noqa: ARG002
        self._model.refuse_control()


def _reply(kind: str, **fields: Any) -> Reply:  # noqa: ANN401
    return grpc_status.answer(MESSAGES[kind](**fields).SerializeToString())
