"""The model that is explained, loaded once more: rows of numbers in, numbers out, and what is inside.

A classifier that gives probabilities (of scikit-learn, XGBoost or LightGBM) is explained by them; any other model by
the numbers that it predicts. Columns of text go in as codes and reach the model as text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mlflow_deploy_plugin.serving.explaining.coding import NUMBERS, Coding, coding_of
from mlflow_deploy_plugin.serving.explaining.explanation import Table, table_of
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.mlmodel import read_mlmodel
from mlflow_deploy_plugin.serving.predictors import sklearn
from mlflow_deploy_plugin.serving.predictors.boosters import KINDS, booster_of
from mlflow_deploy_plugin.serving.request import Frame
from mlflow_deploy_plugin.serving.signature import NUMPY_TYPES, Signature, parse_signature
from mlflow_deploy_plugin.spec.bento import MODEL_FOLDER, REFERENCE_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Array = np.ndarray[Any, np.dtype[Any]]

BACKGROUND_ROWS: Final = 50
ENOUGH_ROWS: Final = 2
SEED: Final = 0
_TABLE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One model, for tables of given columns."""

    answer: Callable[[Array], Array]
    """(rows, columns) → (rows, outputs)."""
    background: Array
    """(some rows, columns): what a prediction is compared with."""
    outputs: tuple[Any, ...] = ()
    """Classes of a classifier; empty: outputs have numbers."""
    is_probability: bool = False
    estimator: Any = None
    """A model of scikit-learn's manner, where there is one."""
    module: Any = None
    """A module of torch, where there is one."""
    coding: Coding = NUMBERS
    """Of the columns that are text; ``answer`` and ``background`` have codes."""


class Loaded:
    """A model and its training sample, as they lie in a Bento."""

    def __init__(self, bento_src: Path) -> None:
        import mlflow.pyfunc  # noqa: PLC0415  seconds
        import pandas as pd  # noqa: PLC0415

        folder = (bento_src / MODEL_FOLDER).resolve()
        self._signature = parse_signature(read_mlmodel(folder))
        self._model = mlflow.pyfunc.load_model(str(folder))
        reference = bento_src / REFERENCE_FILE
        self._reference = pd.read_parquet(reference) if reference.is_file() else None

    def fit(self, table: Table) -> Table:
        """The columns that the model takes, in its order; others are left out, as MLflow leaves them.

        Raises:
            RequestError: INVALID; one is missing.
        """
        wanted = [column.name for column in self._signature.columns if column.name]
        if missing := [name for name in wanted if name not in table.columns]:
            known = ", ".join(wanted[:10])
            raise RequestError(Fault.INVALID, f"column {missing[0]!r} is missing; the model takes {known}")
        places = [table.columns.index(name) for name in wanted]
        return Table(tuple(wanted), table.rows[:, places]) if wanted else table

    def subject(self, table: Table) -> Subject:
        """The model for tables like this one.

        Raises:
            RequestError: INVALID; there is nothing to compare with, or the model does not answer numbers.
        """
        inner = getattr(self._model, "_model_impl", None)
        places = (sklearn.estimator_of(self._model), *(booster_of(self._model, loader) for loader in KINDS))
        own: Any = next((found for found in places if found is not None), None)
        background = self._background(table)
        coding = coding_of(background, table.rows)
        shape = Shape(self._signature, table.columns, coding)
        estimator = None if coding.words else own  # what is inside knows no codes
        if hasattr(own, "predict_proba"):
            return Subject(
                answer=lambda values: np.asarray(own.predict_proba(shape.like_model(values)), dtype=float),
                outputs=tuple(np.asarray(getattr(own, "classes_", ())).tolist()),
                is_probability=True,
                estimator=estimator,
                background=coding.encoded(background),
                coding=coding,
            )
        return Subject(
            answer=lambda values: numbers(self._model.predict(shape.like_model(values))),
            estimator=estimator,
            module=None if coding.words else getattr(inner, "pytorch_model", None),
            background=coding.encoded(background),
            coding=coding,
        )

    def _background(self, table: Table) -> Array:
        """Rows of the training sample; of a tensor, whose columns have no names, by their places."""
        reference = self._reference
        if reference is not None and self._signature.tensors and reference.shape[1] == len(table.columns):
            reference = reference.set_axis(list(table.columns), axis=1)
        if reference is None or set(table.columns) - set(reference.columns):
            if len(table.rows) < ENOUGH_ROWS:
                raise RequestError(
                    Fault.INVALID,
                    "cannot explain one row without others to compare it with; log the training sample with"
                    " mlflow_deploy_plugin.log_reference, or send more rows",
                )
            return table.rows[:BACKGROUND_ROWS]
        known = reference[list(table.columns)]
        sample = known.sample(BACKGROUND_ROWS, random_state=SEED) if len(known) > BACKGROUND_ROWS else known
        return table_of(Frame(frame=sample)).rows


class Shape:
    """How rows of floats become what the model takes."""

    def __init__(self, signature: Signature, columns: Sequence[str], coding: Coding) -> None:
        self._columns = list(columns)
        self._coding = coding
        self._tensor = signature.tensors[0].dtype if signature.tensors else ""
        known = {column.name: NUMPY_TYPES.get(column.type, "float64") for column in signature.columns}
        numbers_alone = [name for place, name in enumerate(columns) if place not in coding.words]
        self._types = {name: known.get(name, "float64") for name in numbers_alone}

    def like_model(self, values: Array) -> Any:  # noqa: ANN401  an array or a frame
        """The rows as the model's signature has them."""
        import pandas as pd  # noqa: PLC0415

        if self._tensor:
            return values.astype(self._tensor)
        columns = {name: self._coding.decoded(values, place) for place, name in enumerate(self._columns)}
        return pd.DataFrame(columns).astype(self._types)


def numbers(prediction: Any) -> Array:  # noqa: ANN401  a model returns anything
    """(rows, outputs) of what a model returned.

    >>> numbers([1, 2]).shape
    (2, 1)

    Raises:
        RequestError: INVALID; they are no numbers.
    """
    try:
        array = np.asarray(prediction, dtype=float)
    except (TypeError, ValueError) as error:
        raise RequestError(Fault.INVALID, "cannot explain: the model does not answer numbers") from error
    if array.ndim not in {1, _TABLE}:
        raise RequestError(Fault.INVALID, f"cannot explain: the model answers shape {list(array.shape)}")
    return array if array.ndim == _TABLE else array[:, np.newaxis]
