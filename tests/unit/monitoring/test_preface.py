"""What stands above Evidently's drawing says what was decided, and lets no name become markup."""

import re
from html import unescape

import pandas as pd

from pipelines.monitoring.columns import Columns
from pipelines.monitoring.preface import preface
from pipelines.monitoring.report import Comparison
from pipelines.promotion.drift.decision import DriftDecision, Healthy, Reason, Revert
from pipelines.promotion.drift.evidence import Arm, DriftEvidence, Window
from pipelines.promotion.drift.policy import DriftPolicy
from pipelines.promotion.drift.record import DriftRecord

WORSE = "churn-v4 is worse than stable churn on the same traffic: wrong for 12 % against 8 % of users"
HOSTILE = "<script>alert(1)</script> left the training sample"


def text_of(decision: DriftDecision) -> str:
    evidence = DriftEvidence(
        endpoint="churn",
        stage="production",
        commit="",
        rollout="",
        window=Window(since="2026-11-25T00:00:00Z", until="2026-11-26T00:00:00Z"),
        stable=Arm(deployment="churn", model_digest="", weight=900, rows=900, users=900),
    )
    comparison = Comparison(
        name="report",
        current=pd.DataFrame(),
        baseline=pd.DataFrame(),
        columns=Columns(numbers=(), categories=()),
        threshold=0.1,
        current_is="the users of churn-v4",
        baseline_is="the users of churn at the same time",
    )
    return preface(DriftRecord(evidence=evidence, policy=DriftPolicy(), decision=decision), comparison)


def test_it_says_the_decision_its_reasons_and_how_to_read_the_drawing() -> None:
    reasons = (Reason(gate="performance", subject="churn-v4", text=WORSE),)
    told = unescape(re.sub(r"<[^>]+>", " ", text_of(Revert(deployments=("churn-v4",), reasons=reasons))))
    for words in (
        *("churn (production), 2026-11-25T00:00:00Z to 2026-11-26T00:00:00Z", "churn-v4 at fault: revert", WORSE),
        *("the users of churn-v4 (current) beside the users of churn", "from 0.1 a column counts as moved"),
        "decides nothing",
    ):
        assert words in told


def test_names_of_columns_are_text_and_not_markup() -> None:
    told = text_of(Healthy(reasons=(Reason(gate="world", subject="churn", text=HOSTILE),)))
    assert "<script>" not in told
    assert HOSTILE in unescape(told)
    assert "What that means" not in told, "the headline says it all"
