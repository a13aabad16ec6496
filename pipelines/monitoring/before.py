"""The version before, on the logged inputs of the present one: who of the two was wrong? Counts; starts nothing."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pipelines.monitoring.label_queries import SAID
from pipelines.monitoring.performance import scores, task_of
from pipelines.promotion.drift.evidence import Shadow, UserSums

if TYPE_CHECKING:
    import pandas as pd

LOGGED: Final = SAID
"""Columns of the labelled inputs that are no features, before those that are."""


def compared(rows: "pd.DataFrame", answers: Sequence[Any], *, deployment: str, model_digest: str) -> Shadow:
    """Both versions on the same rows.

    Args:
        rows: one labelled row of each user, columns :data:`LOGGED`: what the present version said, and the truth.
        answers: what the version before says of the same inputs, one each.
        deployment: of the version before.
        model_digest: of the version before.

    >>> import pandas as pd
    >>> logged = pd.DataFrame({"prediction": [1.0, 0.0], "label": [1.0, 1.0]})
    >>> logged = logged.assign(prediction_text=None, label_text=None)
    >>> found = compared(logged, [0, 1], deployment="churn", model_digest="d")
    >>> found.only_new_wrong, found.only_old_wrong, found.same
    (1, 1, 0)
    """
    then = _as_logged(rows, answers)
    task = task_of(rows)
    both = scores(rows, task).to_frame("new").assign(old=scores(then, task)).dropna()
    if task == "regression":
        differences = both["new"] - both["old"]
        sums = UserSums(users=len(both), total=float(differences.sum()), squares=float((differences**2).sum()))
        old = float(both["old"].mean()) if len(both) else 0.0
        return Shadow(deployment=deployment, model_digest=model_digest, differences=sums, old_error=old)
    new_wrong, old_wrong = both["new"] > 0, both["old"] > 0
    return Shadow(
        deployment=deployment,
        model_digest=model_digest,
        only_new_wrong=int((new_wrong & ~old_wrong).sum()),
        only_old_wrong=int((old_wrong & ~new_wrong).sum()),
        same=int((new_wrong == old_wrong).sum()),
    )


def _as_logged(rows: "pd.DataFrame", answers: Sequence[Any]) -> "pd.DataFrame":
    """``rows`` with another version's answers in the two columns in which the log keeps them."""
    import pandas as pd  # noqa: PLC0415  heavy

    numbers = [float(answer) if isinstance(answer, int | float) else None for answer in answers]
    texts = [None if isinstance(answer, int | float) else _text(answer) for answer in answers]
    return rows.assign(
        prediction=pd.Series(numbers, rows.index, dtype="float64"),
        prediction_text=pd.Series(texts, rows.index, dtype="object"),
    )


def _text(answer: object) -> str:
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
