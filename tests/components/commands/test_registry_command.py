from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import main
from pipelines.registry.model_registry import FakeModelRegistry

World = Any


@pytest.fixture
def registry() -> FakeModelRegistry:
    return FakeModelRegistry(versions={("churn", "1"): {}, ("churn", "2"): {}})


def run(world: World, registry: FakeModelRegistry, *arguments: str) -> int:
    world.said.clear()
    world.warned.clear()
    doors = replace(world.doors, open_registry=lambda _: registry)
    return main(["registry", "sync", "--registry", "http://registry.invalid", *arguments], doors=doors)


def test_the_registry_says_what_the_newest_commit_says(
    world: World, registry: FakeModelRegistry, tmp_path: Path
) -> None:
    world.join(weight=100)
    page = tmp_path / "page.md"
    assert run(world, registry, "--summary", str(page)) == 0
    assert registry.aliases == {"churn": {"champion": "1", "challenger": "2"}}
    assert registry.versions["churn", "1"]["modelserve.production.commit"] == world.head
    assert "changed: churn@champion is version 1" in world.text
    assert "| churn@challenger is version 2 |" in page.read_text()
    assert run(world, registry) == 0
    assert world.text == "unchanged: the registry says what git says"


def test_a_dry_run_changes_nothing(world: World, registry: FakeModelRegistry) -> None:
    assert run(world, registry, "--dry-run") == 0
    assert "would change: churn@champion is version 1" in world.text
    assert registry.applied == []


def test_a_registry_that_is_away_is_tried_later(world: World, registry: FakeModelRegistry) -> None:
    registry.breaks_after = 0
    head = world.head
    assert run(world, registry) == 75
    assert world.head == head


def test_a_version_of_another_registry_is_told_and_left_out(world: World) -> None:
    assert run(world, FakeModelRegistry(versions={("churn", "7"): {}})) == 0
    assert world.warned == ["model 'churn' has no version 1 in this registry; left out"]


def test_without_a_registry_there_is_nothing_to_do(world: World) -> None:
    assert world.run("registry", "sync") == 0
    assert world.text.startswith("unchanged: no registry is named")
