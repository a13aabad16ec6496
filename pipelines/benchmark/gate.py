"""The gate of the micro-benchmarks: each one's time as a multiple of a calibration loop's, beside a stored one. Pure.

Seconds of two machines differ; how often a codec's decoding fits into a loop of Python's own differs much less. Each
benchmark measures the loop around itself (``tests/bench/conftest.py``) and notes it as ``extra_info.calibration_s``.
The shortest run of each counts, since whatever else the machine does makes a run longer and never shorter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mlflow_deploy_plugin.errors import ConfigError

CALIBRATION: Final = "calibration_s"
_DIGITS: Final = 4  # significant ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One benchmark beside its baseline."""

    name: str
    ratio: float | None
    """Times the calibration loop; ``None``: it was not measured."""
    stored: float | None
    """``None``: it is new."""
    limit: float

    @property
    def change(self) -> float | None:
        """Times slower than stored."""
        return None if self.ratio is None or not self.stored else self.ratio / self.stored

    @property
    def is_good(self) -> bool:
        """New ones are; one that went missing is not, since nobody would see it grow."""
        return self.ratio is not None and (self.change is None or self.change <= self.limit)


def ratios(document: Any) -> dict[str, float]:  # noqa: ANN401  any JSON value
    """Ratio of each benchmark of pytest-benchmark's JSON.

    Raises:
        ConfigError: it is something else, or a benchmark did not measure the loop.

    >>> ratios({"benchmarks": [{"name": "a", "stats": {"min": 3.0}, "extra_info": {"calibration_s": 2.0}}]})
    {'a': 1.5}
    """
    try:
        found = {one["name"]: one["stats"]["min"] / one["extra_info"][CALIBRATION] for one in document["benchmarks"]}
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise ConfigError(
            f"no results of tests/bench ({error!r}); make them by 'pytest tests/bench --benchmark-enable"
            " --benchmark-json FILE'"
        ) from error
    if not found:
        raise ConfigError("no benchmark was measured; run pytest with --benchmark-enable")
    return {name: float(f"{ratio:.{_DIGITS}g}") for name, ratio in sorted(found.items())}


def judge(measured: Mapping[str, float], stored: Mapping[str, float], *, limit: float) -> tuple[Judged, ...]:
    """Every benchmark that was measured or is stored.

    >>> [one.is_good for one in judge({"a": 1.0, "b": 4.0, "new": 1.0}, {"a": 1.0, "b": 2.0, "lost": 1.0}, limit=1.5)]
    [True, False, False, True]
    """
    names = sorted(measured.keys() | stored.keys())
    return tuple(Judged(name=name, ratio=measured.get(name), stored=stored.get(name), limit=limit) for name in names)
