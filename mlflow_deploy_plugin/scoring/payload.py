"""Inputs of ``predict`` as MLflow request bodies.

MLflow has ``dump_input_data`` for this, which fails on every dict (it iterates keys as pairs); bodies are built here.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from mlflow_deploy_plugin.scoring.plain import to_plain
from mlflow_deploy_plugin.scoring.rebuild import is_body, rebuild
from mlflow_deploy_plugin.scoring.signature import NO_SIGNATURE, Signature

if TYPE_CHECKING:
    import pandas as pd


def build_payload(inputs: object, signature: Signature = NO_SIGNATURE) -> dict[str, Any]:
    """The ``/invocations`` body for a frame, a series, an array, a list, a dict, text, or a finished body.

    Raises:
        ModelError: a value that JSON cannot say, or a column that cannot be told any more.

    >>> build_payload([[1, 2]])
    {'inputs': [[1, 2]]}
    >>> build_payload([{"a": 1}])
    {'dataframe_records': [{'a': 1}]}
    >>> build_payload({"inputs": [1], "params": {"k": 2}})
    {'inputs': [1], 'params': {'k': 2}}
    """
    if _is_frame(inputs):
        return rebuild(cast("pd.DataFrame", inputs), signature)
    if is_body(inputs):
        return cast("dict[str, Any]", to_plain(inputs))
    key = "dataframe_records" if _is_records(inputs) and not signature.is_from_type_hint else "inputs"
    return {key: to_plain(inputs)}


def wrapped(content: bytes) -> bytes:
    """A JSON body that MLflow's servers take: rows or a split without their key get it, all else stays byte by byte.

    >>> wrapped(b'[{"a": 1.10}]'), wrapped(b'{"inputs": [1]}')
    (b'{"dataframe_records": [{"a": 1.10}]}', b'{"inputs": [1]}')
    """
    try:
        document = json.loads(content)
    except ValueError:
        return content  # the server says what is wrong with it
    key = _missing_key(document)
    return b'{"%s": %s}' % (key.encode(), content) if key else content


def _missing_key(document: object) -> str:
    if isinstance(document, list):
        return "dataframe_records" if _is_records(document) else "inputs"
    is_split = isinstance(document, dict) and {"columns", "data"} <= document.keys() <= {"columns", "index", "data"}
    return "dataframe_split" if is_split else ""


def _is_frame(inputs: object) -> bool:
    return hasattr(inputs, "columns") and hasattr(inputs, "iloc")  # a frame, without importing pandas to ask


def _is_records(inputs: object) -> bool:
    if isinstance(inputs, str | bytes) or not isinstance(inputs, Sequence):
        return False
    return len(inputs) > 0 and all(isinstance(item, Mapping) for item in inputs)
