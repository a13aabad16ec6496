"""From a model's folder to a form that was held against it, or the reason why there is none."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import orjson

from mlflow_deploy_plugin.serving.compiled import store
from mlflow_deploy_plugin.serving.compiled.linear import LinearForm
from mlflow_deploy_plugin.serving.compiled.trees import TreesForm
from mlflow_deploy_plugin.serving.compiling import (
    candidates,
    estimators,
    graphs,
    modules,
    rows,
    to_linear,
    to_onnx,
    to_trees,
)
from mlflow_deploy_plugin.serving.compiling.compare import compare, typing_of
from mlflow_deploy_plugin.serving.compiling.refusal import RefusedError
from mlflow_deploy_plugin.serving.compiling.verdict import Verdict, taken
from mlflow_deploy_plugin.serving.mlmodel import read_mlmodel
from mlflow_deploy_plugin.serving.predictors import sklearn
from mlflow_deploy_plugin.serving.predictors.pyfunc import PyfuncPredictor
from mlflow_deploy_plugin.serving.request import Matrix
from mlflow_deploy_plugin.serving.signature import Signature, parse_signature

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlflow_deploy_plugin.serving.compiled.form import Answers, Form, Typing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """A loaded model and its own answers to the rows of the comparison."""

    estimator: Any
    typing: Typing
    values: np.ndarray[Any, Any]
    expected: Any


def compile_model(folder: Path, out: Path) -> Verdict:
    """Write the form of the model in ``folder`` to ``out``, where it has one that answers alike.

    Raises:
        ModelError: the folder holds no model that can be read.
    """
    mlmodel = read_mlmodel(folder)
    signature = parse_signature(mlmodel)
    if reason := candidates.why_not(mlmodel, signature):
        return Verdict(form="", reason=reason)
    try:
        model = _load(folder)
        if candidates.is_module(mlmodel):
            return modules.compile_module(model, folder, signature.tensors[0], out)
        subject = _subject(model, folder, signature, cast("Answers", candidates.predict_fn(mlmodel)))
    except RefusedError as error:
        return Verdict(form="", reason=str(error))
    reasons: list[str] = []
    for form in _forms(subject, out, reasons):
        try:
            return _taken(form, subject, out)
        except RefusedError as error:
            reasons.append(str(error))
    return Verdict(form="", reason="; ".join(reasons))


def _load(folder: Path) -> Any:  # noqa: ANN401  MLflow's own
    import mlflow.pyfunc  # noqa: PLC0415  seconds

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return mlflow.pyfunc.load_model(str(folder))
        except Exception as error:  # whatever unpickling raises
            raise RefusedError(f"it does not load here ({type(error).__name__})") from error


def _subject(model: Any, folder: Path, signature: Signature, answers: Answers) -> _Subject:  # noqa: ANN401
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = sklearn.estimator_of(model)
        columns = tuple(column.name for column in signature.columns)
        kind = signature.matrix_type
        tried = rows.compared(
            kind, len(columns), example=_example(folder, columns), edges=estimators.thresholds_of(estimator)
        ).astype(kind)
        try:
            matrix = Matrix(values=tried, columns=columns)
            expected = PyfuncPredictor(model, sklearn.classifier(model)).predict(matrix, None, "probability")
        except Exception as error:
            raise RefusedError(f"it refuses generated rows ({type(error).__name__})") from error
    classes = getattr(estimator, "classes_", None) if answers == "predict" else None
    typing = typing_of(expected, answers=answers, classes=classes)
    return _Subject(estimator=estimator, typing=typing, values=tried, expected=expected)


def _forms(subject: _Subject, out: Path, reasons: list[str]) -> Iterator[Form]:
    """Forms that may be it, the simplest first; why there is none of a kind goes to ``reasons``."""
    try:
        yield from to_linear.forms(subject.estimator)
    except RefusedError as error:
        reasons.append(str(error))
    try:
        yield to_trees.form(subject.estimator, str(subject.values.dtype))
    except RefusedError as error:
        reasons.append(str(error))
    path = out / store.FILES["onnx"]
    try:
        to_onnx.write(subject.estimator, path, features=subject.values.shape[1])
        yield graphs.opened(path)
    except RefusedError as error:
        reasons.append(str(error))


def _taken(form: Form, subject: _Subject, out: Path) -> Verdict:
    comparison = compare(form, subject.typing, subject.values, subject.expected)
    path = out / store.FILES[form.name]
    if isinstance(form, LinearForm):
        path.write_bytes(orjson.dumps(form.to_document()))
    elif isinstance(form, TreesForm):
        form.write(path)
    return taken(form, subject.typing, comparison, out)


def _example(folder: Path, columns: tuple[str, ...]) -> np.ndarray[Any, Any] | None:
    """The rows of the saved input example, where they are finite numbers."""
    path = folder / "serving_input_example.json"
    try:
        split = orjson.loads(path.read_bytes())["dataframe_split"]
        values = np.array(split["data"], dtype=np.float64)
    except (OSError, KeyError, TypeError, ValueError):
        return None
    fits = split.get("columns") == list(columns) and values.ndim == 2 and np.isfinite(values).all()  # noqa: PLR2004
    return values if fits else None
