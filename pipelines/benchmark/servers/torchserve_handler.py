"""TorchServe's own way: a handler that is given a batch of requests and answers a list as long."""

from typing import Any

import models

_LOADED: dict[str, models.Model] = {}


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[Any] | None:  # noqa: ANN401  TorchServe's own
    """Load at the first call, which brings no data; then answer batches."""
    if not _LOADED:
        _LOADED["model"] = models.load(context.system_properties["model_dir"])
    if data is None:
        return None
    rows = [(one.get("body") or one["data"])["features"] for one in data]
    return [[row] if isinstance(row, int) else row for row in _LOADED["model"](rows).tolist()]
