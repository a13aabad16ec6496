"""What the document on monitoring names is there."""

import re
from pathlib import Path

import yaml

from mlflow_deploy_plugin.agent.metrics.families import FAMILIES
from mlflow_deploy_plugin.serving.exposition import HELP

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/monitoring-dashboards.md").read_text()
MOST_BYTES = 300_000


def test_every_file_that_it_names_is_there() -> None:
    pictures = re.findall(r"\]\((monitoring/[^)]+)\)", TEXT)
    named = [path.rstrip("/") for path in re.findall(r"(?:gitops|docs)/[\w./-]+[\w/]", TEXT)]
    assert len(pictures) == 4
    assert [path for path in pictures if not (ROOT / "docs" / path).is_file()] == []
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_pictures_have_words_and_are_small() -> None:
    assert len(re.findall(r"!\[[^\]]{20,}\]", TEXT)) == 4
    assert sum(path.stat().st_size for path in (ROOT / "docs/monitoring/pictures").iterdir()) < MOST_BYTES


def test_every_series_that_it_names_is_exposed() -> None:
    named = set(re.findall(r"`((?:model|modelserve|feature)_[a-z_]+)", TEXT)) - {"model_version"}
    known = {*FAMILIES, *HELP}
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in named} <= known


def test_every_alert_is_in_its_table() -> None:
    groups = yaml.safe_load((ROOT / "gitops/observability/rules/modelserve.rules.yml").read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    told = set(re.findall(r"`(\w*…?\w+)`", TEXT[TEXT.index("## Alerts") :]))
    short = {name for name in alerts if name not in told}
    assert short <= {name for name in alerts if "BurnRate" in name}
