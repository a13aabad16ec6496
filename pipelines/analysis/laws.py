"""What the statistics promise, measured on simulated streams: false alarms, coverage and delay, in numbers and tables.

:mod:`.law_tables` prints what the docs show; ``tests/laws`` judges the same numbers with fewer repetitions. An error
rate is judged by a one-sided binomial test: the law is broken where so many alarms are improbable at the promised rate.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
from scipy import stats

from pipelines.analysis import judges, simulate, two_rates
from pipelines.analysis.checks import Integers
from pipelines.analysis.gates import QuantileGate
from pipelines.analysis.measures import Alarms, Delay
from pipelines.analysis.power import LATE_FACTOR, Change, users_per_arm
from pipelines.analysis.simulate import Scene

ALPHA = 0.01
SRM_ALPHA = 0.001
REQUESTS = 100_000
CLUSTERED_USERS = 700
"""Users of one clustered stream: about 10^5 requests."""

CLUSTERED_JUDGES = (
    "ours, by user",
    "ours, by user, margin 0.5 pp",
    "the same e-value by request",
    "z-test by request, at every look",
)
SHORT_STREAM = 20_000
BATCH = 50
SHARES = (0.5, 0.1)
STABLE, CANARY = 0.01, 0.03
SLOWDOWN = 1.5
P99 = QuantileGate(quantile=0.99, relative_margin=0.0)
CAUTIONS = (0.0, 1.0, 2.0)
"""Choices of :attr:`.QuantileGate.caution` that are shown beside each other."""

HORIZON = 5
"""Fixed-horizon lengths that a detection stream lasts."""

Stream = TypeVar("Stream", simulate.Users, simulate.Timings)


def false_alarms(scene: Scene, *, seed: int, alpha: float = ALPHA) -> list[Alarms]:
    """Count alarms in A/A tests of the error ratio: 1 % errors, one request per user.

    >>> [row.judge for row in false_alarms(Scene(repetitions=4, users=2000), seed=1)][:2]
    ['ours', 'ours, final outcomes (250 looks)']
    """
    fixed = users_per_arm(Change(baseline=STABLE, changed=CANARY, share=scene.share), alpha=alpha, sides=1)
    judged: dict[tuple[str, float | None], judges.Judge] = {
        ("ours", alpha): partial(judges.by_event_share, alpha=alpha),
        ("ours, final outcomes (250 looks)", alpha): partial(judges.by_two_rates, alpha=alpha, line=two_rates.Line()),
        ("ours, margin 0.5 pp (250 looks)", alpha): partial(
            judges.by_two_rates, alpha=alpha, line=two_rates.Line(margin=0.005)
        ),
        ("fixed-horizon z-test, one look", alpha): partial(
            judges.by_z_at, alpha=alpha, users=round(fixed / scene.share)
        ),
        ("the same z-test at every look", None): partial(judges.by_peeked_z, alpha=alpha),
        ("more than 5 % errors", None): partial(judges.by_ratio, bound=0.05),
        ("Mann-Whitney on windows, 98 %", None): partial(judges.by_mann_whitney, alpha=0.02),
    }
    counted = dict.fromkeys(judged, 0)
    for part, part_seed in _batches(scene, seed=seed):
        stream = simulate.users(part, stable=STABLE, canary=STABLE, seed=part_seed)
        for name, judge in judged.items():
            counted[name] += _alarms(judge(stream))
    about = f"{scene.users:,} independent users"
    return [_row(name, about, count, scene, promised=promised) for (name, promised), count in counted.items()]


def clustered_false_alarms(scene: Scene, *, seed: int, alpha: float = ALPHA) -> list[Alarms]:
    """Count alarms in A/A tests whose users differ and send 1 to 1,000 requests, with a look after every request.

    >>> [row.judge for row in clustered_false_alarms(Scene(repetitions=2, users=50), seed=1)]
    ['ours, by user', 'ours, by user, margin 0.5 pp', 'the same e-value by request', 'z-test by request, at every look']
    """
    counted = np.zeros(len(CLUSTERED_JUDGES), dtype=np.int64)
    for repetition in range(scene.repetitions):
        requests = simulate.clustered_requests(scene, rate=STABLE, seed=seed + repetition)
        by_request = simulate.Users(
            is_canary=requests.is_canary[None, :], is_event=requests.is_error[None, :], share=requests.share
        )
        counted += [
            _alarms(judges.by_event_share(judges.first_errors(requests), alpha=alpha)),
            _alarms(judges.by_open_rates(requests, alpha=alpha, line=two_rates.Line(margin=0.005))),
            _alarms(judges.by_event_share(by_request, alpha=alpha)),
            _alarms(judges.by_peeked_z(by_request, alpha=alpha)),
        ]
    about = f"{scene.users} users with 1 to 1,000 requests each"
    return [
        _row(name, about, int(count), scene, promised=promised)
        for name, count, promised in zip(CLUSTERED_JUDGES, counted, (alpha, alpha, None, None), strict=True)
    ]


def latency_false_alarms(
    scene: Scene, *, seed: int, alpha: float = ALPHA, gates: Mapping[str, QuantileGate] | None = None
) -> list[Alarms]:
    """Count alarms of a quantile gate in A/A tests whose threshold comes from stable so far.

    >>> latency_false_alarms(Scene(repetitions=2, users=1000), seed=1)[0].judge
    'ours, p99'
    """
    judged = gates or {"ours, p99": P99}
    counted = dict.fromkeys(judged, 0)
    for part, part_seed in _batches(scene, seed=seed):
        stream = simulate.timings(part, slowdown=1.0, seed=part_seed)
        for name, gate in judged.items():
            counted[name] += _alarms(_by_gate(stream, gate, alpha=alpha))
    about = f"{scene.users:,} users, log-normal latency"
    return [_row(name, about, count, scene, promised=alpha) for name, count in counted.items()]


def split_false_alarms(scene: Scene, *, seed: int, alpha: float = SRM_ALPHA) -> list[Alarms]:
    """Count alarms of the sequential SRM test where the split is kept, looking after every user.

    >>> split_false_alarms(Scene(repetitions=2, users=500), seed=1)[0].judge
    'sequential SRM'
    """
    count = 0
    for part, part_seed in _batches(scene, seed=seed):
        stream = simulate.users(part, stable=0.0, canary=0.0, seed=part_seed)
        count += _alarms(judges.by_split(stream, alpha=alpha))
    return [_row("sequential SRM", f"{scene.users:,} users", count, scene, promised=alpha)]


def error_delays(*, repetitions: int, seed: int, share: float, alpha: float = ALPHA) -> list[Delay]:
    """Count canary users until 1 % → 3 % errors are found.

    >>> [row.judge for row in error_delays(repetitions=4, seed=1, share=0.5)][0]
    'ours'
    """
    fixed = users_per_arm(Change(baseline=STABLE, changed=CANARY, share=share), alpha=alpha, sides=1)
    scene = Scene(repetitions=repetitions, users=round(HORIZON * fixed / share), share=share)

    def draw(part: Scene, part_seed: int) -> simulate.Users:
        return simulate.users(part, stable=STABLE, canary=CANARY, seed=part_seed)

    judged: dict[str, judges.Judge] = {
        "ours": partial(judges.by_event_share, alpha=alpha),
        "ours, final outcomes (250 looks)": partial(judges.by_two_rates, alpha=alpha, line=two_rates.Line()),
    }
    return _delays(judged | _competitors(fixed, scene, alpha), draw, scene, fixed=fixed, seed=seed)


def latency_delays(*, repetitions: int, seed: int, share: float, alpha: float = ALPHA) -> list[Delay]:
    """Count canary users until p99 + 50 % is found.

    >>> [row.judge for row in latency_delays(repetitions=4, seed=1, share=0.5)][0]
    'ours, p99'
    """
    p99 = simulate.LATENCY_MS * math.exp(simulate.LATENCY_SPREAD * stats.norm.ppf(0.99))
    fixed = _fixed_for_p99(share, alpha)
    scene = Scene(repetitions=repetitions, users=round(HORIZON * fixed / share), share=share)

    def known(part: Scene, part_seed: int) -> simulate.Users:
        return judges.slow(_slowed(part, part_seed), threshold_ms=p99)

    judged: dict[str, judges.Judge] = {"ours": partial(judges.by_event_share, alpha=alpha)}
    calibrating = {"ours, p99": partial(_by_gate, gate=P99, alpha=alpha)}
    return [
        *_delays(calibrating, _slowed, scene, fixed=fixed, seed=seed),
        *_delays(judged | _competitors(fixed, scene, alpha), known, scene, fixed=fixed, seed=seed),
    ]


def threshold_choice(
    *, repetitions: int, seed: int, share: float, alpha: float = ALPHA
) -> tuple[list[Alarms], list[Delay]]:
    """Count alarms and delays of the p99 gate under other choices of its caution; the other tables take another seed.

    >>> [row.judge for row in threshold_choice(repetitions=2, seed=1, share=0.5)[1]][0]
    '0 standard errors below'
    """
    gates = {f"{caution:g} standard errors below": replace(P99, caution=caution) for caution in CAUTIONS}
    scene = Scene(repetitions=repetitions, users=SHORT_STREAM, share=share)
    alarms = latency_false_alarms(scene, seed=seed, alpha=alpha, gates=gates)
    fixed = _fixed_for_p99(share, alpha)
    judged = {name: partial(_by_gate, gate=gate, alpha=alpha) for name, gate in gates.items()}
    size = replace(scene, users=round(HORIZON * fixed / share))
    return alarms, _delays(judged, _slowed, size, fixed=fixed, seed=seed)


def _batches(scene: Scene, *, seed: int) -> Iterator[tuple[Scene, int]]:
    """Cut repetitions into parts that fit in memory, each with a seed of its own."""
    for start in range(0, scene.repetitions, BATCH):
        yield replace(scene, repetitions=min(BATCH, scene.repetitions - start)), seed + start


def _row(judge: str, stream: str, alarms: int, scene: Scene, *, promised: float | None) -> Alarms:
    return Alarms(
        judge=judge,
        stream=stream,
        alarms=alarms,
        repetitions=scene.repetitions,
        share=scene.share,
        promised=promised,
    )


def _alarms(found: Integers) -> int:
    return int((found >= 0).sum())


def _competitors(fixed: int, scene: Scene, alpha: float) -> dict[str, judges.Judge]:
    return {
        "fixed-horizon z-test, one look": partial(judges.by_z_at, alpha=alpha, users=round(fixed / scene.share)),
        "the same z-test at every look": partial(judges.by_peeked_z, alpha=alpha),
        "more than 5 % errors": partial(judges.by_ratio, bound=0.05),
        "Mann-Whitney on windows, 98 %": partial(judges.by_mann_whitney, alpha=0.02),
    }


def _delays(
    judged: Mapping[str, Callable[[Stream], Integers]],
    draw: Callable[[Scene, int], Stream],
    scene: Scene,
    *,
    fixed: int,
    seed: int,
) -> list[Delay]:
    """Run judges over the same streams and count the canary users that each had seen when it spoke."""
    needed: dict[str, list[float]] = {name: [] for name in judged}
    for part, part_seed in _batches(scene, seed=seed):
        stream = draw(part, part_seed)
        seen = np.cumsum(stream.is_canary, axis=1)
        for name, judge in judged.items():
            found = judge(stream)
            rows = np.arange(len(found))
            needed[name] += np.where(found >= 0, seen[rows, found], math.inf).tolist()
    return [_delay(name, users, scene, fixed=fixed) for name, users in needed.items()]


def _delay(name: str, users: list[float], scene: Scene, *, fixed: int) -> Delay:
    return Delay(
        judge=name,
        share=scene.share,
        fixed_users=fixed,
        median=float(np.quantile(users, 0.5, method="higher")),
        late=float(np.quantile(users, 0.95, method="higher")),
        found=float(np.isfinite(users).mean()),
        in_time=int((np.array(users) <= LATE_FACTOR * fixed).sum()),
        repetitions=len(users),
    )


def _fixed_for_p99(share: float, alpha: float) -> int:
    """Canary users of the z-test that knows stable's p99 beforehand and counts the slower ones."""
    above = float(stats.norm.sf(stats.norm.ppf(0.99) - math.log(SLOWDOWN) / simulate.LATENCY_SPREAD))
    return users_per_arm(Change(baseline=0.01, changed=above, share=share), alpha=alpha, sides=1)


def _slowed(part: Scene, part_seed: int) -> simulate.Timings:
    return simulate.timings(part, slowdown=SLOWDOWN, seed=part_seed)


def _by_gate(stream: simulate.Timings, gate: QuantileGate, *, alpha: float) -> Integers:
    """Ours, for a quantile without a given threshold: that of stable so far, as the gate takes it."""
    return judges.by_event_share(judges.slow_by_gate(stream, gate), alpha=alpha)
