"""The fake model for tests: says what it was given, and misbehaves on request. Ships, so that no test needs a patch."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mlflow_deploy_plugin.serving.payloads import row_count
from mlflow_deploy_plugin.serving.predictors.base import Output
from mlflow_deploy_plugin.serving.request import Frame, Matrix, Raw, Tensor, Tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mlflow_deploy_plugin.serving.request import Payload, Wants


@dataclass(slots=True)
class EchoPredictor:
    """Answers each row with its first value; a row of :attr:`poison` makes its whole batch fail."""

    name: str = "echo"
    poison: float = -1.0
    seconds: float = 0.0
    """How long a call takes."""
    answer: Callable[[Any], Any] | None = None
    """Makes the output from the first column; None: the column itself."""
    batches: list[int] = field(default_factory=list)
    """Rows of each call."""

    def predict(self, payload: Payload, params: Mapping[str, Any] | None, wants: Wants) -> Output:  # noqa: ARG002
        """The first column."""
        self.batches.append(row_count(payload))
        if self.seconds:
            time.sleep(self.seconds)
        column = first_column(payload)
        if np.any(column == self.poison):
            raise ValueError(f"poison {self.poison}")
        return Output(column if self.answer is None else self.answer(column))

    def stream(self, payload: Payload, params: Mapping[str, Any] | None) -> Iterator[Any]:  # noqa: ARG002
        """The first column, value by value."""
        for value in first_column(payload):
            if value == self.poison:
                raise ValueError(f"poison {self.poison}")
            yield value


def first_column(payload: Payload) -> Any:  # noqa: ANN401  an array, or whatever a raw payload holds
    """The first value of each row."""
    match payload:
        case Matrix():
            return payload.values[:, 0]
        case Frame():
            return payload.frame.iloc[:, 0].to_numpy()
        case Tensor():
            return payload.array.reshape(len(payload.array), -1)[:, 0]
        case Tensors():
            return next(iter(payload.arrays.values()))
        case Raw():
            return np.asarray(payload.value if isinstance(payload.value, list) else [payload.value])
