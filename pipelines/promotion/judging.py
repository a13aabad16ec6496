"""Gates on observations: verdicts in the words and numbers that evidence keeps. Pure."""

import math
from collections.abc import Iterable
from typing import assert_never

import numpy as np

from pipelines.analysis.arms import Missing, UserCounts
from pipelines.analysis.compare import compare
from pipelines.analysis.gates import AgreementGate, ErrorRatioGate, Gate, GpuGate, MeanGate, QuantileGate
from pipelines.analysis.multiple import split_alpha
from pipelines.analysis.paired import judge_agreement
from pipelines.analysis.readings import judge_readings
from pipelines.analysis.srm import judge_split
from pipelines.analysis.verdict import Error, Failed, Inconclusive, Successful, Verdict
from pipelines.promotion.decision import GateResult, Word
from pipelines.promotion.observation import Observation, Observed
from pipelines.promotion.terms import NamedGate

DIGITS = 9
"""Significant digits of a number in evidence."""


def judged(gates: Iterable[NamedGate], seen: Observation, *, alpha: float, arm: str = "") -> tuple[GateResult, ...]:
    """Every gate on one observation, each at ``alpha``."""
    return tuple(result(gate.name, verdict(gate.gate, seen, alpha=alpha), arm=arm) for gate in gates)


def share_of_alpha(gates: Iterable[NamedGate], alpha: float, *, besides: int = 0) -> float:
    """What each gate that is a test gets of a rollout's alpha, with ``besides`` other tests; a gauge takes none."""
    tests = besides + sum(not isinstance(each.gate, GpuGate) for each in gates)
    names = [str(number) for number in range(max(1, tests))]
    return split_alpha(alpha, names)[names[0]]


def verdict(gate: Gate | AgreementGate | GpuGate, seen: Observation, *, alpha: float) -> Verdict:
    """One gate's verdict at this look, valid at all others too."""
    match gate:
        case AgreementGate():
            return judge_agreement(seen.disagreeing, gate, alpha=alpha)
        case GpuGate():
            nobody = Missing(reason=f"nobody was asked about GPU {gate.kind}; name Prometheus by --prometheus URL")
            return judge_readings(seen.gpu.get(gate.kind, nobody), gate)
        case ErrorRatioGate() | QuantileGate() | MeanGate():
            return compare(seen.stable, seen.canary, gate, alpha=alpha)
        case _:
            assert_never(gate)


def result(name: str, found: Verdict, *, arm: str = "", effect: float | None = None) -> GateResult:
    """``found`` as evidence keeps it: what is no number, such as the ratio of nobody, is left out."""
    numbers = {key: _short(number) for key, number in found.numbers.items() if math.isfinite(number)}
    return GateResult(gate=name, verdict=_word(found), reason=found.reason, numbers=numbers, arm=arm, effect=effect)


def mismatch(observed: Observed) -> tuple[str, ...]:
    """Why users did not fall on the arms as the split says, all arms of an experiment at once; empty: they did.

    Comparisons of two arms each look at their own two; this sees who is missing from all of them.
    """
    counts = [observed[0].stable.errors, *(seen.canary.errors for seen in observed)] if len(observed) > 1 else []
    known = [each for each in counts if isinstance(each, UserCounts) and each.shares is not None]
    if not counts or len(known) < len(counts) or len({len(each.exposed) for each in known}) > 1:
        return ()
    users = np.stack([each.exposed for each in known], axis=-1)
    shares = np.stack([each.shares for each in known if each.shares is not None], axis=-1)
    found = judge_split(users, shares / shares.sum(axis=-1, keepdims=True))
    return () if isinstance(found, Successful) else (found.reason,)


def _short(number: float) -> float | int:
    return number if isinstance(number, int) else float(f"{number:.{DIGITS}g}")


def _word(found: Verdict) -> Word:
    match found:
        case Successful():
            return "successful"
        case Failed():
            return "failed"
        case Inconclusive():
            return "inconclusive"
        case Error():
            return "error"
        case _:
            assert_never(found)
