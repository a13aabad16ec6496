from pathlib import Path
from typing import Any

import pytest

from pipelines.analysis.law_tables import NAMES
from pipelines.commands.laws import COMMAND

World = Any


def marked(*names: str) -> str:
    places = "\n".join(f"<!-- laws: {name} -->\nold\n<!-- end: {name} -->" for name in names)
    return f"# Before\n{places}\nafter\n"


def test_tables_replace_what_stood_between_their_markers(world: World, tmp_path: Path) -> None:
    path = tmp_path / "methodology.md"
    path.write_text(marked(COMMAND, *NAMES))
    asked = ("laws", "--repetitions", "1", "--seed", "5", "--tuning-seed", "6")
    assert world.run(*asked, "--jobs", "1", "--write", str(path)) == 0
    text = path.read_text()
    assert "\nold\n" not in text
    assert text.startswith("# Before\n")
    assert text.endswith("\nafter\n")
    assert "python -m pipelines laws --repetitions 1 --seed 5 --tuning-seed 6" in text
    assert text.count("| ours") >= 10


def test_the_tables_do_not_depend_on_how_many_processes_measure(world: World) -> None:
    said = []
    for jobs in ("1", "2"):
        assert world.run("laws", "--repetitions", "2", "--jobs", jobs) == 0
        said.append(world.text)
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--repetitions", "0"], "below 1"),
        (["--jobs", "-1"], "below 0"),
        (["--seed", "3", "--tuning-seed", "3"], "are both 3"),
        (["--write", "/nowhere/there.md"], "cannot be read"),
    ],
)
def test_what_would_waste_minutes_is_refused_at_once(world: World, arguments: list[str], said: str) -> None:
    assert world.run("laws", *arguments) == 2
    assert said in world.warned[0]


def test_a_document_without_a_place_is_refused_and_left_as_it_is(world: World, tmp_path: Path) -> None:
    path = tmp_path / "methodology.md"
    path.write_text(marked(*NAMES))
    assert world.run("laws", "--repetitions", "2000", "--write", str(path)) == 2
    assert "no place for 'command'" in world.warned[0]
    assert path.read_text() == marked(*NAMES)
