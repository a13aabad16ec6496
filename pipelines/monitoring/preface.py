"""What stands above Evidently's drawing: the decision, why, and how to read the rest. Pure.

Evidently's own headline counts columns and knows nothing of versions, users or labels; without a word before it, a page
could say that no drift was detected beside a commit that took a version out.
"""

from html import escape
from typing import Final

from pipelines.monitoring.report import Comparison
from pipelines.promotion.drift import verdicts
from pipelines.promotion.drift.record import DriftRecord

_STYLE: Final = (
    "max-width:60rem;margin:2rem auto;padding:1rem 2rem;border-left:6px solid #444;background:#f4f4f4;color:#111;"
    "font-family:sans-serif;line-height:1.5"
)


def preface(decided: DriftRecord, comparison: Comparison) -> str:
    """An HTML section about one comparison of a decision."""
    decision, evidence = decided.decision, decided.evidence
    window = f"{evidence.endpoint} ({evidence.stage}), {evidence.window.since} to {evidence.window.until}"
    reasons = "".join(f"<li>{escape(reason.text)}</li>" for reason in decision.reasons)
    advice = verdicts.advice(decision)
    parts = [
        f"<p>{escape(window)}</p>",
        f"<h1>{escape(verdicts.headline(decision))}</h1>",
        f"<ul>{reasons}</ul>" if reasons else "",
        f"<p><strong>What that means:</strong> {escape(advice)}.</p>" if advice else "",
        f"<p><strong>How to read what follows:</strong> {escape(_legend(comparison))}</p>",
    ]
    return f'<section id="modelserve-decision" style="{_STYLE}">{"".join(parts)}</section>'


def _legend(comparison: Comparison) -> str:
    return (
        f"each row is one column of the model's inputs or answers, drawn as {comparison.current_is} (current) beside"
        f" {comparison.baseline_is} (reference). The score is the distance of the two: 0 where they are alike, 1"
        f" where they have nothing in common; from {comparison.threshold:g} a column counts as moved. The page's own"
        " headline only counts such columns and decides nothing: one column that moved can matter, and many can move"
        " without harm. The decision above compares versions on the same traffic."
    )
