"""A run that is watched from outside: real Prometheus and Alertmanager, alerts that become exactly one commit."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from mlflow_deploy_plugin.agent import client
from mlflow_deploy_plugin.spec.bento import MODEL_FOLDER, SPEC_FILE, BentoSpec

ROOT = Path(__file__).parents[3]
OBSERVABILITY = ROOT / "gitops/observability"
LIGHT_AGENT = (sys.executable, str(Path(__file__).with_name("light_agent.py")))
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="Debian package prometheus is missing"),
    pytest.mark.skipif(ALERTMANAGER is None, reason="Debian package prometheus-alertmanager is missing"),
]

MODEL = """
    import os

    from mlflow.models import set_model
    from mlflow.pyfunc import PythonModel


    class Moody(PythonModel):
        '''Whether a is above one half; raises for a = -1, and ends its process for a = -2.'''

        def predict(self, context, model_input, params=None):
            if (model_input["a"] == -1).any():
                raise RuntimeError("poison")
            if (model_input["a"] == -2).any():
                os._exit(9)
            return (model_input["a"] > 0.5).astype("int64").to_numpy()


    set_model(Moody())
"""


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source folder of a Bento."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of itself when it is imported, and of models without type hints
        import mlflow  # noqa: PLC0415
        from mlflow.models import ModelSignature  # noqa: PLC0415
        from mlflow.types import ColSpec, Schema  # noqa: PLC0415

        folder = tmp_path_factory.mktemp("moody")
        (folder / "code.py").write_text(textwrap.dedent(MODEL))
        mlflow.pyfunc.save_model(
            path=folder / MODEL_FOLDER,
            python_model=str(folder / "code.py"),
            signature=ModelSignature(inputs=Schema([ColSpec("double", "a")]), outputs=Schema([ColSpec("long")])),
            pip_requirements=["mlflow"],
        )
    spec = BentoSpec(
        model_uri="models:/moody/1",
        model_name="moody",
        model_version="1",
        model_digest="sha256:m",
        serving_digest="sha256:s",
        environment_digest="sha256:e",
    )
    (folder / SPEC_FILE).write_text(spec.to_json())
    return folder


@dataclass
class Watch:
    """The machine and what watches it."""

    machine: Any
    folder: Path
    ports: dict[str, int]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    began: float = field(default_factory=time.time)

    def start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            environment = {**os.environ, "MODELSERVE_HOME": str(self.machine.home.root)}
            self.processes.append(
                subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT, env=environment)
            )

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def get(self, name: str, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}{path}", timeout=10) as answer:
            return json.load(answer)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """An instant query; the found series with their values."""
        found = self.get("prometheus", "/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        assert found["status"] == "success", found
        result: list[dict[str, Any]] = found["data"]["result"]
        return result

    def over_time(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression from before the run began until this moment, which is one of the points."""
        now = time.time()
        points = math.ceil((now - self.began) / POINT_S)
        span = {"query": expression, "start": now - points * POINT_S, "end": now, "step": POINT_S}
        found = self.get("prometheus", "/api/v1/query_range?" + urllib.parse.urlencode(span))
        assert found["status"] == "success", found
        result: list[dict[str, Any]] = found["data"]["result"]
        return result

    def pipelines(self, *words: str) -> None:
        environment = {**os.environ, "MODELSERVE_HOME": str(self.machine.home.root)}
        command = [sys.executable, "-m", "pipelines", *words]
        subprocess.run(command, check=True, env=environment, cwd=self.folder, capture_output=True)

    def value(self, expression: str) -> float:
        """The one value of an expression; not a number where there is none, or several."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if len(found) == 1 else float("nan")

    def until(self, is_so: Callable[[], bool]) -> None:
        self.machine.until(is_so, timeout_s=90)

    def predict(self, *, user: str, value: float, **headers: str) -> int:
        body = json.dumps({"features": {"a": value}}).encode()
        answer = self.machine.ask(
            "/endpoints/churn/predict", body, user=user, content_type="application/json", **headers
        )
        status: int = answer.status
        return status

    def close(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def logged(events: Path) -> set[str]:
    """Requests whose predictions are in the store."""
    paths = (events / "predictions").rglob("[!.]*.parquet")
    return {name for path in paths for name in pq.ParquetFile(path).read(["request_id"])["request_id"].to_pylist()}


def prometheus_config(watch: Watch) -> Path:
    """The shipped configuration with this run's addresses and a quick clock."""
    config = yaml.safe_load((OBSERVABILITY / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = ["rules.yml"]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [
        f"127.0.0.1:{watch.ports['alertmanager']}"
    ]
    (discovery,) = config["scrape_configs"][0]["http_sd_configs"]
    discovery |= {"url": watch.machine.said.discovery, "refresh_interval": "1s"}
    rules = (OBSERVABILITY / "rules/modelserve.rules.yml").read_text()
    (watch.folder / "rules.yml").write_text(
        re.sub(r"for: \S+", "for: 0s", rules).replace("interval: 30s", "interval: 1s")
    )
    path = watch.folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def alertmanager_config(watch: Watch) -> Path:
    """The shipped configuration with this run's address and a quick clock that repeats itself."""
    config = yaml.safe_load((OBSERVABILITY / "alertmanager.yml").read_text())
    config["route"] |= {"group_wait": "0s", "group_interval": "1s", "repeat_interval": "1s"}
    (hook,) = config["receivers"][0]["webhook_configs"]
    hook["url"] = f"http://127.0.0.1:{watch.ports['alerts']}/alerts"
    path = watch.folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def watch(machine_of_module: Any, make_deployment: Any, bento: Path, make_port: Callable[[], int]) -> Iterator[Watch]:
    """Endpoint ``churn`` with a canary at 30 %, Prometheus, Alertmanager and our listener."""
    machine = machine_of_module
    machine.command = LIGHT_AGENT
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHT_BENTO", str(bento))
        machine.start("--metrics-port", "0")
    machine.create(make_deployment("churn"))
    machine.join(make_deployment("churn-v2"), weight=300)
    ports = {name: make_port() for name in ("prometheus", "alertmanager", "alerts")}
    made = Watch(machine=machine, folder=machine.tmp, ports=ports)
    listen = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    made.start("alerts", sys.executable, "-m", "pipelines", "alerts", "--listen", listen["alerts"])
    made.start(
        "alertmanager",
        *(str(ALERTMANAGER), f"--config.file={alertmanager_config(made)}", f"--storage.path={made.folder / 'am'}"),
        *(f"--web.listen-address={listen['alertmanager']}", "--cluster.listen-address="),
    )
    made.start(
        "prometheus",
        *("prometheus", f"--config.file={prometheus_config(made)}", f"--storage.tsdb.path={made.folder / 'tsdb'}"),
        f"--web.listen-address={listen['prometheus']}",
    )
    made.until(lambda: "listening on" in made.log("alerts") and "ready to receive" in made.log("prometheus"))
    yield made
    made.close()


def test_every_process_is_found_and_scraped(watch: Watch) -> None:
    watch.until(lambda: watch.value("sum(up)") == 4)
    assert {one["metric"]["component"] for one in watch.query("up")} == {"agent", "gateway", "bento"}
    assert {one["metric"]["stage"] for one in watch.query("up")} == {"production"}
    assert watch.value('modelserve_deployment_weight_ratio{deployment="churn-v2"}') == 0.3


def test_errors_and_attempts_are_counted_by_version(watch: Watch) -> None:
    assert watch.value('sum(model_predictions_total{model_version="churn",status="error"})') == 0
    for number in range(60):
        watch.predict(user=f"u{number}", value=number / 60)
    for number in range(5):
        assert watch.predict(user=f"u{number}", value=-1, x_model_version="churn") == 500
    watch.until(lambda: watch.value('sum(model_predictions_total{model_version="churn",status="error"})') == 5)
    watch.until(lambda: watch.value('modelserve_attempts_total{deployment="churn",outcome="failed"}') == 5)
    watch.until(lambda: watch.value("sum(modelserve_attempts_total)") == 65)
    watch.until(lambda: watch.value("sum(envoy_http_downstream_rq_completed)") == 65)


def test_a_killed_process_leaves_no_ghost(watch: Watch) -> None:
    (before,) = watch.machine.pids("churn")
    os.kill(before, signal.SIGKILL)
    watch.until(lambda: watch.value('modelserve_worker_restarts_total{deployment="churn"}') == 1)
    watch.until(lambda: watch.value('sum(model_ready{model_version="churn"})') == 1)
    assert len(watch.query('model_in_flight{model_version="churn"}')) == 1


def test_what_the_jobs_find_is_exposed_by_version(watch: Watch) -> None:
    machine, known = watch.machine, []
    for number in range(300):
        body = json.dumps({"features": {"a": number / 300}}).encode()
        answer = machine.ask("/endpoints/churn/predict", body, user=f"l{number}", content_type="application/json")
        known.append({"request_id": answer.headers["x-request-id"], "label": int(number / 300 > 0.4)})
    labels, reference = watch.folder / "labels.jsonl", watch.folder / "reference.csv"
    labels.write_text("\n".join(map(json.dumps, known)))
    reference.write_text("a\n" + "\n".join(str(0.5 + number / 600) for number in range(300)))
    machine.until(lambda: logged(machine.home.events) >= {one["request_id"] for one in known})
    watch.pipelines("label", str(labels), "--endpoint", "churn")
    watch.pipelines("drift", "--endpoint", "churn", "--reference", str(reference), "--no-report")
    watch.until(lambda: watch.value('feature_drift_score{model_version="churn",feature_name="a",method="ks"}') > 0.3)
    watch.until(lambda: 0.8 < watch.value('model_accuracy{model_version="churn",time_window="1d"}') < 1)
    assert watch.value("sum(model_labelled_predictions_total)") > 250
    assert len(watch.query("model_accuracy")) == 4  # two versions, two windows: once, and not by process


def test_the_commands_of_the_document_run(watch: Watch) -> None:
    document = (ROOT / "docs/monitoring-dashboards.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", document, re.DOTALL)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MODELSERVE_HOME": str(watch.machine.home.root),
    }
    script = "\n".join(blocks).replace("churn.html", str(watch.folder / "churn.html"))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert '"component": "bento"' in done.stdout
    assert "churn-v2" in (watch.folder / "churn.html").read_text()


def test_a_dead_canary_becomes_exactly_one_rollback_commit(watch: Watch) -> None:
    machine = watch.machine
    before = machine.said.applied

    def is_rolled_back() -> bool:
        if machine.said.endpoints["churn"].weights.get("churn-v2"):
            watch.predict(user="u1", value=-2, x_model_version="churn-v2")  # its process dies, again and again
            return False
        return True

    watch.until(is_rolled_back)
    watch.until(lambda: watch.log("alerts").count("churn-v2 has no users") + watch.log("alerts").count(" before") >= 3)
    commits = machine.repository.history()
    news = commits[: [commit.sha for commit in commits].index(before)]
    assert [commit.trailers.action for commit in news] == ["rollback"]
    assert news[0].trailers.reason.startswith("alert ")
    evidence = json.loads(machine.repository.files(news[0].sha)[news[0].trailers.evidence])
    assert evidence["labels"]["remedy"] == "rollback"
    assert machine.wait(news[0].sha) == client.Applied()
    assert {watch.predict(user=f"u{number}", value=0.2) for number in range(30)} == {200}
    watch.until(lambda: bool(watch.query('modelserve_last_decision_timestamp_seconds{action="rollback"}')))


NOT_IN_THIS_RUN = {"model_absolute_error": "its model answers classes, and only numbers have an error"}
"""Series of which a query may find nothing, by the reason; a query of any other must show data."""

POINT_S = 5.0
"""Seconds between two points of a series over time."""


@pytest.mark.parametrize("board", ["fleet", "model", "rollout", "drift"])
def test_every_query_of_every_panel_of_the_dashboards_shows_this_run(watch: Watch, board: str) -> None:
    document = json.loads((OBSERVABILITY / f"dashboards/{board}.json").read_text())

    def asked(expression: str) -> str:
        chosen = re.sub(r"\$(stage|endpoint|model_version)", ".*", expression)
        return chosen.replace("$__rate_interval", "1m")

    shown = {
        target["expr"]: bool(watch.over_time(asked(target["expr"])))
        for panel in document["panels"]
        for target in panel["targets"]
    }
    excused = {expr for expr in shown if any(series in expr for series in NOT_IN_THIS_RUN)}
    assert {expr for expr, has_data in shown.items() if not has_data} == excused
    (decisions,) = document["annotations"]["list"]
    assert watch.over_time(asked(decisions["expr"]))
