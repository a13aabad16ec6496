"""The rounds of docs/gateway/parts.py: whatever drifts meets all lines of its table alike."""

import runpy
from argparse import Namespace
from pathlib import Path

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
