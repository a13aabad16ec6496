"""What chance makes of the alerts on labels: a steady version's days differ, and that is no reason for a ticket."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

RULES = Path(__file__).parents[2] / "gitops/observability/rules/modelserve.rules.yml"
DAY, WEEK = 24, 7 * 24
DAYS = 90

Hourly = np.ndarray[tuple[int, int], np.dtype[np.int64]]


def numbers() -> tuple[float, float]:
    """The drop in accuracy and the standard errors that ``AccuracyDropped`` asks for."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    (rule,) = [rule for group in groups for rule in group["rules"] if rule.get("alert") == "AccuracyDropped"]
    (drop,) = re.findall(r"- (0\.\d+)\)", rule["expr"])
    (errors,) = re.findall(r"> on \(stage, model_version\)\s+([\d.]+) \^ 2", rule["expr"])
    return float(drop), float(errors)


def alarms(per_hour: float, accuracy: float, *, errors: float, runs: int = 30, later: float | None = None) -> float:
    """Alarms in 90 days of hourly looks at the last day and week, on average; ``later``: accuracy from day 45 on."""
    random, (drop, _) = np.random.default_rng(5), numbers()
    hours = WEEK + DAYS * DAY
    rates = np.full(hours, accuracy)
    if later is not None:
        rates[WEEK + DAYS * DAY // 2 :] = later
    labels = random.poisson(per_hour, (runs, hours))
    right = random.binomial(labels, rates)
    day, week = (_sums(labels, DAY), _sums(right, DAY)), (_sums(labels, WEEK), _sums(right, WEEK))
    count = np.maximum(day[0], 1)
    now, before = day[1] / count, week[1] / np.maximum(week[0], 1)
    is_beyond_chance = (before - now) ** 2 * count > errors**2 * (before * (1 - before) + 1 / count)
    fires = (day[0] > 0) & (before - now > drop) & ((errors == 0) | is_beyond_chance)
    holds = fires[:, 1:] & fires[:, :-1]  # for an hour
    return float((holds[:, 1:] & ~holds[:, :-1]).sum(axis=1).mean())


def _sums(hourly: Hourly, span: int) -> Hourly:
    """Of the ``span`` hours before each look; looks begin when a week lies behind."""
    added = np.concatenate([np.zeros((len(hourly), 1), dtype=np.int64), hourly.cumsum(axis=1)], axis=1)
    return added[:, WEEK:] - added[:, WEEK - span : -span]


@pytest.mark.parametrize("accuracy", [0.6, 0.9, 0.99])
@pytest.mark.parametrize("per_hour", [0.1, 1, 10, 40])
def test_a_steady_version_raises_hardly_an_alarm_in_90_days(per_hour: float, accuracy: float) -> None:
    _, errors = numbers()
    assert alarms(per_hour, accuracy, errors=errors) < 0.3


def test_without_a_look_at_the_number_of_labels_there_would_be_dozens() -> None:
    assert alarms(1, 0.9, errors=0.0) > 30


@pytest.mark.parametrize(("per_hour", "later"), [(10, 0.75), (40, 0.8)])
def test_a_drop_that_labels_can_show_is_told(per_hour: float, later: float) -> None:
    _, errors = numbers()
    assert alarms(per_hour, 0.9, errors=errors, later=later) >= 1
