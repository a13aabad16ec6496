"""What a model returned as strict JSON: MLflow's own conversions, and ``null`` where it would write NaN.

Fast for what orjson knows. The rest is converted as the ``NumpyEncoder`` of ``mlflow/utils/proto_json_utils.py`` does:
arrays to lists, bytes to base64 with its line feed, dates to ISO 8601.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import sys
from typing import Any, Final

import numpy as np
import orjson

OPTIONS: Final = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


def dumps(value: Any) -> bytes:  # noqa: ANN401  any output of a model
    """Strict JSON.

    >>> dumps({"predictions": [1.5, float("nan")]})
    b'{"predictions":[1.5,null]}'

    Raises:
        TypeError: JSON cannot say it.
    """
    try:
        return orjson.dumps(value, default=_convert, option=OPTIONS)
    except TypeError:
        return json.dumps(_strict(value), allow_nan=False).encode()  # whole numbers beyond 64 bits come here


def rows(output: Any) -> Any:  # noqa: ANN401
    """An output as MLflow's ``predictions``: a frame or series as records, an array as lists, the rest as it is."""
    if isinstance(output, np.ndarray):
        return output.tolist()
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        if isinstance(output, pandas.DataFrame):
            return output.to_dict(orient="records")
        if isinstance(output, pandas.Series):
            return pandas.DataFrame(output).to_dict(orient="records")
    return output


def records(said: Any) -> Any:  # noqa: ANN401
    """A dict of columns as records, a dict of anything else as the one record that it is, the rest unchanged.

    >>> records({"a": [1, 2], "b": ["x", "y"]})
    [{'a': 1, 'b': 'x'}, {'a': 2, 'b': 'y'}]
    """
    if not isinstance(said, dict):
        return said
    columns = {name: column.tolist() if isinstance(column, np.ndarray) else column for name, column in said.items()}
    is_table = all(isinstance(column, list) for column in columns.values())
    if not is_table or len({len(column) for column in columns.values()}) != 1:
        return [columns]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _convert(value: Any) -> Any:  # noqa: ANN401  one line per foreign type
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (bytes, bytearray)):
        return base64.encodebytes(value).decode("ascii")
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, tuple):
        return list(value)
    if hasattr(value, "model_dump"):  # pydantic, which a type-hint model may return
        return value.model_dump()
    raise TypeError(f"the model returned {type(value).__name__}, which JSON cannot say")


def _strict(value: Any) -> Any:  # noqa: ANN401
    """``value`` in plain JSON types; the slow way, for what orjson refuses."""
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return _strict(_convert(value))
