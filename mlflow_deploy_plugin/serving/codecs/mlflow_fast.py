"""The common JSON bodies of ``/invocations``, read without pandas and without MLflow. Pure.

Every reading here is one of two kinds: a table of numbers proven by :class:`.tables.TablePlan`, or a tensor to the bit
as the call that MLflow makes (``numpy.array(data, dtype=spec.type)``, ``mlflow/utils/proto_json_utils.py``,
``convert_data_type``). A body that is neither is None, and MLflow reads it. A differential test holds both against
MLflow's own server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from mlflow_deploy_plugin.serving.codecs.packing import table
from mlflow_deploy_plugin.serving.codecs.tables import TablePlan
from mlflow_deploy_plugin.serving.request import Request, Tensor, Tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow_deploy_plugin.serving.request import Payload
    from mlflow_deploy_plugin.serving.signature import Signature

NUMBERS: Final = "fiu"


class Reader:
    """Reads bodies for one signature."""

    def __init__(self, signature: Signature) -> None:
        self._table = TablePlan.of(signature)
        tensors = () if signature.is_from_type_hint else signature.tensors
        numeric = all(np.dtype(spec.dtype).kind in NUMBERS for spec in tensors)
        self._tensors = {spec.name: np.dtype(spec.dtype) for spec in tensors} if numeric else {}
        self._takes_anything = self._table is not None or bool(self._tensors)

    def read(self, body: bytes) -> Request | None:
        """The request; None where MLflow must read it."""
        if not self._takes_anything:
            return None
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            return None
        if type(document) is not dict:
            return None
        params = document.pop("params", None) if len(document) == 2 else None  # noqa: PLR2004  data and params
        if len(document) != 1 or (params is not None and type(params) is not dict):
            return None
        payload = self._payload(document)
        return None if payload is None else Request(payload=payload, params=params)

    def _payload(self, document: Mapping[str, Any]) -> Payload | None:
        ((key, data),) = document.items()
        if self._table is not None:
            return _table(self._table, key, data)
        if key == "inputs" or (key == "instances" and type(data) is list):
            return self._tensor(data)
        return None

    def _tensor(self, data: Any) -> Payload | None:  # noqa: ANN401  any JSON value
        try:
            if type(data) is list and data and type(data[0]) is not dict and len(self._tensors) == 1:
                ((name, dtype),) = self._tensors.items()
                array = _array(data, dtype)
                return Tensors(arrays={name: array}) if name else Tensor(array=array)
            if type(data) is dict and data.keys() == self._tensors.keys():
                lists = all(type(value) is list for value in data.values())
                return Tensors(arrays={n: _array(data[n], t) for n, t in self._tensors.items()}) if lists else None
        except (TypeError, ValueError, OverflowError):
            return None
        return None


def _array(data: list[Any], dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    """``numpy.array(data, dtype=dtype)``."""
    array = table(data, dtype) if dtype.kind == "f" else None
    return np.array(data, dtype=dtype) if array is None else array


def _table(plan: TablePlan, key: str, data: Any) -> Payload | None:  # noqa: ANN401
    if key == "dataframe_split":
        if type(data) is dict and len(data) == 2 and data.get("columns") == plan.names:  # noqa: PLR2004
            return plan.from_rows(data.get("data"))
        return None
    if key == "dataframe_records":
        return plan.from_records(data)
    if key in {"inputs", "instances"}:
        return plan.from_columns(data) if type(data) is dict else plan.from_records(data)
    return None
