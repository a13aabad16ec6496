"""TensorFlow Serving over gRPC: ``PredictionService`` (Predict, GetModelMetadata) and ``ModelService``.

Versions, labels and the one signature are as in :mod:`.tensorflow`. ``Classify``, ``Regress`` and ``MultiInference``
take serialized ``tf.Example`` and are not offered; the REST form has ``:classify`` and ``:regress``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mlflow_deploy_plugin.serving.codecs import grpc_status, tensorflow_messages
from mlflow_deploy_plugin.serving.codecs.arrays import ArrayReader
from mlflow_deploy_plugin.serving.codecs.base import Answer, Call, Infer, Reply
from mlflow_deploy_plugin.serving.codecs.blame import as_told
from mlflow_deploy_plugin.serving.codecs.protobuf import parse
from mlflow_deploy_plugin.serving.codecs.tensorflow_messages import MESSAGES
from mlflow_deploy_plugin.serving.codecs.tensorflow_metadata import signature_definition
from mlflow_deploy_plugin.serving.codecs.tensorflow_model import SIGNATURE, check_signature, check_version, version_of
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.outputs import named_arrays
from mlflow_deploy_plugin.serving.request import Request, Response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow_deploy_plugin.serving.codecs.base import Host, Route

PREDICTION: Final = "/tensorflow.serving.PredictionService/"
MODEL: Final = "/tensorflow.serving.ModelService/"
METADATA_TYPE: Final = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
AVAILABLE: Final = 30
LOADING: Final = 20


class _Asked(NamedTuple):
    """What the answer must say."""

    model: str
    outputs: tuple[str, ...]
    """Wanted outputs; empty: all."""


class TensorflowGrpcCodec:
    """Methods of ``tensorflow.serving``."""

    name = "tensorflow-grpc"

    def __init__(self, host: Host) -> None:
        self._model = host.model
        self._is_ready = host.is_ready
        self._max_values = host.max_values
        self._reader = ArrayReader(host.model.signature)
        self._outputs = [spec.name for spec in host.model.signature.outputs]

    def routes(self) -> Sequence[Route]:
        """A path for each method, as gRPC has it."""
        return (
            Infer(path=f"{PREDICTION}Predict", verb="predict"),
            Answer(path=f"{PREDICTION}GetModelMetadata", methods=("POST",), answer=self._metadata),
            Answer(path=f"{MODEL}GetModelStatus", methods=("POST",), answer=self._status),
        )

    def decode(self, call: Call) -> Request:
        """Read a ``PredictRequest``."""
        message = parse(MESSAGES["PredictRequest"], call.body, max_values=self._max_values)
        self._check(message.model_spec)
        check_signature(message.model_spec.signature_name)
        arrays = tensorflow_messages.to_arrays(message.inputs, max_values=self._max_values)
        asked = _Asked(model=message.model_spec.name, outputs=tuple(message.output_filter))
        return Request(payload=self._reader.read(arrays), echo=asked)

    def encode(self, response: Response, request: Request, call: Call) -> Reply:  # noqa: ARG002  the request says enough
        """A ``PredictResponse``."""
        asked: _Asked = request.echo
        message = MESSAGES["PredictResponse"](model_spec=self._spec(asked.model))
        try:
            arrays = named_arrays(response.prediction, self._outputs)
            if unknown := [name for name in asked.outputs if name not in arrays]:
                known = ", ".join(map(repr, arrays))
                raise RequestError(Fault.INVALID, f"unknown output {unknown[0]!r}; the model gives {known}")
            for name in asked.outputs or arrays:
                tensorflow_messages.fill(message.outputs[name], arrays[name])
        except (TypeError, ValueError, RecursionError) as error:
            raise RequestError(Fault.MODEL_FAILED, f"the model's output is no tensor: {error}") from None
        return grpc_status.answer(message.SerializeToString())

    def encode_error(self, error: RequestError, call: Call, request: Request | None = None) -> Reply:  # noqa: ARG002
        """A status of gRPC and a message."""
        return grpc_status.refusal(as_told(error, request, self._model.signature))

    def _check(self, spec: Any) -> None:  # noqa: ANN401  a ModelSpec
        version = str(spec.version.value) if spec.HasField("version") else ""
        check_version(self._model, version=version, label=spec.version_label)

    def _spec(self, name: str, *, signature: str = SIGNATURE) -> Any:  # noqa: ANN401
        return MESSAGES["ModelSpec"](name=name, version={"value": self._number()}, signature_name=signature)

    def _number(self) -> int:
        version = version_of(self._model)
        return int(version) if version.isdecimal() else 1

    def _metadata(self, call: Call) -> Reply:
        message = parse(MESSAGES["GetModelMetadataRequest"], call.body, max_values=self._max_values)
        self._check(message.model_spec)
        if list(message.metadata_field) != ["signature_def"]:
            asked = ", ".join(message.metadata_field) or "nothing"
            raise RequestError(Fault.MALFORMED, f"metadata_field must be 'signature_def', not {asked[:60]}")
        known = MESSAGES["SignatureDefMap"]()
        known.signature_def[SIGNATURE].CopyFrom(tensorflow_messages.signature(signature_definition(self._model)))
        answer = MESSAGES["GetModelMetadataResponse"](model_spec=self._spec(message.model_spec.name, signature=""))
        answer.metadata["signature_def"].type_url = METADATA_TYPE
        answer.metadata["signature_def"].value = known.SerializeToString()
        return grpc_status.answer(answer.SerializeToString())

    def _status(self, call: Call) -> Reply:
        message = parse(MESSAGES["GetModelStatusRequest"], call.body, max_values=self._max_values)
        self._check(message.model_spec)
        state = AVAILABLE if self._is_ready() else LOADING
        status = {"version": self._number(), "state": state, "status": {}}
        answer = MESSAGES["GetModelStatusResponse"](model_version_status=[status])
        return grpc_status.answer(answer.SerializeToString())
