"""The workflows, executed: what a push, a schedule and a button do to a repository."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.e2e


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_canary_goes_from_5_to_100_per_cent_by_ticks(forge: Any) -> None:
    began = forge.run("promote")
    jobs = ("staging", "guard", "review", "production", "registry", "promoted")
    assert {name: job.result for name, job in began.items()} == dict.fromkeys(jobs, "success")
    assert "unchanged: no registry is named" in began["promoted"].said
    assert forge.weights == {"churn": 950, "churn-v2": 50}
    assert began["staging"].page == ""

    forge.serve()
    assert "would commit: churn: canary churn-v2 5% → 25%" in forge.run("promote")["review"].page
    assert forge.weights == {"churn": 750, "churn-v2": 250}

    forge.serve()
    promoted = forge.run("promote")["production"]
    assert forge.weights == {"churn-v2": 1000}
    assert forge.route().stable == "churn-v2"
    assert "| churn-v2 | 25% | 100% |" in promoted.page
    assert "of 100,000 sampled users" in promoted.page
    assert "| errors | ✅ successful |" in promoted.page

    again = forge.run("promote")
    assert [job.result for job in again.values()] == ["success", "success", "skipped", "skipped", "success", "skipped"]
    subjects = forge.log()
    assert len(subjects) == 4
    assert [subject.split(" (")[0] for subject in subjects[:3]] == [
        "churn: promoted churn-v2 25% → 100%, churn 75% → 0%",
        "churn: canary churn-v2 5% → 25%, churn 95% → 75%",
        "churn: canary churn-v2 0% → 5%, churn 100% → 95%",
    ]
    changed = forge.git("show", "--format=", "--name-only", "main~1").splitlines()
    assert sorted(path.split("/")[1] for path in changed) == ["evidence", "stages"]
    assert all(path.startswith("gitops/") for path in changed)


def test_a_bad_canary_comes_back_without_a_review_and_people_are_told_once(forge: Any, people: Any) -> None:
    forge.run("promote", endpoint="churn")
    forge.serve(failing={"churn-v2": 0.6})
    run = forge.run("promote")
    assert [job.result for job in run.values()] == ["success", "failure", "skipped", "skipped", "success", "skipped"]
    assert forge.weights == {"churn": 1000}
    assert forge.route().hold.deployment == "churn-v2"
    assert "| errors | ❌ failed |" in run["guard"].page
    assert "| churn-v2 | 5% | 0% |" in run["guard"].page

    after = forge.run("promote")
    assert [job.result for job in after.values()] == ["success", "success", "skipped", "skipped", "success", "skipped"]
    assert len(forge.log()) == 3
    assert [issue["title"] for issue in people.issues] == ["churn (production): churn-v2: errors"]
    assert len(people.heard) == 1


def test_a_button_takes_a_version_back_whatever_the_reason_says(forge: Any) -> None:
    forge.run("promote")
    reason = '"; touch pwned; $(touch pwned) `touch pwned` <img src=x>'
    job = forge.run("rollback", endpoint="churn", stage="production", reason=reason)["rollback"]
    assert job.result == "success", job.said
    assert forge.weights == {"churn": 1000}
    assert forge.head.trailers.reason == reason
    assert "| churn-v2 | 5% | 0% |" in job.page
    assert "<img" not in job.page
    assert not list(forge.folder.rglob("pwned"))

    again = forge.run("rollback", endpoint="churn", stage="production", reason=reason)["rollback"]
    assert again.result == "success"
    assert "unchanged: churn-v2 is out already" in again.said


@pytest.mark.slow
def test_the_registry_follows_a_rollback(forge: Any, tmp_path: Path) -> None:
    forge.variables["MLFLOW_TRACKING_URI"] = uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    register(uri)
    told = forge.run("rollback", endpoint="churn", deployment="churn-v2", stage="production")["registry"]
    assert told.result == "success", told.said
    assert "| churn@champion is version 1 |" in told.page
    assert registered(uri) == {"aliases": {"champion": "1"}, "commit": forge.head.sha}


def register(uri: str) -> None:
    """Two versions of a model, registered elsewhere, since importing MLflow warns of its own code."""
    program = f"""
import mlflow
client = mlflow.MlflowClient({uri!r})
client.create_registered_model("churn")
for number in (1, 2):
    client.create_model_version("churn", "file:///nowhere")
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, capture_output=True)


def registered(uri: str) -> Any:
    program = f"""
import json, mlflow
client = mlflow.MlflowClient({uri!r})
aliases = {{name: str(version) for name, version in client.get_registered_model("churn").aliases.items()}}
commit = client.get_model_version("churn", "1").tags["modelserve.production.commit"]
print(json.dumps({{"aliases": aliases, "commit": commit}}))
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_a_protected_branch_gets_a_branch_to_merge(forge: Any) -> None:
    forge.variables["MODELSERVE_MODE"] = "pull-request"
    hook = forge.remote / "hooks/update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text('#!/bin/sh\n[ "$1" != refs/heads/main ]\n')
    hook.chmod(0o755)
    job = forge.run("promote")["production"]
    assert job.result == "success", job.said
    assert len(forge.log()) == 1
    (branch,) = forge.git("for-each-ref", "--format=%(refname:short)", "refs/heads/modelserve").split()
    assert forge.log(branch)[0].startswith("churn: canary churn-v2 0% → 5%")
    assert f"which waits to be merged: ask for branch '{branch}'" in job.page

    assert "unchanged: proposed before" in forge.run("promote")["production"].page
    assert len(forge.git("for-each-ref", "refs/heads").splitlines()) == 2


def test_the_drift_job_takes_back_what_fails_and_leaves_its_decision(forge: Any) -> None:
    forge.run("promote")
    forge.serve(failing={"churn-v2": 0.6})
    job = forge.run("drift")["drift"]
    assert "## Drift: churn (production)" in job.page
    assert (job.result, forge.weights) == ("failure", {"churn": 1000}), job.said
    assert len(list(forge.folder.glob("runner-*/drift/churn/decision.json"))) == 1


def test_the_drift_job_asks_the_version_before_where_it_is_told_to_in_the_stage_that_it_is_told_of(forge: Any) -> None:
    forge.variables["MODELSERVE_BEFORE_AT"] = "gate.example:8080"
    assert "'gate.example:8080' is no address" in forge.run("drift")["drift"].said
    evil = '"; touch pwned; $(touch pwned) `touch pwned`'
    assert f"{evil!r} is no address" in forge.run("drift", before_at=evil)["drift"].said
    assert not list(forge.folder.rglob("pwned"))
    assert "is no address" not in forge.run("drift", stage="staging", endpoint="churn")["drift"].said


def test_a_signing_key_of_the_secrets_signs(forge: Any, tmp_path: Path) -> None:
    key = tmp_path / "robot"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    forge.secrets["MODELSERVE_SIGNING_KEY"] = key.read_text()
    forge.run("promote")
    signers = f"robot@example.org {key.with_suffix('.pub').read_text()}"
    assert forge.repository.verify(forge.head.sha, signers).signer == "robot@example.org"


def test_the_bento_of_a_model_is_an_artifact(forge: Any, tmp_path: Path) -> None:
    model = _model(tmp_path / "model")
    job = forge.run("package", model_uri=str(model), env_manager="local")["package"]
    assert job.result == "success", job.said
    (archive,) = forge.folder.glob("runner-*/bentos/*.tar.gz")
    listing = subprocess.run(["tar", "-tzf", str(archive)], check=True, capture_output=True, text=True).stdout
    assert "./bento.yaml" in listing.splitlines()
    assert "| Bento | model:" in job.page


def test_a_checked_out_helper_gives_git_the_token_of_the_step(forge: Any, tmp_path: Path) -> None:
    """What the variables of the workflow mean to git, asked as git asks."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path / "somebody"),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "credential.https://github.com.helper",
        "GIT_CONFIG_VALUE_0": str(ROOT / ".github/actions/setup/credential-helper"),
        "GITOPS_TOKEN": "t0ken",
    }

    def fill(host: str) -> subprocess.CompletedProcess[str]:
        question = f"protocol=https\nhost={host}\n\n"
        command = ["git", f"--git-dir={forge.remote}", "credential", "fill"]
        return subprocess.run(command, input=question, check=False, capture_output=True, text=True, env=environment)

    assert "password=t0ken" in fill("github.com").stdout
    assert "t0ken" not in fill("elsewhere.example").stdout


def _model(folder: Path) -> Path:
    """A saved model; made elsewhere, since importing MLflow warns of its own code."""
    program = f"""
import mlflow.sklearn, numpy as np
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression
inputs = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 1.0], [1.0, 1.0]])
fitted = LogisticRegression().fit(inputs, [0, 1, 0, 1])
mlflow.sklearn.save_model(fitted, {str(folder)!r}, signature=infer_signature(inputs, fitted.predict(inputs)))
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    return folder
