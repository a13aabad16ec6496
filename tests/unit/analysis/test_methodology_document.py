"""The blocks of docs/ab-testing-methodology.md print what the document says, and its verbs exist."""

import re
from pathlib import Path

import pytest

from pipelines.analysis import law_tables
from pipelines.cli import VERBS, _parser

TEXT = (Path(__file__).parents[3] / "docs/ab-testing-methodology.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = re.findall(r"python -m pipelines ([^`#\n]+)", TEXT)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("import ")[1].split()[0])
def test_a_block_prints_the_comment_below_it(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    *program, expected = block.strip().splitlines()
    exec("\n".join(program), {})  # noqa: S102  our own document
    assert f"# {capsys.readouterr().out.strip()}" == expected


@pytest.mark.parametrize("command", sorted({command.strip() for command in COMMANDS}))
def test_a_command_of_the_document_is_understood(command: str) -> None:
    words = command.split()
    assert words[0] in VERBS
    if len(words) > 1:
        _parser(words).parse_args(words)


def judges(table: str, column: int) -> list[str]:
    rows = re.findall(r"^\| (.*) \|$", table, re.MULTILINE)
    return [row.split(" | ")[column] for row in rows[1:]]


def test_the_tables_show_every_judge_that_the_laws_measure() -> None:
    for name, table in law_tables.tables(repetitions=1, seed=1, tuning_seed=2).items():
        shown = TEXT.partition(f"<!-- laws: {name} -->")[2].partition(f"<!-- end: {name} -->")[0]
        column = 1 if "detection" in name or "choice" in name else 0
        assert judges(shown, column) == judges(table, column), name


def test_the_tables_refute_no_promise_and_meet_their_targets() -> None:
    """At most 1.25 and 3 times the fixed horizon, and no p below 0.1 %."""
    rows = [row.split(" | ") for row in re.findall(r"^\| (ours[^\n]*|sequential[^\n]*) \|$", TEXT, re.MULTILINE)]
    promised = [row for row in rows if "≤" in row[5]]
    assert len(promised) >= 12
    assert all(float(row[6]) > 0.001 for row in promised), promised
    factors = re.findall(r"^\| \d+ % \| ours[^|]*\| \d+ \(([\d.]+) x\) \| \d+ \(([\d.]+) x\)", TEXT, re.MULTILINE)
    assert len(factors) == 8
    assert all(float(median) <= 1.25 and float(late) <= 3 for median, late in factors), factors
