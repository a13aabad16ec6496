"""The model that is explained, loaded once more: rows of numbers in, numbers out, and what is inside.

A classifier of one output that gives probabilities (of scikit-learn, XGBoost or LightGBM) is explained by them; any
other model by the numbers that it predicts. Columns of text go in as codes and reach the model as text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlflow_deploy_plugin.attribution.coding import NUMBERS, Coding, coding_of
from mlflow_deploy_plugin.attribution.table import Table, background_of, numbers
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.mlmodel import read_mlmodel
from mlflow_deploy_plugin.serving.predictors import sklearn
from mlflow_deploy_plugin.serving.predictors.boosters import KINDS, booster_of
from mlflow_deploy_plugin.serving.signature import NUMPY_TYPES, Signature, parse_signature
from mlflow_deploy_plugin.spec.bento import MODEL_FOLDER, REFERENCE_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Array = np.ndarray[Any, np.dtype[Any]]


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
            CannotExplainError: there is nothing to compare with; when it is asked: it does not answer numbers.
        """
        inner = getattr(self._model, "_model_impl", None)
        places = (sklearn.estimator_of(self._model), *(booster_of(self._model, loader) for loader in KINDS))
        own: Any = next((found for found in places if found is not None), None)
        background = self._background(table)
        coding = coding_of(background, table.rows)
        shape = Shape(self._signature, table.columns, coding)
        estimator = None if coding.words else own  # what is inside knows no codes
        if _has_one_probability(own):
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
        return background_of(reference, table)


def _has_one_probability(estimator: Any) -> bool:  # noqa: ANN401
    """Whether it says of each row one probability for each class; one of several outputs says many, as many tables."""
    return hasattr(estimator, "predict_proba") and not isinstance(getattr(estimator, "classes_", None), list)


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
        if self._tensor:
            return values.astype(self._tensor)
        return self._coding.framed(values, self._columns, self._types)
