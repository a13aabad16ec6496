"""From the event store to the evidence of one drift decision. Reads, counts and compares; decides nothing.

Two windows, for two questions. *Inputs* are compared within the window that was asked for. *Faults* (failed attempts,
labels) are counted since the rollout began, whatever the window: an always-valid test judges a stream from its start.
A rollout begins by a commit, and its users when the gateway serves that commit: what a replaced model said until then
counts for nobody.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

from pipelines.monitoring import performance, univariate, validity
from pipelines.monitoring.columns import Columns, aligned, kinds_of, of_one_width
from pipelines.monitoring.event_labels import LabelCut
from pipelines.monitoring.event_summaries import ArmLabels, Outcomes, Window
from pipelines.monitoring.exposure import Period, Seen, SplitOf, periods, settled, tally
from pipelines.monitoring.multivariate import separation
from pipelines.monitoring.reference import ReferenceSample
from pipelines.monitoring.samples import EventLog, Sample, sample_of
from pipelines.promotion.drift import evidence as facts
from pipelines.promotion.drift.evidence import Against, Arm, Automation, Check, DomainTest, DriftEvidence, FeatureShift
from pipelines.promotion.drift.policy import DriftPolicy

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of the event store."""

    commit: str
    rollout: str
    inputs: Window
    faults: Window
    stable: Arm
    """Name, digest and weight; the counts are filled in here."""
    canaries: tuple[Arm, ...] = ()
    baseline: str = ""
    """Deployment that is a copy of stable for the canary's rollout: its users are neither arm's."""
    split_of: SplitOf
    automation: Automation = field(default_factory=Automation)
    maturity: timedelta | None = None

    @property
    def arms(self) -> tuple[str, ...]:
        """Stable first."""
        return tuple(arm.deployment for arm in (self.stable, *self.canaries))

    @property
    def cut(self) -> LabelCut:
        """Which labels count."""
        return LabelCut(as_of=self.faults.end, maturity=self.maturity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The evidence, and the frames that a report shows. Frames are aligned; they never leave this machine."""

    evidence: DriftEvidence
    columns: Columns
    frames: "dict[str, pd.DataFrame]" = field(default_factory=dict)
    predictions: "dict[str, pd.DataFrame]" = field(default_factory=dict)
    reference: "pd.DataFrame | None" = None


def gather(log: EventLog, question: Question, *, reference: ReferenceSample | None, policy: DriftPolicy) -> Gathered:
    """All that a decision on ``question`` needs.

    Raises:
        EventStoreError: the store cannot be read.
    """
    question, found, odd = _since_served(log, question)
    read = [sample_of(log, question.inputs, arm) for arm in question.arms]
    samples = tuple(sample for sample, _ in read)
    unreadable = tuple(dict.fromkeys(chain.from_iterable(files for _, files in read)))
    spans = log.coverage(question.faults, question.cut, [period.began for period in found])
    outcomes = log.outcomes(
        question.faults, question.cut, arms=question.arms, splits=[period.began for period in found]
    )
    arms = _arms(question, outcomes, found, samples, spans)
    columns, checks = _columns(samples, reference, endpoint=question.inputs.endpoint)
    frames, baseline = _frames(samples, reference, columns)
    predictions = {sample.arm: sample.predictions for sample in samples}
    few, reference_checks = _untested(frames[question.arms[0]], baseline, columns, question=question, policy=policy)
    checks += (
        *odd,
        *reference_checks,
        *_unreadable_checks(question, unreadable),
        *_size_checks(samples, policy),
        *validity.coverage_checks(spans[1:], stable=question.arms[0], canaries=question.arms[1:]),
        *_label_checks(outcomes, policy),
        *validity.oddity_checks(
            log.oddities(question.faults, question.cut),
            late=sum(each.late for span in spans for each in span.values()),
            endpoint=question.inputs.endpoint,
        ),
        *_input_checks(samples, frames, reference=reference, baseline=baseline, columns=columns),
    )
    times = {sample.arm: sample.times for sample in samples}
    shifts = _shifts(question, frames, baseline, policy, times=times)
    evidence = DriftEvidence(
        endpoint=question.inputs.endpoint,
        stage=question.inputs.stage,
        commit=question.commit,
        rollout=question.rollout,
        window=_window(question, found),
        stable=arms[0],
        canaries=arms[1:],
        reference=reference.about if reference else None,
        checks=tuple(sorted(checks, key=lambda check: check.scope == "none")),
        shifts=shifts,
        predictions=_prediction_shifts(question, predictions, policy),
        domain_tests=tuple(_domain_tests(question, frames, baseline, policy, known=_clear(shifts, policy))),
        features_tested=len(columns.compared) - len(few),
        automation=question.automation,
        versions=_versions(),
    )
    return Gathered(evidence=evidence, columns=columns, frames=frames, predictions=predictions, reference=baseline)


def _window(question: Question, found: Sequence[Period]) -> facts.Window:
    return facts.Window(
        since=_moment(question.inputs.begin),
        until=_moment(question.inputs.end),
        rollout_since=_moment(question.faults.begin) if question.canaries else "",
        split_since=_moment(found[-1].began) if found else "",
    )


def _moment(when: datetime) -> str:
    return when.isoformat(timespec="seconds")


def _since_served(log: EventLog, question: Question) -> tuple[Question, tuple[Period, ...], tuple[Check, ...]]:
    """``question`` from when the gateway served what it asks about, and the periods of constant split from then on.

    Where a canary is compared alone: without one nothing was dealt.
    """
    if not question.canaries:
        return question, (), ()
    seen, odd = _seen(log, question), list[str]()
    if (since := settled(seen, arms=question.arms, split_of=question.split_of)) is not None:
        if since < question.faults.end:
            question = replace(question, inputs=question.inputs.since(since))
        else:  # inputs are those of the same people, whoever answers them
            odd.append("no user has met this split with these models yet; failures and labels count from then on")
        question = replace(question, faults=question.faults.since(since))
        seen = _seen(log, question)
    found, lost = periods(seen, arms=question.arms, split_of=question.split_of)
    if lost:
        odd.append(f"{lost} users were first seen under a split without a control or under an unknown commit; left out")
    endpoint = question.inputs.endpoint
    return question, found, tuple(Check(name="exposure", subject=endpoint, is_ok=False, detail=each) for each in odd)


def _seen(log: EventLog, question: Question) -> list[Seen]:
    return [
        Seen(arm=arm, commit=p.commit, began=p.began, users=p.users, failed=p.users_with_error)
        for arm, found in log.exposure(question.faults).arms.items()
        if arm != question.baseline
        for p in found.periods
    ]


def _arms(
    question: Question,
    outcomes: Sequence[Outcomes],
    found: Sequence[Period],
    samples: Sequence[Sample],
    spans: Sequence[Mapping[str, ArmLabels]],
) -> tuple[Arm, ...]:
    labels = {arm: [span[arm] for span in spans if arm in span] for arm in question.arms}
    scored = performance.performances(
        outcomes,
        arms=question.arms,
        found=found,
        coverage={arm: _share(known) for arm, known in labels.items()},
    )
    return tuple(
        replace(
            arm,
            rows=sum(known.predicted for known in labels[arm.deployment]) or sample.users,
            users=sample.users,
            failures=tally(found, arm.deployment),
            performance=scored.get(arm.deployment),
        )
        for arm, sample in zip((question.stable, *question.canaries), samples, strict=True)
    )


def _share(known: Sequence[ArmLabels]) -> float:
    """Share of the mature rows that have a label; 0 where none is mature."""
    mature = sum(each.mature for each in known)
    return sum(each.mature_labelled for each in known) / mature if mature else 0.0


def _columns(
    samples: Sequence[Sample], reference: ReferenceSample | None, *, endpoint: str
) -> tuple[Columns, tuple[Check, ...]]:
    """What can be compared, and what cannot since nobody logs it."""
    columns = kinds_of(reference.frame if reference else samples[0].features)
    logged = set().union(*(set(sample.features.columns) for sample in samples))
    unlogged = set(columns.compared) - logged
    left = columns.without(unlogged)
    if not unlogged or not any(sample.users for sample in samples):
        return columns, ()
    return left, (validity.unlogged_check(unlogged, endpoint=endpoint, is_all=not left.compared),)


def _frames(
    samples: Sequence[Sample], reference: ReferenceSample | None, columns: Columns
) -> "tuple[dict[str, pd.DataFrame], pd.DataFrame | None]":
    """The inputs of each arm and the training sample, all alike."""
    found = {sample.arm: sample.features for sample in samples} | ({"": reference.frame} if reference else {})
    made = of_one_width({key: aligned(frame, columns) for key, frame in found.items()}, columns)
    return {sample.arm: made[sample.arm] for sample in samples}, made.get("")


def _untested(
    frame: "pd.DataFrame",
    baseline: "pd.DataFrame | None",
    columns: Columns,
    *,
    question: Question,
    policy: DriftPolicy,
) -> tuple[tuple[str, ...], tuple[Check, ...]]:
    """Columns of stable that nothing is said about, and the checks that tell of it; few users are told elsewhere."""
    needed = univariate.rows_needed(policy)
    if baseline is None or len(frame) < policy.min_users:
        return (), ()
    few = validity.untested(frame, baseline, needed=needed)
    checks = validity.reference_checks(baseline, columns, few, needed=needed, arm=question.stable.deployment)
    return few, tuple(checks)


def _label_checks(outcomes: "Sequence[Outcomes]", policy: DriftPolicy) -> Iterator[Check]:
    if performance.by_number(outcomes):
        return validity.unmeasured_checks(outcomes)
    return validity.contrary_checks(outcomes, needed=policy.min_labelled_users)


def _unreadable_checks(question: Question, unreadable: Sequence[str]) -> Iterator[Check]:
    if unreadable:
        detail = f"{len(unreadable)} files of the event store cannot be read, the first is {unreadable[0]}"
        yield Check(name="exposure", subject=question.inputs.endpoint, is_ok=False, detail=detail[-200:])


def _size_checks(samples: Sequence[Sample], policy: DriftPolicy) -> Iterator[Check]:
    for position, sample in enumerate(samples):
        yield validity.sample_size_check(
            arm=sample.arm, users=sample.users, needed=policy.min_users, is_stable=position == 0
        )


def _input_checks(
    samples: Sequence[Sample],
    frames: "dict[str, pd.DataFrame]",
    *,
    reference: ReferenceSample | None,
    baseline: "pd.DataFrame | None",
    columns: Columns,
) -> Iterator[Check]:
    if reference is None or baseline is None:
        return
    for sample in samples:
        if not sample.users:
            continue
        frame = frames[sample.arm]
        yield from validity.schema_checks(sample.features, arm=sample.arm, reference=reference.frame, columns=columns)
        rises = validity.missingness_checks(frame, arm=sample.arm, baseline=baseline, against="the reference")
        yield from (check for check, _ in rises)
        yield from validity.range_checks(frame, arm=sample.arm, reference=baseline, columns=columns)


def _pairs(
    question: Question, frames: "dict[str, pd.DataFrame]", baseline: "pd.DataFrame | None"
) -> "Iterator[tuple[str, Against, pd.DataFrame, pd.DataFrame]]":
    """Every comparison: each arm with the reference, each canary with stable."""
    for arm in question.arms:
        if baseline is not None:
            yield arm, "reference", frames[arm], baseline
    for arm in question.arms[1:]:
        yield arm, "stable", frames[arm], frames[question.stable.deployment]


def _shifts(
    question: Question,
    frames: "dict[str, pd.DataFrame]",
    baseline: "pd.DataFrame | None",
    policy: DriftPolicy,
    *,
    times: "dict[str, pd.Series[Any]]",
) -> tuple[FeatureShift, ...]:
    found: list[FeatureShift] = []
    for arm, against, frame, other in _pairs(question, frames, baseline):
        shifts = univariate.shifts(frame, other, arm=arm, against=against, policy=policy)
        beside = times[question.arms[0]] if against == "stable" else None
        found += univariate.lasting(shifts, _parts((frame, times[arm]), (other, beside), policy), policy)
    return tuple(found)


def _parts(
    ours: "tuple[pd.DataFrame, pd.Series[Any]]",
    theirs: "tuple[pd.DataFrame, pd.Series[Any] | None]",
    policy: DriftPolicy,
) -> "list[univariate.Part]":
    """The window's parts: each beside stable's rows of the same time, or beside the whole training sample."""
    (frame, times), (other, other_times) = ours, theirs
    found: list[univariate.Part] = []
    for mask in univariate.parts_of(times, policy):
        rows = times[mask]
        beside = other
        if other_times is not None and len(rows):
            beside = other[other_times.between(rows.min(), rows.max()).to_numpy()]
        found.append((frame[mask.to_numpy()], beside))
    return found


def _clear(shifts: Sequence[FeatureShift], policy: DriftPolicy) -> frozenset[tuple[str, Against]]:
    """Comparisons in which a single column tells enough."""
    return frozenset((s.arm, s.against) for s in shifts if s.q <= policy.fdr and s.effect >= policy.enter_effect)


def _prediction_shifts(
    question: Question, predictions: "dict[str, pd.DataFrame]", policy: DriftPolicy
) -> tuple[FeatureShift, ...]:
    """Predictions of each canary beside stable's: a new model may answer otherwise, so it is told and not judged."""
    base = predictions[question.stable.deployment]
    columns = kinds_of(base) if len(base) else Columns(numbers=(), categories=())
    made = of_one_width({arm: aligned(frame, columns) for arm, frame in predictions.items()}, columns)
    return tuple(
        shift
        for arm in question.arms[1:]
        for shift in univariate.shifts(
            made[arm], made[question.stable.deployment], arm=arm, against="stable", policy=policy
        )
    )


def _domain_tests(
    question: Question,
    frames: "dict[str, pd.DataFrame]",
    baseline: "pd.DataFrame | None",
    policy: DriftPolicy,
    *,
    known: frozenset[tuple[str, Against]],
) -> Iterator[DomainTest]:
    """The classifier's word on every comparison in which no single column tells enough: it takes seconds."""
    for arm, against, frame, other in _pairs(question, frames, baseline):
        if (arm, against) in known or min(len(frame), len(other)) < policy.min_users or frame.shape[1] < 2:  # noqa: PLR2004
            continue  # one column is a comparison of its own
        if against == "reference" and arm != question.stable.deployment:
            continue  # the canary's share of the world is judged beside stable
        found = separation(frame, other)
        if math.isfinite(found.auc):
            yield DomainTest(
                arm=arm, against=against, auc=round(found.auc, 4), p=float(f"{found.p:.4g}"), rows=found.rows
            )


def _versions() -> dict[str, str]:
    from importlib.metadata import version  # noqa: PLC0415  reads the disk; asked once a decision

    return {name: version(name) for name in ("numpy", "scipy", "scikit-learn")}
