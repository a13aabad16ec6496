"""After a promotion: the holdback is a control, so the gates go on; and who lost all users leaves when time is up.

Rules:
    1. while the version before keeps its holdback, a gate that fails with certainty takes the new one back;
    2. versions that have had no users for as long as the plan keeps them warm are removed, or scaled down, and so are
       the arms of an experiment that is over, also where nobody won; nothing is removed while a rollout runs, in a
       freeze window, or while the last word was a rollback.
"""

from collections.abc import Iterable, Iterator

from pipelines.promotion import marks
from pipelines.promotion.decision import Abort, Decision, GateResult, Retire
from pipelines.promotion.observation import Observed
from pipelines.promotion.situation import Situation
from pipelines.promotion.state import Candidate
from pipelines.promotion.strategies import canary
from pipelines.promotion.terms import Terms


def judge(terms: Terms, observed: Observed) -> tuple[GateResult, ...]:
    """Every gate on the version that took over, against the one before it; an alpha of its own."""
    return canary.judge(terms, observed)


def settle(situation: Situation, *, losers: Iterable[Candidate] = ()) -> Decision | None:
    """What follows a promotion; ``None``: nothing, so a next rollout may begin.

    Args:
        situation: where it stands.
        losers: versions without users that an experiment has tried.
    """
    state, found = situation.state, situation.found
    if state.is_watching and (failed := found.failed()) is not None:
        reason = f"after its promotion: {failed.gate}: {failed.reason}"
        return Abort(deployments=(state.stable,), reason=reason, gates=found.gates)
    if idle := tuple(_leaving(situation, losers)):
        end = "promotion" if state.phase == marks.SUCCESSFUL else "experiment"
        reason = f"without users for {situation.terms.keep_warm} since the {end}"
        return Retire(deployments=idle, leftover=situation.terms.leftover, reason=reason)
    return None


def _leaving(situation: Situation, losers: Iterable[Candidate]) -> Iterator[str]:
    state, terms = situation.state, situation.terms
    if terms.keep_warm is None or state.since is None or state.rollout:
        return
    if state.phase not in {marks.SUCCESSFUL, marks.INCONCLUSIVE}:
        return
    if situation.now - state.since < terms.keep_warm or next(terms.frozen(situation.now), None):
        return
    idle = state.idle if state.phase == marks.SUCCESSFUL else ()
    for one in (*idle, *losers):
        if terms.leftover == "remove" or one.processes > 1:
            yield one.deployment
