"""The pages about performance: what they tell to type runs, or is at least understood."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from pipelines.commands import benchmark

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "docs/performance.md", ROOT / "docs/choosing-an-engine.md"]
COMMAND = re.compile(r"^python -m pipelines benchmark (?P<options>(?:.*\\\n)*.*)$", re.MULTILINE)


def commands(page: Path) -> list[str]:
    return [found["options"].replace("\\\n", " ") for found in COMMAND.finditer(page.read_text())]


def test_every_command_of_the_pages_is_understood() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    benchmark.add_arguments(parser)
    told = [options for page in PAGES for options in commands(page)]
    assert len(told) >= 5
    for options in told:
        parser.parse_args(shlex.split(options, comments=True))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_shows_measured_tables(page: Path) -> None:
    (name,) = re.findall(r"<!-- ([a-z-]+):begin -->", page.read_text())
    table = page.read_text().split(f"<!-- {name}:begin -->")[1].split(f"<!-- {name}:end -->")[0]
    assert "Measured 20" in table
    assert "| modelserve" in table
    assert "| empty" in table


def test_make_targets_that_the_pages_name_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for target in re.findall(r"`?make ([a-z]+)", page.read_text()):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
