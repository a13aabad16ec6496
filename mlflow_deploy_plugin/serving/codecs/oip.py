"""The Open Inference Protocol v2 over REST, as Triton, KServe and MLServer speak it, with Triton's binary tensors.

Any model name in a path is ours, since the gateway has routed by it; it is echoed. A version in a path must be the
model's registered version or the deployment's name: a split chooses versions, and the header ``x-model-version`` picks
one. Parameters of a request that the signature declares reach the model; others are the protocol's own or ignored.

Beside the model's outputs a classifier offers ``probability``, given where it is asked for by name. Where Triton writes
NaN, which is not JSON, we write null; binary outputs carry it. Of Triton's extensions the repository's index, the
model's configuration and its statistics are told. Not offered: sequences, shared memory, classification extension,
trace and log settings, loading and unloading (git decides what is served).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.serving.body import HEADER_LENGTH
from mlflow_deploy_plugin.serving.codecs import oip_tensors
from mlflow_deploy_plugin.serving.codecs.base import JSON, Answer, Call, Infer, Reply
from mlflow_deploy_plugin.serving.codecs.blame import status_of
from mlflow_deploy_plugin.serving.codecs.json_body import json_type, loads_object, retry_headers
from mlflow_deploy_plugin.serving.codecs.oip_model import EXTENSIONS, OipModel
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from mlflow_deploy_plugin.serving.codecs.base import Host, Route
    from mlflow_deploy_plugin.serving.request import Request, Response

BINARY: Final = b"application/octet-stream"
_MODELS: Final = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the answer must look like."""

    id: str
    outputs: Mapping[str, bool]
    """Wanted outputs, and whether each is binary; empty: all."""
    is_binary: bool
    """How an output comes whose request did not say."""


class OipCodec:
    """``/v2``."""

    name = "oip"

    def __init__(self, host: Host) -> None:
        self._description = host.model
        self._is_ready = host.is_ready
        self._model = OipModel(host)

    def routes(self) -> Sequence[Route]:
        """Health, metadata and inference; everything of the model also with a version in the path."""
        whole: list[Route] = [
            Answer(path="/v2", answer=self._server),
            Answer(path="/v2/", answer=self._server),
            Answer(path="/v2/health/live", answer=self._live),
            Answer(path="/v2/health/ready", answer=self._server_ready),
            Answer(path="/v2/repository/index", methods=("POST",), answer=self._index),
            Answer(path="/v2/repository/models/{model}/load", methods=("POST",), answer=self._refuse),
            Answer(path="/v2/repository/models/{model}/unload", methods=("POST",), answer=self._refuse),
            Answer(path="/v2/models/stats", answer=self._statistics),
        ]
        for path in _MODELS:
            whole.append(Infer(path=f"{path}/infer", verb="infer", has_tail=True))
            whole.append(Answer(path=f"{path}/ready", answer=self._model_ready))
            whole.append(Answer(path=f"{path}/config", answer=self._configuration))
            whole.append(Answer(path=f"{path}/stats", answer=self._statistics))
            whole.append(Answer(path=path, answer=self._metadata))
        return whole

    def decode(self, call: Call) -> Request:
        """Read inputs from JSON, from binary data, or from both."""
        self._check_version(call)
        length = _header_length(call)
        document = loads_object(call.body[:length])
        arrays = _inputs(document, call.body[length:])
        asked = _asked(document)
        return self._model.request(arrays, _parameters(document, "the request"), asked.outputs, echo=asked)

    def encode(self, response: Response, request: Request, call: Call) -> Reply:
        """The outputs that were asked for, each as it was asked for."""
        asked: _Asked = request.echo
        try:
            arrays = self._model.outputs(response, asked.outputs)
            binary = {
                name: oip_tensors.to_bytes(array)
                for name, array in arrays.items()
                if asked.outputs.get(name, asked.is_binary)
            }
            described = [_output(name, array, binary.get(name)) for name, array in arrays.items()]
        except (TypeError, ValueError, RecursionError) as error:
            raise RequestError(Fault.MODEL_FAILED, f"the model's output is no tensor: {error}") from None
        document = {"model_name": self._name(call), "model_version": self._model.version, "outputs": described}
        head = oip_tensors.dumps({"id": asked.id, **document} if asked.id else document)
        if not binary:
            return Reply(200, JSON, head)
        return Reply(200, BINARY, b"".join([head, *binary.values()]), ((HEADER_LENGTH, str(len(head)).encode()),))

    def encode_error(self, error: RequestError, call: Call, request: Request | None = None) -> Reply:  # noqa: ARG002
        """``{"error": …}``."""
        status = status_of(error, request, self._description.signature)
        return Reply(status, JSON, oip_tensors.dumps({"error": error.message}), retry_headers(error))

    def _check_version(self, call: Call) -> None:
        self._model.check_version(call.captures.get("version", ""))

    def _name(self, call: Call) -> str:
        return call.captures.get("model", self._description.model_name)

    def _server(self, call: Call) -> Reply:  # noqa: ARG002  all servers are alike
        return _reply({"name": "modelserve", "version": VERSION, "extensions": EXTENSIONS})

    def _live(self, call: Call) -> Reply:  # noqa: ARG002
        return _reply({"live": True})

    def _server_ready(self, call: Call) -> Reply:  # noqa: ARG002
        return _reply({"ready": self._is_ready()}, status=200 if self._is_ready() else 503)

    def _model_ready(self, call: Call) -> Reply:
        self._check_version(call)
        is_ready = self._is_ready()
        return _reply({"name": self._name(call), "ready": is_ready}, status=200 if is_ready else 503)

    def _metadata(self, call: Call) -> Reply:
        self._check_version(call)
        return _reply(self._model.metadata(self._name(call)))

    def _index(self, call: Call) -> Reply:  # noqa: ARG002
        return _reply(self._model.index())

    def _configuration(self, call: Call) -> Reply:
        self._check_version(call)
        return _reply(self._model.configuration(self._name(call)))

    def _statistics(self, call: Call) -> Reply:
        self._check_version(call)
        return _reply(self._model.statistics(call.captures.get("model", "")))

    def _refuse(self, call: Call) -> Reply:  # noqa: ARG002
        self._model.refuse_control()


def _output(name: str, array: np.ndarray, binary: bytes | None) -> dict[str, Any]:
    described = {"name": name, "datatype": oip_tensors.datatype_of(array.dtype), "shape": list(array.shape)}
    if binary is None:
        return {**described, "data": oip_tensors.to_json(array)}
    return {**described, "parameters": {"binary_data_size": len(binary)}}


def _reply(document: Any, *, status: int = 200) -> Reply:  # noqa: ANN401
    return Reply(status, JSON, oip_tensors.dumps(document))


def _header_length(call: Call) -> int:
    text, size = call.headers.get(HEADER_LENGTH), len(call.body)
    if text is None:
        return size
    if not text.isdigit() or len(text) > 18 or int(text) > size:  # noqa: PLR2004  digits that no body has
        raise RequestError(
            Fault.MALFORMED, f"Inference-Header-Content-Length must be at most {size}, the body's length"
        )
    return int(text)


def _inputs(document: Mapping[str, Any], binary: bytes) -> dict[str, np.ndarray]:
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise RequestError(Fault.MALFORMED, "'inputs' must be an array of at least one tensor")
    arrays: dict[str, np.ndarray] = {}
    offset = 0
    for tensor in inputs:
        name, size = _described(tensor)
        if name in arrays:
            raise RequestError(Fault.MALFORMED, f"input {name!r} is given twice")
        if size is None:
            arrays[name] = oip_tensors.from_json(tensor.get("data"), tensor["datatype"], tensor["shape"], name)
            continue
        if offset + size > len(binary):
            raise RequestError(
                Fault.MALFORMED, f"binary data of {name!r} reaches {offset + size - len(binary)} bytes too far"
            )
        data = binary[offset : offset + size]
        arrays[name] = oip_tensors.from_bytes(data, tensor["datatype"], tensor["shape"], name)
        offset += size
    if offset != len(binary):
        raise RequestError(Fault.MALFORMED, f"{len(binary) - offset} bytes of binary data belong to no input")
    return arrays


def _described(tensor: Any) -> tuple[str, int | None]:  # noqa: ANN401  any JSON value
    """Name, and size of the binary data, of a tensor whose description is sound."""
    if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
        raise RequestError(Fault.MALFORMED, "each input must be an object with name, shape, datatype and data")
    name = tensor["name"]
    datatype = tensor.get("datatype")
    if not isinstance(datatype, str) or datatype not in oip_tensors.NUMPY:
        known = ", ".join(oip_tensors.NUMPY)
        raise RequestError(Fault.MALFORMED, f"datatype of {name!r} must be one of {known}, not {repr(datatype)[:40]}")
    oip_tensors.element_count(tensor.get("shape"), name)
    size = _parameters(tensor, f"input {name!r}").get("binary_data_size")
    if size is None:
        return name, None
    if type(size) is not int or size < 0 or "data" in tensor:
        raise RequestError(Fault.MALFORMED, f"input {name!r} must have either data or a binary_data_size of 0 or more")
    return name, size


def _asked(document: Mapping[str, Any]) -> _Asked:
    is_binary = _parameters(document, "the request").get("binary_data_output") is True
    wanted = document.get("outputs") or []
    if not isinstance(wanted, list) or not all(isinstance(o, dict) and isinstance(o.get("name"), str) for o in wanted):
        raise RequestError(Fault.MALFORMED, "'outputs' must be an array of objects with a name")
    outputs = {}
    for output in wanted:
        parameters = _parameters(output, f"output {output['name']!r}")
        if parameters.get("classification"):
            raise RequestError(Fault.INVALID, "the classification extension is not offered; ask for 'probability'")
        outputs[output["name"]] = parameters.get("binary_data", is_binary) is True
    identity = document.get("id", "")
    if not isinstance(identity, str):
        raise RequestError(Fault.MALFORMED, f"'id' must be a string, not {json_type(identity)}")
    return _Asked(id=identity, outputs=outputs, is_binary=is_binary)


def _parameters(document: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    parameters = document.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise RequestError(Fault.MALFORMED, f"'parameters' of {what} must be an object, not {json_type(parameters)}")
    return parameters
