"""What Triton tells of a model beside the Open Inference Protocol: its configuration and its statistics. Pure.

The forms of ``get_model_config`` and ``get_inference_statistics``, by what is known of the model and was counted:
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md. Not told, since it is
not counted apart: the time of the last request, decoding and encoding (``compute_input``, ``compute_output``), and
each size of batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mlflow_deploy_plugin.serving.codecs.base import Totals

_NANOSECONDS: Final = 1_000_000_000
DATA_TYPES: Final = {
    "BOOL": 1, "UINT8": 2, "UINT16": 3, "UINT32": 4, "UINT64": 5, "INT8": 6, "INT16": 7, "INT32": 8, "INT64": 9,
    "FP16": 10, "FP32": 11, "FP64": 12, "BYTES": 13, "BF16": 14,
}  # fmt: skip
"""Numbers of ``inference.DataType``; in JSON its names are ``TYPE_`` and ours, but for ``TYPE_STRING``."""


def statistics(totals: Totals, *, name: str, version: str) -> dict[str, Any]:
    """One entry of ``model_stats``."""
    return {
        "name": name,
        "version": version,
        "inference_count": totals.rows,
        "execution_count": totals.batches,
        "inference_stats": {
            "success": _duration(totals.requests, totals.requests_s),
            "fail": _duration(totals.errors, totals.errors_s),
            "queue": _duration(totals.requests, totals.queue_s),
            "compute_infer": _duration(totals.batches, totals.compute_s),
        },
    }


def configuration(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration, in its JSON form, of a model with this metadata.

    ``max_batch_size`` is 0, by which Triton means that shapes are told whole, with the axis of the rows.
    """
    return {
        "name": metadata["name"],
        "platform": metadata["platform"],
        "backend": "mlflow",
        "max_batch_size": 0,
        "input": _tensors(metadata["inputs"]),
        "output": _tensors(metadata["outputs"]),
    }


def numbered(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the numbers that its types have in protobuf."""
    numbers = {_type_name(datatype): number for datatype, number in DATA_TYPES.items()}
    sides = {
        side: [{**tensor, "data_type": numbers[tensor["data_type"]]} for tensor in configuration[side]]
        for side in ("input", "output")
    }
    return {**configuration, **sides}


def _tensors(described: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"name": tensor["name"], "data_type": _type_name(tensor["datatype"]), "dims": tensor["shape"]}
        for tensor in described
    ]


def _type_name(datatype: str) -> str:
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * _NANOSECONDS)}
