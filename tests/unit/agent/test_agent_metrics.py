"""What the agent tells Prometheus."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mlflow_deploy_plugin.agent.access_log import Ending, outcome
from mlflow_deploy_plugin.agent.metrics import decisions
from mlflow_deploy_plugin.agent.metrics.collecting import Attempts, Snapshot, collect
from mlflow_deploy_plugin.agent.metrics.decisions import Decision
from mlflow_deploy_plugin.agent.metrics.discovery import Bento
from mlflow_deploy_plugin.agent.metrics.evidence import MAX_SAMPLES, Evidence, found_in, leave
from mlflow_deploy_plugin.agent.metrics.exporter import Exporter
from mlflow_deploy_plugin.agent.metrics.families import FAMILIES, OF_AGENT, metric
from mlflow_deploy_plugin.agent.status import (
    AgentStatus,
    DeploymentStatus,
    EndpointStatus,
    RefusedCommit,
    WorkerStatus,
)
from mlflow_deploy_plugin.errors import ConfigError, GatewayError
from mlflow_deploy_plugin.manifests.model import Backend, Mirror, Stage
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.repository.model import Commit

NOW = datetime(2026, 1, 2, tzinfo=UTC)
Make = Callable[..., Any]


def status(**changes: Any) -> AgentStatus:
    worker = WorkerStatus(pid=1, port=18001, state="ready")
    base = AgentStatus(
        version="1",
        pid=9,
        started="",
        stage="production",
        repository="",
        gateway="",
        commit="c" * 40,
        applied="c" * 40,
        endpoints={"churn": EndpointStatus(url="", weights={"churn": 900}, stable="churn", commit="c" * 40)},
        deployments={
            "churn": DeploymentStatus(endpoint="churn", state="ready", workers=(worker,)),
            "churn-v2": DeploymentStatus(endpoint="churn", state="starting"),
        },
    )
    return replace(base, **changes)


@pytest.fixture
def snapshot(make_deployment: Make, make_served: Make) -> Snapshot:
    route = make_served(make_deployment("churn"), make_deployment("churn-v2"), churn_v2=100).endpoint.route
    return Snapshot(status=status(), routes={"churn": replace(route, phase="progressing", rollout="op", since=NOW)})


def values(families: list[Any]) -> dict[str, float]:
    """``name{label=value,…}`` → value."""
    return {
        f"{sample.name}{{{','.join(f'{k}={v}' for k, v in sorted(sample.labels.items()))}}}": sample.value
        for family in families
        for sample in family.samples
    }


def test_a_dead_canary_has_weight_and_no_ready_worker(snapshot: Snapshot) -> None:
    found = values(collect(snapshot, Attempts()))
    assert found["modelserve_deployment_weight_ratio{deployment=churn-v2,endpoint=churn}"] == 0.1
    assert found["modelserve_deployment_ready_workers{deployment=churn-v2,endpoint=churn}"] == 0
    assert found["modelserve_deployment_ready_workers{deployment=churn,endpoint=churn}"] == 1


def test_a_deployment_in_the_shadow_has_copies_and_no_users(snapshot: Snapshot) -> None:
    route = snapshot.routes["churn"]
    stable_alone = (Backend(deployment="churn-v2", weight=0), Backend(deployment="churn", weight=1000))
    shadow = replace(route, backends=stable_alone, mirror=Mirror(deployment="churn-v2", share=250))
    found = values(collect(replace(snapshot, routes={"churn": shadow}), Attempts()))
    assert found["modelserve_deployment_weight_ratio{deployment=churn-v2,endpoint=churn}"] == 0
    assert found["modelserve_deployment_shadow_ratio{deployment=churn-v2,endpoint=churn}"] == 0.25
    assert found["modelserve_deployment_shadow_ratio{deployment=churn,endpoint=churn}"] == 0


def test_error_series_are_there_from_the_start(snapshot: Snapshot) -> None:
    found = values(collect(snapshot, Attempts()))
    assert found["modelserve_attempts_total{deployment=churn-v2,endpoint=churn,outcome=failed}"] == 0


def test_attempts_are_counted_by_how_they_ended(snapshot: Snapshot) -> None:
    counted = Attempts(outcomes={("churn", "churn-v2", "failed"): 3, ("churn", "gone", "failed"): 9}, dropped=2)
    found = values(collect(snapshot, counted))
    assert found["modelserve_attempts_total{deployment=churn-v2,endpoint=churn,outcome=failed}"] == 3
    assert not [name for name in found if "gone" in name]
    assert found["modelserve_attempts_dropped_total{}"] == 2


@pytest.mark.parametrize(
    ("status_code", "flags", "expected"),
    [(200, "", "success"), (404, "", "success"), (429, "", "failed"), (500, "", "failed"), (0, "UF", "failed"),
     (0, "DC", "abandoned")],
)  # fmt: skip
def test_a_client_s_own_error_is_no_failure(status_code: int, flags: str, expected: str) -> None:
    named = dict.fromkeys(("assigned", "override", "commit", "endpoint", "deployment"), "x")
    assert outcome(Ending(attempt=1, status=status_code, flags=flags, **named)) == expected


def test_a_refused_commit_is_told_with_its_name(snapshot: Snapshot) -> None:
    refused = status(commit="d" * 40, refused=RefusedCommit(commit="d" * 40, reason="bad"), phase="degraded")
    found = values(collect(replace(snapshot, status=refused), Attempts()))
    assert found["modelserve_commit_refused{}"] == 1
    assert found["modelserve_commit_applied{}"] == 0
    assert found["modelserve_commit_info{commit=dddddddddddd,state=refused}"] == 1
    assert found["modelserve_commit_info{commit=cccccccccccc,state=applied}"] == 1
    assert found["modelserve_agent_phase{phase=degraded}"] == 1


def test_a_phase_that_nobody_knows_is_other(snapshot: Snapshot) -> None:
    route = replace(snapshot.routes["churn"], phase="x" * 100)
    found = values(collect(replace(snapshot, routes={"churn": route}), Attempts()))
    assert found["modelserve_rollout_phase{endpoint=churn,phase=other}"] == 1
    assert sum(value for name, value in found.items() if name.startswith("modelserve_rollout_phase")) == 1


def test_every_family_of_the_agent_is_filled_and_none_but_declared_ones(snapshot: Snapshot) -> None:
    full = replace(snapshot, decisions={"churn": Decision(action="step", commit="c" * 40, time=NOW)})
    names = {name.partition("{")[0] for name in values(collect(full, Attempts()))}
    assert names == OF_AGENT.keys()


def test_a_sample_with_other_labels_than_its_family_is_refused() -> None:
    with pytest.raises(ValueError, match="has labels endpoint, phase"):
        metric("modelserve_rollout_phase", [(("churn",), 1.0)])


def test_names_and_units_are_those_of_prometheus() -> None:
    for family in FAMILIES.values():
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name


# -- decisions ---------------------------------------------------------------------------------------------------------


def commit(sha: str, *, action: str = "", stage: str = "production", endpoint: str = "churn") -> Commit:
    trailers = Trailers(operation="op", endpoint=endpoint, stage=stage, action=action)
    text = Message(subject="news", trailers=trailers).render() if action else "a person's words"
    return Commit(sha=sha, parents=(), author="a", email="a@b", time=NOW, message=text)


def test_the_newest_decision_of_each_endpoint_of_the_stage_counts() -> None:
    commits = [
        commit("c4", action="step", stage="staging"),
        commit("c3", action="rollback"),
        commit("c2", action="step"),
        commit("c1", action="create", endpoint="price"),
    ]
    found = decisions.of_trailers(commits, stage="production")
    assert {name: (one.action, one.commit) for name, one in found.items()} == {
        "churn": ("rollback", "c3"),
        "price": ("create", "c1"),
    }


def test_what_a_trailer_says_freely_is_no_label() -> None:
    found = decisions.of_trailers([commit("c1", action="evil{}")], stage="production")
    assert found["churn"].action == "other"


def test_a_person_s_commit_is_an_edit_of_what_it_changed(make_deployment: Make, make_served: Make) -> None:
    one = make_served(make_deployment("churn"), make_deployment("churn-v2"), churn_v2=100).endpoint
    two = make_served(make_deployment("churn"), make_deployment("churn-v2"), churn_v2=300).endpoint
    same = make_served(make_deployment("price", endpoint="price"), endpoint="price").endpoint
    before, after = (Stage(name="production", endpoints={"churn": e, "price": same}) for e in (one, two))
    assert decisions.of_effect(commit("c9"), before=before, after=after) == {
        "churn": Decision(action="edit", commit="c9", time=NOW)
    }
    assert decisions.of_effect(commit("c9"), before=None, after=after) == {}


def test_an_endpoint_that_is_gone_has_no_last_decision() -> None:
    known = {"churn": Decision(action="step", commit="c1", time=NOW)}
    assert decisions.newest(known, {}, served=["price"]) == {}


# -- evidence ----------------------------------------------------------------------------------------------------------


def evidence(**samples: Any) -> Evidence:
    given = samples or {"model_accuracy": [(("churn", "1d"), 0.9), (("gone", "1d"), 0.1)]}
    return Evidence(source="drift", stage="production", endpoint="churn", time=NOW, samples=given)


def test_what_a_job_leaves_is_shown_for_deployments_that_are_served(snapshot: Snapshot, tmp_path: Path) -> None:
    leave(tmp_path / "metrics", evidence())
    found = values(collect(snapshot, Attempts(), found_in(tmp_path / "metrics")))
    assert found["model_accuracy{model_version=churn,time_window=1d}"] == 0.9
    assert found["model_evidence_timestamp_seconds{endpoint=churn,source=drift}"] == NOW.timestamp()
    assert not [name for name in found if "gone" in name]


def test_evidence_of_an_endpoint_that_is_gone_leaves_no_ghost(snapshot: Snapshot, tmp_path: Path) -> None:
    leave(tmp_path, replace(evidence(), endpoint="price"))
    leave(tmp_path, replace(evidence(), stage="staging"))
    assert not [name for name in values(collect(snapshot, Attempts(), found_in(tmp_path))) if name.startswith("model_")]


def test_evidence_is_of_its_own_endpoint_s_deployments_when_a_name_has_moved(snapshot: Snapshot) -> None:
    both = replace(snapshot, routes={**snapshot.routes, "price": replace(snapshot.routes["churn"], endpoint="price")})
    ours = evidence(model_accuracy=[(("churn", "1d"), 0.9)])
    stale = replace(ours, endpoint="price", samples={"model_accuracy": [(("churn", "1d"), 0.5)]})
    samples = [one for family in collect(both, Attempts(), [stale, ours]) for one in family.samples]
    assert [one.value for one in samples if one.name == "model_accuracy"] == [0.9]


@pytest.mark.parametrize("text", ["{", "[]", '{"stage": "production"}', '{"stage": "A", "endpoint": "b"}'])
def test_a_file_that_cannot_be_read_costs_the_others_nothing(tmp_path: Path, text: str) -> None:
    leave(tmp_path, evidence())
    (tmp_path / "production.aaa.json").write_text(text)
    assert [one.endpoint for one in found_in(tmp_path)] == ["churn"]


@pytest.mark.parametrize(
    "samples",
    [
        {"model_predictions_total": [(("churn",), 1)]},
        {"model_accuracy": [(("churn",), 1)]},
        {"model_accuracy": [(("churn", str(n)), 1) for n in range(MAX_SAMPLES + 1)]},
    ],
)
def test_unknown_unlabelled_or_unbounded_samples_are_no_evidence(samples: Any) -> None:
    with pytest.raises(ConfigError):
        evidence(**samples)


# -- the address -------------------------------------------------------------------------------------------------------


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    made = Exporter(port=0, evidence=tmp_path, ask_gateway=lambda: b"envoy_x 1\n")
    made.start()
    yield made
    made.stop()


def get(exporter: Exporter, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{exporter.address}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_address_shows_the_newest_snapshot_in_prometheus_text(exporter: Exporter, snapshot: Snapshot) -> None:
    assert get(exporter, "/metrics")[0] == 503
    exporter.snapshot = snapshot
    code, text = get(exporter, "/metrics")
    assert code == 200
    assert "modelserve_commit_applied" in {family.name for family in text_string_to_metric_families(text)}
    assert get(exporter, "/gateway") == (200, "envoy_x 1\n")
    assert get(exporter, "/secret")[0] == 404


def test_discovery_lists_ready_processes_under_names_that_a_restart_keeps(
    exporter: Exporter, snapshot: Snapshot
) -> None:
    exporter.snapshot = replace(snapshot, bentos=(Bento(unit="churn@1", slot=0, port=18001),))
    listed = json.loads(get(exporter, "/targets")[1])
    assert [group["labels"]["component"] for group in listed] == ["agent", "gateway", "bento"]
    labels = {"component": "bento", "instance": "churn@1/0", "stage": "production"}
    assert listed[2] == {"targets": ["127.0.0.1:18001"], "labels": labels}


def test_an_envoy_that_is_away_is_said(exporter: Exporter) -> None:
    def away() -> bytes:
        raise GatewayError("Envoy does not answer")

    exporter.ask_gateway = away
    assert get(exporter, "/gateway") == (503, "Envoy does not answer\n")


def test_a_taken_port_gives_way_to_a_free_one(exporter: Exporter, tmp_path: Path) -> None:
    taken = int(exporter.address.rpartition(":")[2])
    second = Exporter(port=taken, evidence=tmp_path, ask_gateway=bytes)
    second.start()
    try:
        assert second.address not in {"", exporter.address}
        assert get(second, "/gateway")[0] == 200
    finally:
        second.stop()
