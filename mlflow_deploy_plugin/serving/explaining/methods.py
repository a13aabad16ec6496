"""Shapley values by the method that fits the model: trees, linear models, torch by gradients, and any by its answers.

A method that does not know a model, or whose values do not add up to its answer within :data:`TOLERANCE`, is passed
over for the next; the last one, permutations, holds for every model. Where a column is text, the model is known by its
answers alone. ``tree``, ``linear`` and ``exact`` (up to
:data:`EXACT_COLUMNS` columns) give the values by definition, ``gradients`` and ``permutation`` estimates that add up.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mlflow_deploy_plugin.attribution import shapley
from mlflow_deploy_plugin.attribution.explanation import Explanation, Found
from mlflow_deploy_plugin.serving.explaining import gradients
from mlflow_deploy_plugin.serving.faults import Fault, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow_deploy_plugin.attribution.table import Table
    from mlflow_deploy_plugin.serving.explaining.subject import Subject

    Array = np.ndarray[Any, np.dtype[Any]]

TOLERANCE: Final = 1e-6
"""Of base plus attributions against the prediction, relative to answers above 1."""
EXACT_COLUMNS: Final = 10
"""1,024 coalitions of each row against the whole background, and no more."""
_BY_OUTPUT: Final = 3  # dimensions

_logger = logging.getLogger("modelserve.explaining")


def explain(subject: Subject, table: Table) -> Explanation:
    """The attributions of each row's columns to its output: the predicted class, or the largest of several.

    Raises:
        CannotExplainError: the model does not answer numbers.
        RequestError: INVALID; no method's values add up.
    """
    coded = subject.coding.encoded(table.rows)
    answers = subject.answer(coded)
    name, found = _first(subject, coded, answers)
    explanation = Explanation.of_largest(found, answers, method=name, columns=table.columns, classes=subject.outputs)
    return explanation._replace(unit="probability" if subject.is_probability else "output")


def _first(subject: Subject, values: Array, answers: Array) -> tuple[str, Found]:
    """The first method that knows the model and keeps the law."""
    within = TOLERANCE * np.maximum(np.abs(answers), 1.0)
    for name, method in METHODS.items():
        try:
            found = method(subject, values)
        except Exception as error:  # noqa: BLE001  SHAP says in many ways that a model is none of a method's
            _logger.info("not by %s: %s: %s", name, type(error).__name__, error)
            continue
        if found is not None and found.adds_up(answers, within=within):
            return name, found
    raise RequestError(Fault.INVALID, "cannot explain: no method's values add up to this model's answers")


def _tree(subject: Subject, values: Array) -> Found | None:
    if subject.estimator is None or not _has_trees(subject.estimator):
        return None
    import shap  # noqa: PLC0415

    # Raw: SHAP's own probabilities of boosted trees are rescaled margins, and no Shapley values. Where the raw output
    # is no probability, the law fails and the next method is taken.
    explainer = shap.TreeExplainer(
        subject.estimator, data=subject.background, feature_perturbation="interventional", model_output="raw"
    )
    found = explainer.shap_values(values, check_additivity=False)
    return _by_output(np.atleast_1d(explainer.expected_value), found, subject)


def _has_trees(estimator: Any) -> bool:  # noqa: ANN401
    return any(hasattr(estimator, name) for name in ("tree_", "estimators_", "_predictors", "get_booster", "booster_"))


def _linear(subject: Subject, values: Array) -> Found | None:
    """Slopes times distances from the mean; of a classifier they would explain log-odds, which it does not answer."""
    slopes = getattr(subject.estimator, "coef_", None)
    if slopes is None or subject.is_probability:
        return None
    import shap  # noqa: PLC0415

    explainer = shap.LinearExplainer(subject.estimator, shap.maskers.Independent(subject.background))
    return _by_output(np.atleast_1d(explainer.expected_value), explainer.shap_values(values), subject)


def _gradients(subject: Subject, values: Array) -> Found | None:
    if subject.module is None:
        return None
    base, found = gradients.attributions(subject.module, values, subject.background)
    return Found(base, found)


def _exact(subject: Subject, values: Array) -> Found | None:
    if values.shape[1] > EXACT_COLUMNS:
        return None
    return Found(*shapley.by_definition(subject.answer, values, subject.background))


def _permutation(subject: Subject, values: Array) -> Found:
    return Found(*shapley.by_permutations(subject.answer, values, subject.background))


METHODS: Final[dict[str, Callable[[Subject, Array], Found | None]]] = {
    "tree": _tree,
    "linear": _linear,
    "gradients": _gradients,
    "exact": _exact,
    "permutation": _permutation,
}
"""In the order in which they are tried; one that answers None is none for this model."""


def _by_output(base: Array, values: Any, subject: Subject) -> Found:  # noqa: ANN401
    """SHAP's shapes as one: an array for each output, a last axis, or neither where there is one output."""
    array = np.stack(values, axis=-1) if isinstance(values, list) else np.asarray(values, dtype=float)
    array = array if array.ndim == _BY_OUTPUT else array[..., np.newaxis]
    if subject.is_probability and array.shape[2] == 1:  # of two classes SHAP says the second's; the other is its rest
        first = np.atleast_1d(base)[-1]
        return Found(np.array([1 - first, first]), np.concatenate([-array, array], axis=2))
    return Found(np.broadcast_to(np.asarray(base, dtype=float), (array.shape[2],)), array)
