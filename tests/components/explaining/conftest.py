"""A process that explains without SHAP: it answers as the first value of a row says."""

import textwrap
from pathlib import Path

import pytest

CHILD = """
import json, os, sys, time
if os.path.exists("broken"):
    print(json.dumps({"fault": "NOT_OFFERED", "message": "no SHAP here"}), flush=True)
    sys.exit()
if os.path.exists("slow"):
    open("slow", "w").write(str(os.getpid()))
    time.sleep(3)
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    first = asked["values"][0][0]
    if first == -1:
        os._exit(9)
    if first == -2:
        time.sleep(600)
    time.sleep(max(0, first) / 1000)
    said = {
        "method": str(os.getpid()), "unit": "output", "columns": asked["columns"], "outputs": [None], "base": [0.0],
        "attributions": asked["values"], "predictions": [first],
    }
    print(json.dumps({"fault": "INVALID", "message": "not so"} if first == -3 else said), flush=True)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a module that ``python -m`` finds."""
    (tmp_path / "made_up_explainer.py").write_text(textwrap.dedent(CHILD))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return "made_up_explainer"
