"""Micro-benchmarks whose time is told as a multiple of a loop of Python's own, measured around each of them.

``make test`` runs each of them once and times nothing; ``make bench`` measures, and
``python -m pipelines benchmark --gate FILE`` judges the file of ``--benchmark-json``.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from mlflow_deploy_plugin.serving.codecs.base import ModelDescription
from mlflow_deploy_plugin.serving.signature import Column, Signature
from pipelines.benchmark.gate import CALIBRATION

S = TypeVar("S")
T = TypeVar("T")
COLUMNS = tuple(f"x{index}" for index in range(30))
TABLE = Signature(
    inputs=tuple(Column(name=name, type="double") for name in COLUMNS), outputs=(Column(name="", type="long"),)
)


def calibration_s() -> float:
    """Shortest of some runs of a fixed loop of calls, strings, dictionaries and additions."""

    def loop() -> int:
        seen: dict[str, int] = {}
        for number in range(2000):
            seen[str(number % 97)] = seen.get(str(number % 89), 0) + number
        return len(seen)

    def once() -> float:
        began = time.thread_time()  # as --benchmark-timer: what others do on the machine is no time of ours
        loop()
        return time.thread_time() - began

    return min(once() for _ in range(30))


@dataclass(frozen=True)
class Measure:
    """Times a function between two calibrations; where nothing is timed, calls it once."""

    benchmark: BenchmarkFixture

    def __call__(self, function: Callable[[], T]) -> T:
        if not self.benchmark.disabled:
            function()  # pays for lazy imports, by which pytest-benchmark would choose a handful of rounds
        return self._between(lambda: self.benchmark(function))

    def afresh(self, make: Callable[[], S], function: Callable[[S], T]) -> T:
        """The same for a function that uses up what ``make`` gives it; a hundred rounds."""
        return self._between(
            lambda: self.benchmark.pedantic(function, setup=lambda: ((make(),), {}), rounds=100, warmup_rounds=2)
        )

    def _between(self, run: Callable[[], T]) -> T:
        if self.benchmark.disabled:
            return run()
        before = calibration_s()
        answer = run()
        self.benchmark.extra_info[CALIBRATION] = min(before, calibration_s())
        return answer


@pytest.fixture
def measure(benchmark: BenchmarkFixture) -> Measure:
    return Measure(benchmark)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that outlives a measured call."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def play(loop: asyncio.AbstractEventLoop) -> Callable[[Callable[[], Awaitable[T]]], T]:
    """Runs a coroutine on the loop."""

    async def whole(make: Callable[[], Awaitable[Any]]) -> Any:
        return await make()

    return lambda make: loop.run_until_complete(whole(make))


@pytest.fixture
def description() -> ModelDescription:
    return ModelDescription(
        endpoint="churn",
        deployment="churn-v4",
        model_name="churn",
        model_version="4",
        flavor="sklearn",
        folder=Path(),
        signature=TABLE,
    )
