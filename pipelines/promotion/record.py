"""A promotion's decision with all that it was made from, as it is committed and replayed.

The verdicts of the gates are written with their numbers; a replay recomputes what follows from them. Samples (latency
by user) are too large for a commit, so a gate's own statistic is replayed only where its counts are its input.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from mlflow_deploy_plugin.errors import ManifestError
from mlflow_deploy_plugin.version import VERSION
from pipelines.promotion import codec
from pipelines.promotion.decide import settle
from pipelines.promotion.decision import Decision, Findings
from pipelines.promotion.plan import Plan
from pipelines.promotion.schema import read_plan
from pipelines.promotion.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionRecord:
    """One tick."""

    plan: str
    """Text of ``rollout.yaml``."""
    state: State
    findings: Findings
    now: datetime
    decision: Decision
    code: str = VERSION
    kind: str = "modelserve.io/promotion-decision.v1"


def replay(text: str) -> tuple[PromotionRecord, bool]:
    """The record that today's code makes of a recorded one, and whether it is the same byte for byte.

    Raises:
        ConfigError: the text is no such record.
        ManifestError: its plan breaks a rule of today's code.
    """
    before = codec.decode(PromotionRecord, text)
    plan = require_plan(before.plan)
    now = replace(before, decision=settle(plan, before.state, before.findings, before.now))
    return now, codec.encode(now) == text


def require_plan(text: str) -> Plan:
    """The plan of a record, which always has one.

    Raises:
        ManifestError: it has none, or it breaks a rule.
    """
    plan = read_plan(text, path="plan of the record")
    if plan is None:
        raise ManifestError("plan of the record: its spec is empty, so nothing was decided by it")
    return plan
