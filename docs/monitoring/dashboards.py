"""Writes the Grafana dashboards of ``gitops/observability/dashboards``: always the same bytes.

    python docs/monitoring/dashboards.py           writes them
    python docs/monitoring/dashboards.py --check   says whether they are what this script writes (exit code 1: not)

Import them in Grafana, or let it provision the folder. The data source is a variable; every query keeps to the stages,
endpoints and versions that are chosen; commits on an endpoint are annotations.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from board import ENDPOINT, STAGE, VARIABLES, Dashboard, Panel
from boards_of_change import DRIFT, ROLLOUT
from boards_of_serving import FLEET, MODEL

FOLDER: Final = Path(__file__).parents[2] / "gitops/observability/dashboards"
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
SCHEMA: Final = 39
SINGLE: Final = frozenset({"endpoint"})
"""Variables of which one value is looked at: the splits of several endpoints make no whole."""
ONE: Final = {"multi": False, "includeAll": False}
ANY: Final = {
    "multi": True,
    "includeAll": True,
    "allValue": ".*",
    "current": {"text": ["All"], "value": ["$__all"]},
}
WIDTH: Final = 24
"""Columns of Grafana's grid."""

ALL: Final = (FLEET, MODEL, ROLLOUT, DRIFT)


def document(dashboard: Dashboard) -> dict[str, Any]:
    """What Grafana imports."""
    return {
        "uid": f"modelserve-{dashboard.name}",
        "id": None,
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["modelserve"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "links": [{"type": "dashboards", "tags": ["modelserve"], "title": "modelserve", "keepTime": True}],
        "templating": {"list": [_datasource(), *(_variable(name) for name in dashboard.variables)]},
        "annotations": {"list": [_decisions(has_endpoint="endpoint" in dashboard.variables)]},
        "panels": list(_panels(dashboard.panels)),
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}


def _variable(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": VARIABLES[name], "refId": name},
        "refresh": 2,
        "sort": 1,
        **(ONE if name in SINGLE else ANY),
    }


def _decisions(*, has_endpoint: bool) -> dict[str, Any]:
    chosen = ENDPOINT if has_endpoint else STAGE
    return {
        "name": "Decisions",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "purple",
        "expr": f"modelserve_last_decision_timestamp_seconds{{{chosen}}} * 1000",
        "step": "60s",
        "titleFormat": "{{endpoint}}: {{action}}",
        "textFormat": "commit {{commit}}",
        "tagKeys": "stage,endpoint,action",
        "useValueForTime": True,
    }


def _panels(panels: Sequence[Panel]) -> Iterator[dict[str, Any]]:
    left = top = row = 0
    for number, panel in enumerate(panels, start=1):
        if left + panel.width > WIDTH:
            left, top, row = 0, top + row, 0
        yield _panel(panel, number) | {"gridPos": {"x": left, "y": top, "w": panel.width, "h": panel.height}}
        left, row = left + panel.width, max(row, panel.height)


def _panel(panel: Panel, number: int) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    custom: dict[str, Any] = {}
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
        custom["thresholdsStyle"] = {"mode": "line"}
    if panel.is_stacked:
        custom |= {"stacking": {"mode": "normal"}, "fillOpacity": 40, "lineInterpolation": "stepAfter"}
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        defaults |= {"min": 0, "custom": custom}
    is_instant = panel.kind in {"stat", "table"}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"textMode": "value_and_name"} if panel.kind == "stat" else {},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": SOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
                "instant": is_instant,
                "range": not is_instant,
                "format": {"heatmap": "heatmap", "table": "table"}.get(panel.kind, "time_series"),
            }
            for index, query in enumerate(panel.queries)
        ],
    }


def text(dashboard: Dashboard) -> str:
    """The file."""
    return json.dumps(document(dashboard), indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the files, or compare them."""
    is_check = sys.argv[1:] == ["--check"]
    stale = []
    for dashboard in ALL:
        path = FOLDER / f"{dashboard.name}.json"
        if path.exists() and path.read_text(encoding="utf-8") == text(dashboard):
            continue
        stale.append(path.name)
        if not is_check:
            FOLDER.mkdir(parents=True, exist_ok=True)
            path.write_text(text(dashboard), encoding="utf-8")
    print(f"{'differ' if is_check else 'written'}: {', '.join(stale)}" if stale else "unchanged")
    return 1 if stale and is_check else 0


if __name__ == "__main__":
    sys.exit(main())
