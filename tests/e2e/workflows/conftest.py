"""A runner that executes the `run:` blocks of a workflow as GitHub does, against a bare remote and an event store.

It knows of expressions what the workflows use, and refuses anything else. Foreign actions are passed over, except that
`make`, which only installs, is a stand-in that writes down what it was asked.
"""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.agent.parquet import arrow_schema
from mlflow_deploy_plugin.manifests.model import Deployment, Files, ModelIdentity, Route
from mlflow_deploy_plugin.manifests.split import assign
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.repository import Commit, Repository
from mlflow_deploy_plugin.spec.events import ATTEMPT_COLUMNS, partition

ROOT = Path(__file__).parents[3]
NAME = "team/models"
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
_LITERAL = re.compile(r"'([^']*)'")
_LOOKUP = re.compile(r"[a-z_]+(\.[A-Za-z_-]+)+")

PLAN = """\
apiVersion: modelserve.io/v1alpha1
kind: Rollout
metadata: {name: churn, annotations: {config.kubernetes.io/local-config: "true"}}
spec:
  steps:
    - {weight: 5}
    - {weight: 25}
    - {weight: 100}
  gates:
    errors: {margin: 10, guardrail: 30}
  holdback: 0
"""


@dataclass
class Job:
    """What became of a job."""

    result: str
    page: str = ""
    output: dict[str, str] = field(default_factory=dict)
    said: str = ""


@dataclass
class Forge:
    """A repository on a server, its event store, and runners for its workflows."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    api: str = ""
    """Address of the forge's own API."""
    _numbers: int = 0

    # -- the repository --------------------------------------------------------------------------------------------

    @property
    def remote(self) -> Path:
        return self.folder / "server" / f"{NAME}.git"

    @property
    def repository(self) -> Repository:
        """The tree of the repository, as somebody elsewhere sees it now."""
        return Repository.open(self.remote, clones=self.folder / "elsewhere", root="gitops")

    @property
    def head(self) -> Commit:
        found = self.repository.head()
        assert found is not None
        return found

    @property
    def files(self) -> Files:
        return self.repository.files(self.head.sha)

    def route(self, stage: str = "production") -> Route:
        return manifests.parse_endpoint(self.files, stage, "churn").route

    @property
    def weights(self) -> dict[str, int]:
        return {name: weight for name, weight in self.route().weights.items() if weight}

    def git(self, *arguments: str) -> str:
        command = ["git", f"--git-dir={self.remote}", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def log(self, branch: str = "main") -> list[str]:
        return self.git("log", "--format=%s", branch).splitlines()

    # -- users -----------------------------------------------------------------------------------------------------

    def serve(self, users: int = 2500, *, failing: Mapping[str, float] | None = None) -> None:
        """Each of new users asks once, and is answered as the present split deals them."""
        self._numbers += 1
        route, commit, now = self.route(), self.head.sha, datetime.now(UTC)
        rows: dict[str, list[dict[str, Any]]] = {}
        for index in range(users):
            user = f"user-{self._numbers}-{index}"
            arm = assign(user, route)
            has_failed = index % 100 < 100 * (failing or {}).get(arm, 0.0)
            row = {"request_id": f"{user}-r", "time": now + timedelta(microseconds=index), "user_id": user}
            row |= {"assigned": arm, "override": "", "attempt": 1, "status": 503 if has_failed else 200}
            row |= {"flags": "", "latency_ms": 5.0, "commit": commit}
            rows.setdefault(arm, []).append(row)
        for arm, found in rows.items():
            place = partition("attempts", stage="production", endpoint="churn", day=now, deployment=arm)
            folder = self.folder / "events" / place
            folder.mkdir(parents=True, exist_ok=True)
            table = pa.Table.from_pylist(found, schema=arrow_schema(ATTEMPT_COLUMNS))
            pq.write_table(table, folder / f"{self._numbers:06d}.parquet")

    # -- the runner ------------------------------------------------------------------------------------------------

    def run(self, workflow: str, **inputs: str) -> dict[str, Job]:
        """Every job of a run, in the order of their needs; the environments' reviewers say yes."""
        text = (ROOT / f".github/workflows/{workflow}.yml").read_text(encoding="utf-8")
        document = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  knows only text
        given = document["on"].get("workflow_dispatch", {}).get("inputs", {})
        unknown = inputs.keys() - given.keys()
        assert not unknown, unknown
        done: dict[str, Job] = {}
        for name, job in document["jobs"].items():
            done[name] = self._job(job, document, {"inputs": inputs, "needs": done})
        return done

    def _job(self, job: Mapping[str, Any], document: Mapping[str, Any], known: dict[str, Any]) -> Job:
        needs = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
        runner = _Runner(
            forge=self, temp=self.folder / f"runner-{len(list(self.folder.glob('runner-*')))}", known=known
        )
        is_always = "always()" in job.get("if", "")
        if not is_always and any(known["needs"][need].result != "success" for need in needs):
            return Job(result="skipped")
        if "if" in job and not runner.value(job["if"]):
            return Job(result="skipped")
        return runner.run(job, document.get("env", {}))


@dataclass
class _Runner:
    """A fresh machine for one job."""

    forge: Forge
    temp: Path
    known: dict[str, Any]
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, job: Mapping[str, Any], shared: Mapping[str, str]) -> Job:
        workspace = self.temp / "work"
        workspace.mkdir(parents=True)
        (workspace / ".github").symlink_to(ROOT / ".github")
        (workspace / ".venv").symlink_to(Path(sys.prefix))
        self._stand_in("make")
        for key, text in (*shared.items(), *job.get("env", {}).items()):
            self.environment[key] = str(self.text(text))
        result, said = "success", []
        for number, step in enumerate(job["steps"]):
            always = step.get("if", "") == "${{ always() }}"
            assert always or step.get("if", "") in ("", "${{ success() }}"), step["if"]
            if result != "success" and not always:
                continue
            done = self._step(step, number)
            said.append(done.stdout + done.stderr)
            result = result if done.returncode == 0 else "failure"
        output = {key: str(self.text(value)) for key, value in job.get("outputs", {}).items()}
        page = self.temp / "summary"
        return Job(result=result, page=page.read_text() if page.exists() else "", output=output, said="".join(said))

    def _step(self, step: Mapping[str, Any], number: int) -> subprocess.CompletedProcess[str]:
        if step.get("uses") == "$/.github/actions/setup":
            return self._setup(step.get("with", {}), number)
        if "uses" in step:
            return subprocess.CompletedProcess([], 0, "", "")
        return self._bash(step, number)

    def _setup(self, given: Mapping[str, str], number: int) -> subprocess.CompletedProcess[str]:
        action = yaml.load((ROOT / ".github/actions/setup/action.yml").read_text(), Loader=yaml.BaseLoader)  # noqa: S506
        inputs = {name: given.get(name, about["default"]) for name, about in action["inputs"].items()}
        inner = _Runner(forge=self.forge, temp=self.temp, known={**self.known, "inputs": inputs})
        (script,) = (step for step in action["runs"]["steps"] if "run" in step)
        return inner._bash(script, number)

    def _bash(self, step: Mapping[str, Any], number: int) -> subprocess.CompletedProcess[str]:
        output = self.temp / f"output-{number}"
        output.touch()
        own = {key: str(self.text(text)) for key, text in step.get("env", {}).items()}
        script = self.temp / f"script-{number}.sh"
        script.write_text(str(self.text(step["run"])))
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.temp / "work",
            env={**self._machine(), **self.environment, **own, "GITHUB_OUTPUT": str(output)},
            timeout=240,
        )
        pairs = (line.partition("=") for line in output.read_text().splitlines())
        self.outputs[step.get("id", f"step-{number}")] = {key: value for key, _, value in pairs}
        return done

    def _machine(self) -> dict[str, str]:
        return {
            "PATH": f"{self.temp / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.temp / "home"),
            "LANG": "C.UTF-8",
            "NO_PROXY": "127.0.0.1",
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.forge.api,
            "GITHUB_REPOSITORY": NAME,
            "GITHUB_WORKSPACE": str(self.temp / "work"),
            "GITHUB_STEP_SUMMARY": str(self.temp / "summary"),
            "RUNNER_TEMP": str(self.temp),
            "MODELSERVE_HOME": str(self.temp / "home/modelserve"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "BENTOML_DO_NOT_TRACK": "True",
            "DO_NOT_TRACK": "1",
        }

    def _stand_in(self, name: str) -> None:
        path = self.temp / "bin" / name
        path.parent.mkdir()
        path.write_text(f'#!/bin/sh\necho "{name} $*"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    # -- expressions -----------------------------------------------------------------------------------------------

    def text(self, text: str) -> object:
        """``text`` with every expression replaced by its value."""
        return _EXPRESSION.sub(lambda hit: str(self.value(hit[1])), text)

    def value(self, expression: str) -> object:
        """Lookups, literals, ``always()``, ``||``, ``&&``, ``==`` and ``!=``, as far as the workflows go."""
        bare = expression.strip().removeprefix("${{").removesuffix("}}").strip()
        if bare == "always()":
            return True
        if "||" in bare:
            return next((value for part in bare.split("||") if (value := self.value(part))), "")
        if "&&" in bare:
            values = [self.value(part) for part in bare.split("&&")]
            return next((value for value in values if not value), values[-1])
        for sign, is_same in (("==", True), ("!=", False)):
            if sign in bare:
                left, right = bare.split(sign)
                return (self.value(left) == self.value(right)) is is_same
        if literal := _LITERAL.fullmatch(bare):
            return literal[1]
        assert _LOOKUP.fullmatch(bare), f"the runner does not know {expression!r}"
        return self._look_up(bare.split("."))

    def _look_up(self, path: list[str]) -> object:
        contexts: dict[str, Any] = {
            "github": {
                "server_url": f"file://{self.forge.folder / 'server'}",
                "repository": NAME,
                "workspace": str(self.temp / "work"),
                "token": "secret",
            },
            "runner": {"temp": str(self.temp)},
            "vars": {"MODELSERVE_EVENTS": str(self.forge.folder / "events"), **self.forge.variables},
            "secrets": self.forge.secrets,
            "env": self.environment,
            "inputs": self.known["inputs"],
            "steps": {name: {"outputs": found} for name, found in self.outputs.items()},
            "needs": {name: {"outputs": job.output} for name, job in self.known["needs"].items()},
        }
        found: Any = contexts[path[0]]
        for name in path[1:]:
            found = found.get(name, "")
        return found


def make_deployment(name: str, version: int, stage: str) -> Deployment:
    digest = f"sha256:{version:064x}"
    return Deployment(
        name=name,
        endpoint="churn",
        stage=stage,
        model=ModelIdentity(
            bento=f"churn:{version:016x}",
            uri=f"models:/churn/{version}",
            digest=digest,
            name="churn",
            version=str(version),
        ),
        image=f"modelserve.invalid/churn@{digest}",
    )


@pytest.fixture(autouse=True)
def nobodys_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "somebody"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def forge(tmp_path: Path, people: Any) -> Forge:
    """An endpoint in production with a canary that has no users yet and a plan; in staging, one version."""
    served = Forge(folder=tmp_path, api=people.url, secrets={"MODELSERVE_NOTIFY_URL": f"{people.url}/hook"})
    (tmp_path / "events").mkdir()
    files = manifests.add_endpoint(manifests.skeleton(), make_deployment("churn", 1, "production"), salt="s1")
    files = manifests.add_deployment(files, make_deployment("churn-v2", 2, "production"), weight=0)
    files = manifests.add_endpoint(files, make_deployment("churn", 1, "staging"), salt="s1")
    files = {**files, "stages/production/churn/rollout.yaml": PLAN}
    tree = {f"gitops/{path}": text for path, text in files.items()} | {"pyproject.toml": "# code beside the tree\n"}
    Repository.create_bare(served.remote, tree, Message(subject="Begin", trailers=Trailers(operation="begin")))
    return served
