"""The script of docs/performance.md that says what each part of the gateway costs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SCRIPT = Path(__file__).parents[3] / "docs" / "gateway" / "parts.py"


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed: apt-get install wrk")
def test_every_part_is_told_and_the_whole_is_what_the_agent_serves() -> None:
    command = [sys.executable, str(SCRIPT), "--rounds", "1", "--connections", "4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    table, told = done.stdout.split("\n\n")
    rows = [line.strip("|").split("|") for line in table.splitlines()[2:]]
    assert [row[0].strip()[:15] for row in rows[:3]] == ["the worker, ask", "an Envoy withou", "+ the worker's "]
    assert len(rows) == 9
    assert all(int(row[1]) > 0 and int(row[4]) > 0 for row in rows[1:])
    assert all(abs(int(row[1]) - int(row[2]) - int(row[3])) <= 1 for row in rows[1:]), "user and system are the whole"
    assert re.fullmatch(r"Reading the log costs the agent \d+\.\d µs an attempt\.", told.strip())
