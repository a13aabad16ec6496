"""Undoes what ``mlflow deployments predict`` does to its input file.

MLflow's command reads every file with ``pandas.read_json`` before a plugin is asked (mlflow/deployments/cli.py), so an
ordinary ``/invocations`` body arrives as a frame with a column ``dataframe_split``, ``inputs`` or ``columns``. This
module tells such a frame from one that is meant as a frame, rebuilds the body, and casts columns back to the model's
signature (:mod:`.recast`). :func:`read_original` does better where it can: the file itself, undamaged.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.scoring.plain import to_plain
from mlflow_deploy_plugin.scoring.recast import recast
from mlflow_deploy_plugin.scoring.signature import NO_SIGNATURE, Signature

if TYPE_CHECKING:
    import pandas as pd

PAYLOAD_KEYS: Final = ("dataframe_split", "dataframe_records", "instances", "inputs")
LLM_KEYS: Final = ("messages", "prompt", "input")
_SPLIT_KEYS: Final = ("columns", "index", "data")


def is_body(document: object) -> bool:
    """Whether ``document`` is a request body as it stands: it has a payload key or speaks to a language model.

    >>> is_body({"inputs": [[1]]}), is_body({"columns": ["a"], "data": [[1]]})
    (True, False)
    """
    return isinstance(document, Mapping) and any(key in document for key in (*PAYLOAD_KEYS, *LLM_KEYS))


def read_original(path: str) -> "Mapping[str, Any] | pd.DataFrame | None":
    """The file that the command was given, read without any guessing: a body, or a frame; ``None``: unreadable.

    ``None`` is what compressed files, URLs and several documents in one file give; :func:`rebuild` serves them.
    """
    import pandas as pd  # noqa: PLC0415  a light command must not pay for it

    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        if is_body(document):
            return dict(document)
        return pd.read_json(path, dtype=False, convert_dates=False, convert_axes=False)
    except (OSError, ValueError):
        return None


def rebuild(frame: "pd.DataFrame", signature: Signature = NO_SIGNATURE) -> dict[str, Any]:
    """The request body that ``frame`` stands for.

    Raises:
        ModelError: a column's original cannot be told any more.
    """
    columns = [str(column) for column in frame.columns]
    if (key := _payload_key(columns, signature)) is not None:
        return _unwrapped(frame, key, signature)
    if _is_split(frame, columns, signature):
        return _split_again(frame, columns)
    if _is_chat(frame, columns):
        return _chat(frame, columns)
    return _tensor_or_frame(frame, signature)


def _payload_key(columns: list[str], signature: Signature) -> str | None:
    """The payload key that a frame of these columns carries, where the model has no column of that very name."""
    found = [column for column in columns if column in PAYLOAD_KEYS]
    is_alone = len(found) == 1 and set(columns) <= {found[0], "params"}
    return found[0] if is_alone and found[0] not in signature.names else None


def _unwrapped(frame: "pd.DataFrame", key: str, signature: Signature) -> dict[str, Any]:
    has_params = "params" in [str(column) for column in frame.columns]
    params = _params(frame["params"]) if has_params else None
    labels = [label for label in frame.index.tolist() if not (params and str(label) in params)]
    column = frame[key].loc[labels]
    values = recast(column, kind=_sole_kind(signature), name=key)
    is_rows = labels == list(range(len(labels)))
    names = [_original_name(label, signature) for label in labels]
    body = {key: values if is_rows else dict(zip(names, values, strict=True))}
    return {**body, "params": params} if has_params else body


def _sole_kind(signature: Signature) -> str:
    return signature.columns[0].kind if len(signature.columns) == 1 else ""


def _params(column: "pd.Series[Any]") -> dict[str, Any] | None:
    """Parameters stand beside the payload, one row each; a number that lost its type becomes whole where it can."""
    stated = column.dropna()
    if stated.empty:
        return None
    values = [int(v) if isinstance(v, float) and v.is_integer() else v for v in map(to_plain, stated.tolist())]
    return dict(zip(map(str, stated.index.tolist()), values, strict=True))


def _is_split(frame: "pd.DataFrame", columns: list[str], signature: Signature) -> bool:
    is_named_so = {"columns", "data"} <= set(columns) <= set(_SPLIT_KEYS) and "data" not in signature.names
    return is_named_so and all(isinstance(row, list) for row in frame["data"].tolist())


def _split_again(frame: "pd.DataFrame", columns: list[str]) -> dict[str, Any]:
    return {"dataframe_split": {key: to_plain(frame[key].tolist()) for key in _SPLIT_KEYS if key in columns}}


def _is_chat(frame: "pd.DataFrame", columns: list[str]) -> bool:
    return "messages" in columns and all(isinstance(m, Mapping) and "role" in m for m in frame["messages"].tolist())


def _chat(frame: "pd.DataFrame", columns: list[str]) -> dict[str, Any]:
    """A conversation; read_json repeated every scalar beside it once a message."""
    beside = {name: _repeated(frame[name].tolist()) for name in columns if name != "messages"}
    return {"messages": to_plain(frame["messages"].tolist()), **to_plain(beside)}


def _repeated(values: list[Any]) -> object:
    return values[0] if all(value == values[0] for value in values) else values


def _tensor_or_frame(frame: "pd.DataFrame", signature: Signature) -> dict[str, Any]:
    is_unnamed = signature.is_tensor and not signature.names
    if is_unnamed or (signature.is_from_type_hint and [str(c) for c in frame.columns] == ["0"]):
        rows = to_plain(frame.to_numpy().tolist())
        return {"inputs": rows if is_unnamed else [row[0] for row in rows]}
    return _frame(frame, signature)


def _frame(frame: "pd.DataFrame", signature: Signature) -> dict[str, Any]:
    names = [_original_name(label, signature) for label in frame.columns.tolist()]
    cells = [recast(frame.iloc[:, place], kind=signature.kind(name), name=name) for place, name in enumerate(names)]
    rows = [list(row) for row in zip(*cells, strict=True)] if cells else []
    return {"dataframe_split": {"columns": names, "data": rows}}


def _original_name(label: object, signature: Signature) -> str:
    """Name of a column; read_json reads a name of digits as a number, and ``"007"`` then arrives as 7."""
    if str(label) in signature.names or not isinstance(label, int):
        return str(label)
    return next((name for name in signature.names if name.isdecimal() and int(name) == label), str(label))
