"""Explain a model from outside: by what it answers when columns are taken from other rows.

Shapley values as our own server computes them (:mod:`mlflow_deploy_plugin.attribution`), of tables of numbers and text,
for any model that answers numbers. Needs nothing but the deployment's answers: for each row 50 times ``2**columns``, or
1,000 times ``columns + 1`` where that is less, so it stays outside the predict path.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from mlflow_deploy_plugin.attribution import shapley
from mlflow_deploy_plugin.attribution.coding import Coding, coding_of
from mlflow_deploy_plugin.attribution.explanation import Explanation, Found
from mlflow_deploy_plugin.attribution.table import CannotExplainError, background_of, numbers, table_of_rows

Array = np.ndarray[Any, np.dtype[Any]]
Ask = Callable[[Any], Any]
"""Predictions of a DataFrame's rows: what ``/invocations`` answers under ``predictions``."""

ROWS_OF_A_REQUEST: Final = 500
STEADY: Final = 1e-3
"""By how much two answers to one row may differ, relative to what answers to different rows differ by."""
ROUNDING: Final = 1e-6
"""The same, relative to the answers: sums in float32 differ with the batch."""


def explain_rows(body: Mapping[str, Any], ask: Ask, *, reference: Path) -> dict[str, Any]:
    """Explanations of the table in ``body`` against the training sample at ``reference``, else against its own rows.

    Raises:
        CannotExplainError: ``body`` is no table; else as :func:`explain`.
    """
    if (split := body.get("dataframe_split")) is not None:
        rows = pd.DataFrame(split["data"], columns=split["columns"])
    elif (records := body.get("dataframe_records")) is not None:
        rows = pd.DataFrame(records)
    else:
        raise CannotExplainError("the input is no table; give rows with column names")
    return explain(rows, pd.read_parquet(reference) if reference.is_file() else None, ask)


def explain(rows: pd.DataFrame, reference: pd.DataFrame | None, ask: Ask) -> dict[str, Any]:
    """Shapley values of each row's answer against ``reference`` (at most 50 of its rows), else against the rows.

    Returns:
        An :class:`~mlflow_deploy_plugin.attribution.explanation.Explanation`, as a server of ours says it. A prediction
        is what base and attributions add up to.

    Raises:
        CannotExplainError: the rows are neither numbers nor text, one has no others to compare it with, or the model
            does not answer with numbers, or not twice the same.
    """
    names = _names(rows)
    table = table_of_rows(names, rows)
    background = background_of(reference, table)
    coding = coding_of(background, table.rows)
    coded, others = coding.encoded(table.rows), coding.encoded(background)
    types = _types(rows, coding, others)

    def answer(values: Array) -> Array:
        return _answers(ask, coding.framed(values, names, types))

    answers = answer(coded)
    method, found = _found(answer, coded, others)
    if not found.adds_up(answers, within=_steady(np.concatenate([answers, answer(others)]))):
        raise CannotExplainError("the model answers the same row differently each time, or not with a number")
    return Explanation.of_largest(found, found.total(), method=method, columns=names)._asdict()


def _steady(answers: Array) -> Array:
    """(outputs,): what two answers to one row may differ by, where these are the answers to many."""
    within: Array = STEADY * np.ptp(answers, axis=0) + ROUNDING * np.abs(answers).max(axis=0)
    return within


def _found(answer: Callable[[Array], Array], rows: Array, others: Array) -> tuple[str, Found]:
    """By definition where that asks for no more answers than the estimate."""
    width = rows.shape[1]
    if 2**width <= 2 * shapley.ROUNDS * (width + 1):
        return "exact", Found(*shapley.by_definition(answer, rows, others))
    return "permutation", Found(*shapley.by_permutations(answer, rows, others))


def _names(rows: pd.DataFrame) -> list[str]:
    names = [str(name) for name in rows.columns]
    if rows.empty:
        raise CannotExplainError("there are no rows; give a table with at least one")
    if twice := [name for name in names if names.count(name) > 1]:
        raise CannotExplainError(f"column {twice[0]!r} is there twice; give each a name of its own")
    return names


def _types(rows: pd.DataFrame, coding: Coding, others: Array) -> dict[str, str]:
    """Types of the columns that hold whole numbers or truth values, here and in what they are compared with."""
    whole = {
        place: kind
        for place, kind in enumerate(rows.dtypes)
        if place not in coding.words and kind.kind in "iub" and (others[:, place] % 1 == 0).all()
    }
    return {str(rows.columns[place]): str(kind) for place, kind in whole.items()}


def _answers(ask: Ask, rows: pd.DataFrame) -> Array:
    """(rows, outputs), in requests of a size that every server takes."""
    parts = [
        numbers(ask(rows.iloc[at : at + ROWS_OF_A_REQUEST].reset_index(drop=True)))
        for at in range(0, len(rows), ROWS_OF_A_REQUEST)
    ]
    found = np.concatenate(parts)
    if len(found) != len(rows):
        raise CannotExplainError(f"the model gives {len(found)} answers to {len(rows)} rows")
    return found
