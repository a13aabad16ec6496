"""What strategies decide on, and the rules that they share: who is kept away, and what a step still asks for. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipelines.promotion import marks
from pipelines.promotion.decision import Expire, Findings
from pipelines.promotion.state import Candidate, State
from pipelines.promotion.terms import Terms

MANUAL = "paused (manual): somebody set other weights than the plan says; `python -m pipelines approve` goes on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything that a decision is made from."""

    terms: Terms
    state: State
    found: Findings
    now: datetime

    @property
    def is_approved(self) -> bool:
        """Whether enough people have let the present step go on."""
        word, asked = self.state.word, self.terms.approvals
        if self.state.phase != marks.APPROVED:
            return False
        return asked.is_anonymous or not asked.missing(word.approvers, author=word.author)

    @property
    def is_expired(self) -> bool:
        """Whether the rollout has had its time."""
        began = self.state.began or self.state.since
        return began is not None and self.now - began > self.terms.expiry.after

    def expire(self, deployment: str) -> Expire:
        """The declared end of a rollout that did not settle."""
        reason = f"not settled within {self.terms.expiry.after} since it began"
        return Expire(action=self.terms.expiry.action, deployment=deployment, reason=reason, gates=self.found.gates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What must be before a step is left."""

    pause: timedelta = timedelta(0)
    where: str = ""
    """The step, as people call it."""
    needs_approval: bool = False
    needs_analysis: bool = True
    is_promotion_next: bool = False
    arm: str = ""


def why_nobody(state: State, now: datetime) -> str:
    """Why there is not exactly one version to promote."""
    names = ", ".join(
        f"{one.deployment} (held)" if state.hold_on(one, now) else one.deployment for one in state.candidates
    )
    if names:
        return f"{len(state.candidates)} versions stand beside stable {state.stable}: {names}; remove one"
    return f"no version stands beside stable {state.stable}"


def obstacles(situation: Situation, *candidates: Candidate) -> Iterator[str]:
    """What keeps automation away until a person acts or the clock does."""
    state = situation.state
    if state.word.override:
        return
    for one in candidates:
        if (hold := state.hold_on(one, situation.now)) is not None:
            yield f"{one.deployment} is held: {hold.reason}"
    if state.phase == marks.FROZEN:
        yield "promotion is frozen, since the world moved; `python -m pipelines approve` lifts it"
    if window := next(situation.terms.frozen(situation.now), None):
        yield f"freeze window{': ' + window.reason if window.reason else ''}"


def waits(situation: Situation, demand: Demand) -> Iterator[str]:
    """What the step, or the promotion behind it, still asks for."""
    state, found = situation.state, situation.found
    if left := _left(state.since, demand.pause, situation.now):
        yield f"pause: {left} left {demand.where}".rstrip()
    if demand.is_promotion_next and (left := _left(state.began or state.since, situation.terms.bake, situation.now)):
        yield f"bake time: {left} left"
    if demand.needs_approval and not situation.is_approved:
        yield approval_wanted(situation)
    yield from found.obstacles
    if not demand.needs_analysis:
        return
    if not found.can_promote:
        yield "the source of the observation cannot see users, so it does not promote"
    mine = (gate for gate in found.gates if gate.arm == demand.arm and gate.effect is None)
    yield from (f"{gate.gate}: {gate.reason}" for gate in mine if gate.verdict != "successful")


def approval_wanted(situation: Situation) -> str:
    """Who must still say yes."""
    asked, word, step = situation.terms.approvals, situation.state.word, situation.state.step + 1
    if asked.is_anonymous:
        return f"step {step} needs an approval; `python -m pipelines approve` gives it"
    missing = asked.missing(word.approvers, author=word.author)
    given = ", ".join(word.approvers) or "nobody"
    other = f" by others than {word.author or 'its author'}" if asked.is_author_excluded else ""
    return f"step {step} needs {asked.count} approvals{other}, {missing} more; given by {given}"


def told(situation: Situation, arm: str = "") -> str:
    """What the gates found, as the reason of going on."""
    good = (gate for gate in situation.found.gates if gate.verdict == "successful" and gate.arm == arm)
    return "; ".join(f"{gate.gate}: {gate.reason}" for gate in good) or "the step asks for no analysis"


def _left(since: datetime | None, span: timedelta, now: datetime) -> timedelta | None:
    """Time that is left of ``span``; ``None`` where it is over. A clock that runs backwards waits longer."""
    if since is None or span <= timedelta(0):
        return None
    left = span - (now - since)
    return left if left > timedelta(0) else None
