"""The alert rules, judged by Prometheus's own tool."""

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "gitops/observability"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian package prometheus) is missing"),
]


def promtool(*arguments: str, folder: Path) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_valid() -> None:
    promtool("check", "rules", *[str(path) for path in FOLDER.glob("rules/*.yml")], folder=FOLDER)


@pytest.mark.parametrize("scenarios", sorted(FOLDER.glob("tests/*.test.yml")), ids=lambda path: path.name)
def test_the_alerts_fire_and_stay_silent_as_the_scenarios_say(scenarios: Path) -> None:
    promtool("test", "rules", scenarios.name, folder=scenarios.parent)
