"""docs/promotion.md and docs/rollback.md: their commands run, their plans are plans."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.promotion.schema import read_plan

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)
HEAD = "apiVersion: modelserve.io/v1alpha1\nkind: Rollout\n"

pytestmark = pytest.mark.e2e


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / "docs" / document).read_text()
    return [found["text"] for found in BLOCK.finditer(text) if found["language"] == language]


def run(document: str, folder: Path, home: Path) -> str:
    (folder / "gitops").symlink_to(ROOT / "gitops")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "MODELSERVE_HOME": str(home),
        "PYTHONWARNINGS": "ignore",
        **{f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks(document, "bash"))],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_promotion_page_does_what_it_says(own_home: Path, tmp_path: Path) -> None:
    said = run("promotion.md", tmp_path, own_home)
    assert "rolled back churn-v5" in said
    assert "is in production already, as churn-v5 (0 % of the users, on hold)" in said
    assert "churn-v5 begins at 5%" in said
    assert "nothing to tell by: set MODELSERVE_NOTIFY_URL" in said
    assert '"kind":"modelserve.io/promotion-decision.v3"' in said


def test_the_rollback_page_does_what_it_says(own_home: Path, tmp_path: Path) -> None:
    said = run("rollback.md", tmp_path, own_home)
    assert "unchanged: churn-v5 is out already (support is flooded)" in said
    assert "churn models:/churn/9 → models:/churn/4" in said
    assert "the hold on churn lifted" in said


@pytest.mark.parametrize("text", blocks("promotion.md", "yaml"))
def test_every_plan_of_the_page_is_one(text: str) -> None:
    assert read_plan(HEAD + text, path="rollout.yaml") is not None
