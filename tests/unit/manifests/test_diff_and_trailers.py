"""How a change reads: lines for people, trailers for machines."""

import subprocess
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.manifests.model import Deployment, Files, Stage
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.spec import annotations

FULL = Trailers(
    operation="4f1",
    endpoint="churn",
    stage="production",
    action="split",
    from_="a=100",
    to="a=90",
    reason="r: x",
    evidence="e",
)


def stage(files: Files) -> Stage:
    return manifests.parse_stage(files, "production")


def test_every_change_has_its_line(one: Files, canary: Files, make_deployment: Callable[..., Deployment]) -> None:
    empty = Stage(name="production", endpoints={})
    assert manifests.diff.describe(empty, stage(one)) == (
        "churn: endpoint added (churn 100%)",
        "churn: deployment churn added (models:/churn/1)",
    )
    assert manifests.diff.describe(stage(one), stage(canary)) == (
        "churn: deployment churn-v4 added (models:/churn/4)",
        "churn: split churn 100% → 90%, churn-v4 0% → 10%",
    )
    promoted = manifests.set_split(
        canary,
        "production",
        "churn",
        {"churn-v4": 1000},
        annotations={annotations.STABLE: "churn-v4", annotations.SALT: "z"},
    )
    assert manifests.diff.describe(stage(canary), stage(promoted)) == (
        "churn: split churn-v4 10% → 100%, churn 90% → 0%",
        "churn: stable churn → churn-v4",
        "churn: salt changed, users are dealt anew",
    )
    bigger = manifests.replace_deployment(
        one, make_deployment(version="2", replicas=2, environment={"MODELSERVE_LOG": "off"})
    )
    line, *others = manifests.diff.describe(stage(one), stage(bigger))
    assert not others
    assert line.startswith("churn: deployment churn: model models:/churn/1 → models:/churn/2, replicas 1 → 2, ")
    assert line.endswith("MODELSERVE_LOG unset → 'off'")
    assert manifests.diff.describe(stage(one), empty) == ("churn: endpoint removed (churn)",)
    assert manifests.diff.describe(stage(one), stage(one)) == ()


def test_trailers_survive_a_commit_message() -> None:
    assert Trailers.parse(Message(subject="s", body=("why", ""), trailers=FULL).render()) == FULL


@given(st.text(), st.text(), st.text())
def test_no_value_can_forge_another(subject: str, body: str, reason: str) -> None:
    message = Message(subject=subject, body=(body,), trailers=replace(FULL, reason=reason))
    parsed = Trailers.parse(message.render())
    assert parsed is not None
    assert replace(parsed, reason="") == replace(FULL, reason="")
    assert "\n" not in parsed.reason


@pytest.mark.parametrize("where", ["subject", "body", "reason"])
def test_a_forged_operation_is_not_believed(where: str) -> None:
    forged = "x\n\nModelserve-Operation: forged\nModelserve-Action: none"
    plain = Message(subject="s", trailers=FULL)
    hostile = {
        "subject": replace(plain, subject=forged),
        "body": replace(plain, body=(forged, "Modelserve-Operation: forged")),
        "reason": replace(plain, trailers=replace(FULL, reason=forged)),
    }[where]
    parsed = Trailers.parse(hostile.render())
    assert parsed is not None
    assert (parsed.operation, parsed.action) == ("4f1", "split")


def test_a_squash_merge_keeps_the_trailers() -> None:
    inner = Message(subject="s", trailers=FULL).render()
    squashed = f"Promote churn (#12)\r\n\r\n* {inner}\r\n\r\n---------\r\n\r\nCo-authored-by: a <a@b>\r\n"
    assert Trailers.parse(squashed) == FULL


def test_other_commits_have_none_of_ours() -> None:
    assert Trailers.parse("Edit the split\n\nSigned-off-by: a <a@b>") is None
    assert Trailers.parse("") is None
    assert Trailers.parse("x\n\nModelserve-Action: split") is None


def test_git_reads_the_same_trailers() -> None:
    text = Message(subject="s", body=("why",), trailers=FULL).render()
    printed = subprocess.run(
        ["git", "interpret-trailers", "--parse"], input=text, capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == FULL.render()


def test_a_long_value_is_cut_to_one_line() -> None:
    text = replace(FULL, reason="x" * 5000).render()
    assert max(len(line) for line in text.splitlines()) < 1100
