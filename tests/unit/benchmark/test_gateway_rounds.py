"""The rounds of docs/gateway/parts.py: whatever drifts meets all lines of its table alike."""

import json
import os
import runpy
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[3] / "docs" / "gateway" / "parts.py"


def test_each_line_of_the_table_begins_one_of_as_many_rounds() -> None:
    script = runpy.run_path(str(SCRIPT))
    asked = [(0, port) for port in range(len(script["PARTS"]) + 1)]
    order: list[int] = []

    def load(_root: Path, _options: Namespace, port: int) -> int:
        order.append(port)
        return 1

    script["all_rounds"].__globals__.update(load=load, cpu_us=lambda _pid: 0.0)
    script["all_rounds"](Path(), Namespace(rounds=len(asked)), 0, asked)
    assert sorted(order[:: len(asked)]) == [port for _, port in asked]


@pytest.fixture
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def rounds(script: dict[str, Any]) -> list[list[Any]]:
    """One round: each part costs the gateway a microsecond more than the one before it."""
    count = len(script["PARTS"]) + 1
    return [[script["Costs"](*((40.0 + n, 25.0, 50.0) if n else (0.0, 0.0, 38.0))) for n in range(count)]]


def test_the_gateways_time_is_told_as_its_own_and_the_kernels(script: dict[str, Any]) -> None:
    head, _, alone, bare, *_ = script["table"](rounds(script)).splitlines()
    assert head.split(" | ")[1:4] == ["gateway, µs", "of it user, µs", "of it system, µs"]
    assert alone == "| the worker, asked directly | | | | 38 | | |"
    assert bare.endswith(" | 66 | 41 | 25 | 50 | +78 | +78 |")


def test_rounds_are_kept_for_the_next_run(script: dict[str, Any], tmp_path: Path) -> None:
    file, one = tmp_path / "rounds.json", rounds(script)
    assert script["kept"](file, one) == one
    assert script["kept"](file, one) == one * 2


def test_a_file_of_rounds_without_user_time_is_refused_and_left_as_it_is(
    script: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "rounds.json"
    file.write_text(json.dumps([[[0.0, 38.0], [109.0, 54.0]]]))
    before = file.read_text()
    with pytest.raises(SystemExit, match="do not tell user time from system time: name another file"):
        script["kept"](file, rounds(script))
    assert file.read_text() == before


def test_ticks_are_those_of_the_process_and_of_no_process_none(script: dict[str, Any]) -> None:
    user, system = script["ticks"](os.getpid())
    assert user > 0 <= system
    assert script["ticks"](0) == (0, 0)
