"""Traffic with a known truth, from a seed: what the drift gate's promises are measured on.

One tick is six hours, a window is four ticks (a day), a user comes once, has four features and one label. A scenario
says how far the features stand from training and how often each arm is wrong, tick by tick. Values only; what the gate
makes of them is :mod:`.drift_laws`' matter.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
ArmName = Literal["stable", "canary"]

FEATURES: Final = ("f1", "f2", "f3", "f4")
TICKS: Final = 50
USERS: Final = 2000
"""Users of one tick, both arms."""
SHARE: Final = 0.1
"""The canary's share of them."""
REFERENCE: Final = 2000
"""Rows of the training sample."""
WRONG: Final = 0.08
"""Share of wrong predictions of a good version in a world like training's."""
FAILING: Final = 0.002
"""Share of users who meet a failed attempt, on both arms."""
CYCLE: Final = 4
"""Ticks of a day and a night."""
LATE: Final = 2
"""Ticks until a label comes."""


def _calm(_tick: int, _arm: ArmName) -> float:
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A truth. ``shift`` in standard deviations of the first two features, ``excess`` in added share of wrong ones."""

    name: str
    about: str
    reverts: Literal["rarely", "surely"]
    """What the gate promises: at most alpha, or at least 99 %."""
    shift: Callable[[int, ArmName], float] = _calm
    excess: Callable[[int, ArmName], float] = _calm


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Users, wrong predictions and failures, each of shape (repetitions, ticks)."""

    users: dict[ArmName, Integers]
    wrong: dict[ArmName, Integers]
    failed: dict[ArmName, Integers]


def _worse(_tick: int, arm: ArmName) -> float:
    return 0.04 if arm == "canary" else 0.0


def _within(_tick: int, arm: ArmName) -> float:
    return 0.01 if arm == "canary" else 0.0


def _world(tick: int, _arm: ArmName) -> float:
    return 0.5 if tick >= 10 else 0.0  # noqa: PLR2004


def _world_hurts(tick: int, _arm: ArmName) -> float:
    return 0.05 if tick >= 10 else 0.0  # noqa: PLR2004


def _flapping(tick: int, _arm: ArmName) -> float:
    return 0.5 if tick // 6 % 2 else 0.0


def _daily(tick: int, _arm: ArmName) -> float:
    return math.sin(2 * math.pi * tick / CYCLE)


def _pipeline(_tick: int, arm: ArmName) -> float:
    return 0.5 if arm == "canary" else 0.0


SCENARIOS: Final = (
    Scenario(name="A nothing", about="both versions alike, inputs like training's", reverts="rarely"),
    Scenario(name="A2 within the margin", about="canary wrong for 9 % against 8 %", reverts="rarely", excess=_within),
    Scenario(
        name="B world drift",
        about="from tick 10 inputs move by half a deviation, both versions 5 points worse",
        reverts="rarely",
        shift=_world,
        excess=_world_hurts,
    ),
    Scenario(name="C worse canary", about="canary wrong for 12 % against 8 %", reverts="surely", excess=_worse),
    Scenario(
        name="D both",
        about="world drift from the start, and the canary wrong for 17 % against 13 %",
        reverts="surely",
        shift=lambda _tick, _arm: 0.5,
        excess=lambda tick, arm: 0.05 + _worse(tick, arm),
    ),
    Scenario(
        name="E flapping",
        about="world drift comes and goes every 6 ticks",
        reverts="rarely",
        shift=_flapping,
        excess=lambda tick, arm: _flapping(tick, arm) / 10,
    ),
    Scenario(
        name="F seasonal",
        about="inputs swing by a deviation from day to night, and errors with them",
        reverts="rarely",
        shift=_daily,
        excess=lambda tick, arm: 0.03 * _daily(tick, arm),
    ),
    Scenario(
        name="G broken pipeline",
        about="the canary alone sees moved inputs and is no more often wrong",
        reverts="rarely",
        shift=_pipeline,
    ),
)


def counts(scenario: Scenario, *, repetitions: int, seed: int) -> Counts:
    """Draw every tick of every repetition.

    >>> counts(SCENARIOS[0], repetitions=2, seed=1).users["canary"].shape
    (2, 50)
    """
    rng = np.random.default_rng(seed)
    canary = rng.binomial(USERS, SHARE, (repetitions, TICKS))
    users: dict[ArmName, Integers] = {"stable": USERS - canary, "canary": canary}
    return Counts(
        users=users,
        wrong={
            arm: rng.binomial(n, [WRONG + scenario.excess(t, arm) for t in range(TICKS)]) for arm, n in users.items()
        },
        failed={arm: rng.binomial(n, FAILING) for arm, n in users.items()},
    )


def features(scenario: Scenario, arm: ArmName, *, ticks: range, rng: np.random.Generator) -> list[Floats]:
    """The features of one arm, tick by tick, each of shape (users, 4)."""
    count = round(USERS * (SHARE if arm == "canary" else 1 - SHARE))
    return [_moved(rng.standard_normal((count, len(FEATURES))), scenario.shift(tick, arm)) for tick in ticks]


def reference(scenario: Scenario, *, rng: np.random.Generator) -> Floats:
    """A training sample: days and nights where the scenario has them, and no drift."""
    rows = rng.standard_normal((REFERENCE, len(FEATURES)))
    if scenario.shift is _daily:
        swing = np.array([_daily(tick, "stable") for tick in range(CYCLE)])
        rows[:, :2] += rng.choice(swing, REFERENCE)[:, None]
    return rows


def _moved(rows: Floats, by: float) -> Floats:
    rows[:, :2] += by
    return rows
