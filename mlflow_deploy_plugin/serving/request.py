"""The neutral request and response between codecs, scheduler and predictors.

Values only: no HTTP, no model. What is made anew for every request is a NamedTuple, which costs a third of a frozen
dataclass. Every union here is closed; a ``match`` over it ends in ``assert_never``.
NumPy is imported since arrays are what flows; pandas only for types, because a straight predictor never needs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from mlflow_deploy_plugin.serving.trace import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """A table whose columns share one type. Only a codec that has *proven* it against the signature makes one.

    Proven means: ``columns`` are the signature's, in its order, and ``values`` has the signature's type; a predictor
    may skip MLflow's enforcement for it.
    """

    values: NDArray[Any]  # (rows, columns)
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A table as a DataFrame; the predictor enforces the signature."""

    frame: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One unnamed array; the first axis counts rows."""

    array: NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensors:
    """Named arrays; the first axis of each counts rows where they agree."""

    arrays: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """Anything else that a model takes: an LLM-style body, a list for a type-hint model, a scalar. Never batched."""

    value: Any


Payload = Matrix | Frame | Tensor | Tensors | Raw

Wants = Literal["prediction", "probability"]
"""``probability``: the prediction, and the class probabilities beside it where the model has them."""


class Request(NamedTuple):
    """What a codec's ``decode`` makes of one HTTP body or gRPC message."""

    payload: Payload
    params: Mapping[str, Any] | None = None
    wants: Wants = "prediction"
    is_stream: bool = False
    echo: Any = None
    """What the codec needs again to encode the answer (an id, wanted outputs); nobody else looks at it."""


class Response(NamedTuple):
    """What a codec's ``encode`` gets: the model's own output for the rows of one request.

    ``prediction`` is what a pyfunc may return: DataFrame, Series, array, list, dict of arrays, scalar;
    :mod:`.outputs` reads it.
    """

    prediction: Any
    probability: Any = None
    """(rows, classes); None where it was not wanted or the model has none."""
    rows: int = 1
    latency_ms: float = 0.0
    """From the last byte of the request received to the prediction known."""


class Caller(NamedTuple):
    """Who asks, as the gateway's headers say; empty where it did not say."""

    request_id: str
    user_id: str = ""
    assigned: str = ""
    """Deployment that the split meant."""
    trace: Trace | None = None
    """The trace that it belongs to, where the request named one."""
