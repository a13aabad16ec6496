"""The alert rules, judged by Prometheus's own tool."""

import json
import re
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


def test_the_shipped_configurations_are_what_prometheus_and_alertmanager_read() -> None:
    promtool("check", "config", "prometheus.yml", folder=FOLDER)
    if shutil.which("amtool") is None:
        pytest.skip("amtool (Debian package prometheus-alertmanager) is missing")
    done = subprocess.run(
        ["amtool", "check-config", "alertmanager.yml"], cwd=FOLDER, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_query_of_the_dashboards_is_promql(tmp_path: Path) -> None:
    expressions = [
        re.sub(r"\$(stage|endpoint|model_version)", "x", target["expr"]).replace("$__rate_interval", "1m")
        for path in sorted(FOLDER.glob("dashboards/*.json"))
        for panel in json.loads(path.read_text())["panels"]
        for target in panel["targets"]
    ]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(expressions)]
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", "panels.yml", folder=tmp_path)
