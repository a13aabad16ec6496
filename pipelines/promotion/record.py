"""A promotion's decision with all that it was made from, as it is committed and replayed.

The verdicts of the gates are written with their numbers; a replay recomputes what follows from them. Samples (latency
by user) are too large for a commit, so a gate's own statistic is replayed only where its counts are its input. A plan
is written without its comments; where many arms, gates and holds would be more than evidence may weigh, numbers are
left out, then why versions are held (no decision that is committed reads it), and the record says so.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

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
    """What ``rollout.yaml`` said, as JSON."""
    state: State
    findings: Findings
    now: datetime
    decision: Decision
    """Without its gates: the findings have them."""
    are_numbers_whole: bool = True
    """False: numbers of gates, and reasons of holds, were left out, since there were too many."""
    code: str = VERSION
    kind: str = "modelserve.io/promotion-decision.v3"


def plan_text(text: str) -> str:
    """A plan without comments: JSON, which is YAML too."""
    try:
        return json.dumps(YAML(typ="safe").load(text), separators=(",", ":"), ensure_ascii=False, default=str)
    except YAMLError:  # whoever reads it as a plan says what is wrong
        return text


def encode(record: PromotionRecord) -> str:
    """The record as it is committed: never more than evidence may weigh."""
    text = codec.encode(record)
    if len(text.encode()) <= codec.MAX_BYTES:
        return text
    gates = tuple(replace(gate, numbers={}) for gate in record.findings.gates)
    short = replace(record, findings=replace(record.findings, gates=gates), are_numbers_whole=False)
    text = codec.encode(short)
    if len(text.encode()) <= codec.MAX_BYTES:
        return text
    holds = tuple(replace(hold, reason="") for hold in record.state.holds)
    return codec.encode(replace(short, state=replace(record.state, holds=holds)))


def without_gates(decision: Decision) -> Decision:
    """The decision of a record, whose findings have the gates already."""
    return replace(decision, gates=())


def replay(text: str) -> tuple[PromotionRecord, bool]:
    """The record that today's code makes of a recorded one, and whether it is the same byte for byte.

    Raises:
        ConfigError: the text is no such record.
        ManifestError: its plan breaks a rule of today's code.
    """
    before = codec.decode(PromotionRecord, text)
    plan = require_plan(before.plan)
    now = replace(before, decision=without_gates(settle(plan, before.state, before.findings, before.now)))
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
