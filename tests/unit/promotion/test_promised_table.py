"""docs/promotion.md, "What is promised, and the test that holds it": forty rows, and every test that they name."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TABLE = (
    (ROOT / "docs/promotion.md").read_text(encoding="utf-8").partition("## What is promised")[2].partition("\n## ")[0]
)
ROWS = re.findall(r"^\| (\d+) \| (.+?) \| (.+) \|$", TABLE, re.MULTILINE)
NAMED = sorted({name for _, _, tests in ROWS for name in re.findall(r"`([^`]+)`", tests)})


def test_the_table_has_forty_rows_and_each_names_a_test() -> None:
    assert [int(number) for number, _, _ in ROWS] == list(range(1, 41))
    assert all("::test_" in tests for _, _, tests in ROWS)


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_the_table_names_exists(name: str) -> None:
    path, _, function = name.partition("::")
    text = (ROOT / "tests" / path).read_text(encoding="utf-8")
    assert re.search(rf"^def {function}\(", text, re.MULTILINE), name
