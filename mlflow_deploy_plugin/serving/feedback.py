"""``POST /feedback``: ground truth by request id, for one row, for each row, or for many requests at once. Pure.

``{"request_id": "…", "label": 1}``, ``{"request_id": "…", "row": 2, "label": 1}``,
``{"request_id": "…", "labels": [0, 1]}``, or a list of these.
"""

from __future__ import annotations

from typing import Any, Final

from mlflow_deploy_plugin.serving.codecs.json_body import json_type, loads
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.record import Label
from mlflow_deploy_plugin.spec.events import LARGEST_LABEL

MAX_ID: Final = 256
KEYS: Final = frozenset({"request_id", "row", "label", "labels"})


def parse(body: bytes) -> list[Label]:
    """The labels in a body.

    Raises:
        RequestError: MALFORMED; nothing of the body was taken.
    """
    document = loads(body)
    items = document if isinstance(document, list) else [document]
    return [label for at, item in enumerate(items) for label in _labels(item, at)]


def _labels(item: Any, at: int) -> list[Label]:  # noqa: ANN401  any JSON value
    if not isinstance(item, dict):
        raise _refuse(at, f"must be an object, not {json_type(item)}")
    if unknown := sorted(item.keys() - KEYS):
        raise _refuse(at, f"has unknown key {unknown[0]!r}; known: {', '.join(sorted(KEYS))}")
    request_id = item.get("request_id")
    if not isinstance(request_id, str) or not 0 < len(request_id) <= MAX_ID:
        raise _refuse(at, "must have a 'request_id', the x-request-id of the prediction's response")
    if ("label" in item) == ("labels" in item):
        raise _refuse(at, "must have either 'label' or 'labels'")
    if "label" in item:
        return [Label(request_id=request_id, row=_row(item.get("row", 0), at), value=_value(item["label"], at))]
    if not isinstance(item["labels"], list) or "row" in item:
        raise _refuse(at, "must have 'labels' as an array of one label per row, without 'row'")
    return [Label(request_id=request_id, row=row, value=_value(value, at)) for row, value in enumerate(item["labels"])]


def _row(value: Any, at: int) -> int:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise _refuse(at, "must have 'row' as the index of a row, from 0")
    return value


def _value(value: Any, at: int) -> Any:  # noqa: ANN401
    if isinstance(value, int | float) and not abs(value) <= LARGEST_LABEL:
        raise _refuse(at, f"must have labels that are at most {LARGEST_LABEL:g} where they are numbers")
    return value


def _refuse(at: int, why: str) -> RequestError:
    return RequestError(Fault.MALFORMED, f"feedback {at} {why}")
