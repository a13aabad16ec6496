"""Messages of the Open Inference Protocol's gRPC form, and tensors within them. Pure.

After https://github.com/open-inference/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto,
and of Triton's ``grpc_service.proto`` its ``uint64_param``, configuration, statistics and repository index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mlflow_deploy_plugin.serving.codecs import oip_tensors
from mlflow_deploy_plugin.serving.codecs.protobuf import Fields, message_types, numbers, refuse_many
from mlflow_deploy_plugin.serving.faults import Fault, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    Array = np.ndarray[Any, np.dtype[Any]]

PACKAGE: Final = "inference"

TABLE: Final[dict[str, Fields]] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": "1 bool"},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": "1 bool"},
    "ModelReadyRequest": {"name": "1 string", "version": "2 string"},
    "ModelReadyResponse": {"ready": "1 bool"},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {"name": "1 string", "version": "2 string", "extensions": "3 repeated string"},
    "ModelMetadataRequest": {"name": "1 string", "version": "2 string"},
    "TensorMetadata": {"name": "1 string", "datatype": "2 string", "shape": "3 repeated int64"},
    "ModelMetadataResponse": {
        "name": "1 string",
        "versions": "2 repeated string",
        "platform": "3 string",
        "inputs": "4 repeated TensorMetadata",
        "outputs": "5 repeated TensorMetadata",
    },
    "ModelConfigRequest": {"name": "1 string", "version": "2 string"},
    "ModelConfigResponse": {"config": "1 ModelConfig"},
    "ModelConfig": {
        "name": "1 string",
        "platform": "2 string",
        "max_batch_size": "4 int32",
        "input": "5 repeated ModelInput",
        "output": "6 repeated ModelOutput",
        "backend": "17 string",
    },
    "ModelInput": {"name": "1 string", "data_type": "2 int32", "dims": "4 repeated int64"},
    "ModelOutput": {"name": "1 string", "data_type": "2 int32", "dims": "3 repeated int64"},
    "ModelStatisticsRequest": {"name": "1 string", "version": "2 string"},
    "ModelStatisticsResponse": {"model_stats": "1 repeated ModelStatistics"},
    "ModelStatistics": {
        "name": "1 string",
        "version": "2 string",
        "inference_count": "4 uint64",
        "execution_count": "5 uint64",
        "inference_stats": "6 InferStatistics",
    },
    "InferStatistics": {
        "success": "1 StatisticDuration",
        "fail": "2 StatisticDuration",
        "queue": "3 StatisticDuration",
        "compute_infer": "5 StatisticDuration",
    },
    "StatisticDuration": {"count": "1 uint64", "ns": "2 uint64"},
    "RepositoryIndexRequest": {"repository_name": "1 string", "ready": "2 bool"},
    "RepositoryIndexResponse": {"models": "1 repeated ModelIndex"},
    "ModelIndex": {"name": "1 string", "version": "2 string", "state": "3 string", "reason": "4 string"},
    "InferParameter": {
        "bool_param": "1 bool parameter_choice",
        "int64_param": "2 int64 parameter_choice",
        "string_param": "3 string parameter_choice",
        "double_param": "4 double parameter_choice",
        "uint64_param": "5 uint64 parameter_choice",
    },
    "InferTensorContents": {
        "bool_contents": "1 repeated bool",
        "int_contents": "2 repeated int32",
        "int64_contents": "3 repeated int64",
        "uint_contents": "4 repeated uint32",
        "uint64_contents": "5 repeated uint64",
        "fp32_contents": "6 repeated float",
        "fp64_contents": "7 repeated double",
        "bytes_contents": "8 repeated bytes",
    },
    "InferInputTensor": {
        "name": "1 string",
        "datatype": "2 string",
        "shape": "3 repeated int64",
        "parameters": "4 map InferParameter",
        "contents": "5 InferTensorContents",
    },
    "InferRequestedOutputTensor": {"name": "1 string", "parameters": "2 map InferParameter"},
    "InferOutputTensor": {
        "name": "1 string",
        "datatype": "2 string",
        "shape": "3 repeated int64",
        "parameters": "4 map InferParameter",
        "contents": "5 InferTensorContents",
    },
    "ModelInferRequest": {
        "model_name": "1 string",
        "model_version": "2 string",
        "id": "3 string",
        "parameters": "4 map InferParameter",
        "inputs": "5 repeated InferInputTensor",
        "outputs": "6 repeated InferRequestedOutputTensor",
        "raw_input_contents": "7 repeated bytes",
    },
    "ModelInferResponse": {
        "model_name": "1 string",
        "model_version": "2 string",
        "id": "3 string",
        "parameters": "4 map InferParameter",
        "outputs": "5 repeated InferOutputTensor",
        "raw_output_contents": "6 repeated bytes",
    },
}

MESSAGES: Final = message_types(PACKAGE, TABLE)

_CONTENTS: Final = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where the elements of a datatype lie; those that are missing here travel raw."""


def inputs(request: Any, *, max_values: int) -> dict[str, Array]:  # noqa: ANN401  a ModelInferRequest
    """The input tensors by name, of at most ``max_values`` elements in typed contents.

    Raises:
        RequestError: MALFORMED, INVALID or TOO_LARGE.
    """
    raw = request.raw_input_contents
    if not request.inputs:
        raise RequestError(Fault.MALFORMED, "the request has no inputs; send at least one tensor")
    if raw and len(raw) != len(request.inputs):
        raise RequestError(
            Fault.MALFORMED, f"raw_input_contents has {len(raw)} entries for {len(request.inputs)} inputs"
        )
    arrays: dict[str, Array] = {}
    typed = 0
    for at, tensor in enumerate(request.inputs):
        if tensor.name in arrays:
            raise RequestError(Fault.MALFORMED, f"input {tensor.name!r} is given twice")
        _check(tensor)
        typed += _typed_count(tensor)
        refuse_many(typed, at_most=max_values, otherwise="raw_input_contents")
        if not raw:
            arrays[tensor.name] = _typed(tensor)
        elif tensor.HasField("contents"):
            raise RequestError(Fault.MALFORMED, f"input {tensor.name!r} has contents beside raw_input_contents")
        else:
            arrays[tensor.name] = oip_tensors.from_bytes(raw[at], tensor.datatype, _shape(tensor), tensor.name)
    return arrays


def parameters(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a map of ``InferParameter``."""
    chosen = {name: parameter.WhichOneof("parameter_choice") for name, parameter in entries.items()}
    return {name: getattr(entries[name], choice) for name, choice in chosen.items() if choice}


def add_outputs(message: Any, arrays: Mapping[str, Array], *, is_raw: bool) -> None:  # noqa: ANN401  a ModelInferResponse
    """Put tensors into a ``ModelInferResponse``: raw where ``is_raw``, or where one of them can travel in no other way.

    Raises:
        TypeError: an element is none that JSON or bytes can say.
        ValueError: the same.
    """
    kinds = {name: oip_tensors.datatype_of(array.dtype) for name, array in arrays.items()}
    is_raw = is_raw or not set(kinds.values()) <= _CONTENTS.keys()
    for name, array in arrays.items():
        tensor = message.outputs.add(name=name, datatype=kinds[name], shape=array.shape)
        if is_raw:
            message.raw_output_contents.append(oip_tensors.to_bytes(array))
        else:
            elements = oip_tensors.to_bytes_list(array) if kinds[name] == "BYTES" else array.reshape(-1).tolist()
            getattr(tensor.contents, _CONTENTS[kinds[name]]).extend(elements)


def _check(tensor: Any) -> None:  # noqa: ANN401  an InferInputTensor
    if tensor.datatype not in oip_tensors.NUMPY:
        known = ", ".join(oip_tensors.NUMPY)
        raise RequestError(
            Fault.MALFORMED, f"datatype of {tensor.name!r} must be one of {known}, not {tensor.datatype[:40]!r}"
        )
    if "shared_memory_region" in tensor.parameters:
        raise RequestError(Fault.INVALID, f"input {tensor.name!r}: shared memory is not offered; send the contents")


def _shape(tensor: Any) -> list[int]:  # noqa: ANN401
    """Its sizes, as far as they are looked at: one too many is enough to be refused."""
    return list(tensor.shape[: oip_tensors.MAX_DIMENSIONS + 1])


def _typed_count(tensor: Any) -> int:  # noqa: ANN401
    field = _CONTENTS.get(tensor.datatype)
    return len(getattr(tensor.contents, field)) if field else 0


def _typed(tensor: Any) -> Array:  # noqa: ANN401
    field, shape = _CONTENTS.get(tensor.datatype), _shape(tensor)
    if field is None:
        raise RequestError(Fault.MALFORMED, f"{tensor.datatype} of {tensor.name!r} travels in raw_input_contents only")
    if filled := [other.name for other, _ in tensor.contents.ListFields() if other.name != field]:
        raise RequestError(
            Fault.MALFORMED, f"{tensor.datatype} of {tensor.name!r} lies in {field}, and {filled[0]} has elements"
        )
    values, count = getattr(tensor.contents, field), oip_tensors.element_count(shape, tensor.name)
    if len(values) != count:
        raise RequestError(
            Fault.MALFORMED, f"{field} of {tensor.name!r} has {len(values)} elements; its shape {shape} has {count}"
        )
    return _array(values, oip_tensors.NUMPY[tensor.datatype], tensor).reshape(shape)


def _array(values: Any, dtype: np.dtype[Any], tensor: Any) -> Array:  # noqa: ANN401
    if dtype.kind == "O":
        elements = np.empty(len(values), dtype=object)
        elements[:] = list(values)
        return elements
    try:
        return numbers(values, dtype)
    except OverflowError as error:
        raise RequestError(
            Fault.MALFORMED, f"contents of {tensor.name!r} do not fit {tensor.datatype}: {error}"
        ) from error
