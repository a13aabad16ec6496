"""Explain a model from outside: by what it answers when features are taken from other rows.

SHAP's permutation explainer over the deployment's own answers; a prediction is the base value plus the attributions of
its columns. Works for any model whose inputs and outputs are numbers, and costs about twenty answers a column and row,
so it stays outside the predict path. Needs the extra ``modelserve[explain]``.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.errors import ConfigError, UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Ask = Callable[[Any], Any]
"""Predictions of a DataFrame's rows: what ``/invocations`` answers under ``predictions``."""

BACKGROUND_ROWS: Final = 50
ENOUGH_ROWS: Final = 2
ROUNDS: Final = 10
SEED: Final = 0


def explain_rows(body: Mapping[str, Any], ask: Ask, *, reference: Path) -> dict[str, Any]:
    """Explanations of the table in ``body`` against the training sample at ``reference``, else against its own rows.

    Raises:
        UserError: ``body`` is no table, or there is nothing to compare its one row with; else as :func:`explain`.
    """
    import pandas as pd  # noqa: PLC0415  light commands import this room

    if (split := body.get("dataframe_split")) is not None:
        rows = pd.DataFrame(split["data"], columns=split["columns"])
    elif (records := body.get("dataframe_records")) is not None:
        rows = pd.DataFrame(records)
    else:
        raise UserError("cannot explain: the input is no table; give rows with column names")
    if reference.is_file():
        return explain(rows, pd.read_parquet(reference), ask)
    if len(rows) < ENOUGH_ROWS:
        raise UserError(
            "cannot explain one row without others to compare it with; log the training sample with"
            " mlflow_deploy_plugin.log_reference, or give more rows"
        )
    return explain(rows, rows, ask)


def explain(rows: "pd.DataFrame", background: "pd.DataFrame", ask: Ask) -> dict[str, Any]:
    """Shapley values of each row's prediction against ``background`` (at most 50 of its rows are used).

    Returns:
        ``columns``; ``attributions`` (rows, columns) in the prediction's unit; ``base`` (rows) and ``predictions``
        (rows), where ``base + sum(attributions) = prediction`` to floating-point precision.

    Raises:
        ConfigError: SHAP is not installed.
        UserError: the rows, or what the model answers, are not numbers.
    """
    shap = _shap()
    import numpy as np  # noqa: PLC0415  light commands import this room

    _require_numbers(rows)
    known = background[list(rows.columns)]
    sample = known.sample(BACKGROUND_ROWS, random_state=SEED) if len(known) > BACKGROUND_ROWS else known

    def answers(values: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        return _numbers(ask(_table(values, rows)))

    masker = shap.maskers.Independent(sample.to_numpy(dtype=float), max_samples=BACKGROUND_ROWS)
    explainer = shap.explainers.Permutation(answers, masker, seed=SEED)
    width = len(rows.columns)
    found = explainer(rows.to_numpy(dtype=float), max_evals=ROUNDS * (2 * width + 1), silent=True)
    attributions = np.asarray(found.values, dtype=float)
    base = np.broadcast_to(np.asarray(found.base_values, dtype=float), (len(rows),))
    return {
        "columns": [str(name) for name in rows.columns],
        "base": base.tolist(),
        "attributions": attributions.tolist(),
        "predictions": (base + attributions.sum(axis=1)).tolist(),
    }


def _shap() -> Any:  # noqa: ANN401  a foreign module without types
    try:
        import shap  # noqa: PLC0415  seconds, and an extra
    except ImportError as error:
        raise ConfigError("explanations need SHAP; run `pip install 'modelserve[explain]'`") from error
    return shap


def _require_numbers(rows: "pd.DataFrame") -> None:
    odd = [str(name) for name, kind in rows.dtypes.items() if kind.kind not in "iufb"]
    if odd or rows.empty:
        what = f"column {odd[0]!r} is no number" if odd else "there are no rows"
        raise UserError(f"cannot explain: {what}; explanations take tables of numbers with at least one row")


def _table(values: "np.ndarray[Any, Any]", like: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415

    table = pd.DataFrame(values, columns=like.columns)
    return table.astype({name: kind for name, kind in like.dtypes.items() if kind.kind in "iub"})


def _numbers(predictions: object) -> "np.ndarray[Any, Any]":
    import numpy as np  # noqa: PLC0415

    try:
        array: np.ndarray[Any, Any] = np.asarray(predictions, dtype=float)
    except (TypeError, ValueError) as error:
        raise UserError("cannot explain: the model does not answer one number a row") from error
    if array.ndim == 2 and array.shape[1] == 1:  # noqa: PLR2004  a column is one number a row
        array = array[:, 0]
    if array.ndim != 1:
        raise UserError(f"cannot explain: the model answers shape {array.shape}, not one number a row")
    return array
