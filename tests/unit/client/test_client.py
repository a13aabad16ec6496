import inspect
import json
import re
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from mlflow.deployments import PredictionsResponse, get_deploy_client
from mlflow.deployments.base import BaseDeploymentClient
from mlflow.exceptions import MlflowException

from mlflow_deploy_plugin import client as plugin_module
from mlflow_deploy_plugin.agent.client import Refused, TimedOut
from mlflow_deploy_plugin.agent.status import DeploymentStatus
from mlflow_deploy_plugin.errors import ScoringError
from mlflow_deploy_plugin.packaging.machine import FakeMachine, Free
from mlflow_deploy_plugin.scoring import Address, FakeScorer
from mlflow_deploy_plugin.targets.fake import applied, make_status


@pytest.fixture
def served(world: Any) -> Any:
    """``churn`` with all users, ``churn-v4`` with a tenth of them."""
    client = world.client()
    client.create_deployment("churn", "models:/churn/1")
    client.create_deployment("churn-v4", "models:/churn/4", config={"weight": "10"}, endpoint="churn")
    return client


def code(raised: pytest.ExceptionInfo[MlflowException]) -> str:
    return str(raised.value.error_code)


def test_mlflow_finds_one_client_and_both_functions() -> None:
    found = [
        value
        for value in vars(plugin_module).values()
        if inspect.isclass(value) and issubclass(value, BaseDeploymentClient) and value is not BaseDeploymentClient
    ]
    assert found == [plugin_module.ModelserveClient]
    assert list(inspect.signature(plugin_module.run_local).parameters) == ["name", "model_uri", "flavor", "config"]


def test_mlflow_loads_it_by_its_entry_point(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("MODELSERVE_HOME", str(tmp_path / "home"))
    loaded = get_deploy_client("modelserve")
    assert isinstance(loaded, plugin_module.ModelserveClient)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "method",
    [
        name
        for name, function in vars(BaseDeploymentClient).items()
        if inspect.isfunction(function) and not name.startswith("_")
    ],
)
def test_every_method_has_mlflow_s_parameters(method: str) -> None:
    ours = inspect.signature(getattr(plugin_module.ModelserveClient, method))
    theirs = inspect.signature(getattr(BaseDeploymentClient, method))
    assert list(ours.parameters) == list(theirs.parameters)
    assert [p.default for p in ours.parameters.values()] == [p.default for p in theirs.parameters.values()]


def test_a_created_deployment_is_described(world: Any) -> None:
    view = world.client().create_deployment("churn", "models:/churn/1")
    assert (view["name"], view["flavor"], view["endpoint"], view["weight"]) == (
        "churn",
        "python_function",
        "churn",
        100,
    )
    assert (view["model_uri"], view["change"], view["bento"]) == (
        "models:/churn/1",
        "applied",
        "churn:0000000000000001",
    )
    assert view["commit"] == world.repository.head().sha
    assert world.agent.asked == [view["commit"]]


def test_the_agent_is_started_before_anything_is_committed(world: Any) -> None:
    world.agent.broken = "port 8080 is taken; set MODELSERVE_PORT"
    with pytest.raises(MlflowException, match="MODELSERVE_PORT"):
        world.client().create_deployment("churn", "models:/churn/1")
    assert world.client().list_deployments() == []
    assert world.packager.asked == []


def test_a_second_create_is_refused_with_the_way_out_and_packages_nothing(served: Any, world: Any) -> None:
    packaged = len(world.packager.asked)
    with pytest.raises(MlflowException, match="mlflow deployments update") as raised:
        served.create_deployment("churn", "models:/churn/1")
    assert code(raised) == "RESOURCE_ALREADY_EXISTS"
    assert len(world.packager.asked) == packaged


def test_of_two_creates_at_once_one_is_refused(world: Any) -> None:
    def rival(_repository: Any) -> None:
        world.client().create_deployment("churn", "models:/churn/1")

    world.repository.rivals.append(rival)
    with pytest.raises(MlflowException, match="exists already") as raised:
        world.client().create_deployment("churn", "models:/churn/2")
    assert code(raised) == "RESOURCE_ALREADY_EXISTS"
    assert world.client().get_deployment("churn")["model_uri"] == "models:/churn/1"


def test_of_two_splits_at_once_the_later_is_decided_on_the_earlier(served: Any, world: Any) -> None:
    def rival(_repository: Any) -> None:
        world.client().create_deployment("other", "models:/other/1")

    world.repository.rivals.append(rival)
    assert served.update_endpoint("churn", {"traffic": "churn=50,churn-v4=50"})["traffic"] == "churn=50,churn-v4=50"
    assert [endpoint["name"] for endpoint in served.list_endpoints()] == ["churn", "other"]


@pytest.mark.parametrize(
    ("name", "slug"),
    [("Churn", "churn"), ("my model", "my-model"), ("a/b", "a-b"), ("", "model"), ("x" * 51, "x" * 50)],
)
def test_a_name_that_cannot_be_is_refused_with_one_that_can(world: Any, name: str, slug: str) -> None:
    with pytest.raises(MlflowException, match=f"use '{slug}'") as raised:
        world.client().create_deployment(name, "models:/churn/1")
    assert code(raised) == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"log_drop": "age,adress"}, "log_drop='adress' is no input in the model's signature; did you mean 'address'?"),
        ({"log_hash": "AGE"}, "log_hash='AGE' is no input in the model's signature; did you mean 'age'?"),
        ({"log_drop": "zip"}, "log_drop='zip' is no input in the model's signature; it takes 'age', 'address'"),
    ],
)
def test_a_column_that_is_to_be_kept_from_the_log_must_be_one_that_the_model_takes(
    world: Any, given: dict[str, str], told: str
) -> None:
    world.columns = ("age", "address")
    with pytest.raises(MlflowException, match=re.escape(told)) as raised:
        world.client().create_deployment("churn", "models:/churn/1", config=given)
    assert code(raised) == "INVALID_PARAMETER_VALUE"
    assert world.client().list_deployments() == []
    world.client().create_deployment("churn", "models:/churn/1", config={"log_drop": "age", "log_hash": "address"})
    world.columns = ()  # a model that does not say what it takes
    world.client().create_deployment("other", "models:/other/1", config=given)


@pytest.mark.parametrize("flavor", ["sklearn", "pytorch", ""])
def test_another_flavor_is_refused(world: Any, flavor: str) -> None:
    with pytest.raises(MlflowException, match="python_function"):
        world.client().create_deployment("churn", "models:/churn/1", flavor)


def test_keys_become_settings(world: Any) -> None:
    config = {"replicas": "2", "cpu": "500m", "log": "full", "max_batch_size": "8"}
    view = world.client().create_deployment("churn", "models:/churn/1", "python_function", config)
    assert (view["replicas"], view["cpu"]) == (2, "500m")
    deployment = world.open_target("modelserve").stage().deployment("churn")
    assert deployment.environment["MODELSERVE_MAX_BATCH_SIZE"] == "8"


def test_an_unknown_key_is_refused_with_the_nearest(world: Any) -> None:
    with pytest.raises(MlflowException, match="replicas"):
        world.client().create_deployment("churn", "models:/churn/1", config={"replica": 2})


def test_too_few_gpus_are_refused_with_what_was_found(world: Any) -> None:
    world.gpus = 1
    with pytest.raises(MlflowException, match=r"has 1 .*gpu=auto"):
        world.client().create_deployment("churn", "models:/churn/1", config={"gpu": 2})
    assert world.client().create_deployment("churn", "models:/churn/1", config={"gpu": "auto"})["gpu"] == 1
    assert world.open_target("modelserve").stage().deployment("churn").environment["MODELSERVE_GPUS"] == "1"


def test_gpus_that_another_deployment_has_are_taken_and_auto_is_the_cpu_then(world: Any) -> None:
    world.gpus = 1
    world.client().create_deployment("churn", "models:/churn/1", config={"gpu": 1})
    with pytest.raises(MlflowException, match="taken: churn 1"):
        world.client().create_deployment("other", "models:/churn/2", config={"gpu": 1})
    assert world.client().create_deployment("other", "models:/churn/2", config={"gpu": "auto"})["gpu"] == 0
    assert world.client().update_deployment("churn", "models:/churn/3", config={"gpu": 1})["gpu"] == 1


def test_a_gpu_without_room_is_refused_and_auto_is_the_cpu_then(world: Any) -> None:
    world.gpus = 1
    world.machine = FakeMachine(free_gpus=(1024**3,), models={"churn:0000000000000001": 2 * 1024**3})
    with pytest.raises(MlflowException, match=r"needs 1 GPU with at least 2,048 MiB .*-C gpu=0"):
        world.client().create_deployment("churn", "models:/churn/1", config={"gpu": 1})
    assert world.client().create_deployment("churn", "models:/churn/1", config={"gpu": "auto"})["gpu"] == 0


def test_a_model_that_does_not_fit_beside_what_runs_is_refused(world: Any) -> None:
    world.machine = FakeMachine(free=Free(1024**3, "the test"), workers={"churn:0000000000000001": 2 * 1024**3})
    with pytest.raises(MlflowException, match="this machine has 1,024 MiB left"):
        world.client().create_deployment("churn", "models:/churn/1")
    assert world.client().list_deployments() == []
    world.client().create_deployment("churn", "models:/churn/1", config={"memory": "512Mi"})
    with pytest.raises(MlflowException, match="1,536 MiB by its declared memory"):
        world.client().update_deployment("churn", config={"replicas": 4})


def test_a_model_that_cannot_be_packaged_leaves_no_commit(world: Any) -> None:
    with pytest.raises(MlflowException, match="no model at"):
        world.client().create_deployment("churn", "models:/churn/latest")
    assert world.client().list_deployments() == []


def test_a_version_joins_with_its_share(served: Any) -> None:
    assert [(d["name"], d["weight"]) for d in served.list_deployments("churn")] == [("churn", 90), ("churn-v4", 10)]
    assert served.get_endpoint("churn")["traffic"] == "churn=90,churn-v4=10"


@pytest.mark.parametrize("traffic", ["churn=75,churn-v4=25", {"churn": 75, "churn-v4": 25}])
def test_the_split_is_set(served: Any, traffic: object) -> None:
    assert served.update_endpoint("churn", {"traffic": traffic})["traffic"] == "churn=75,churn-v4=25"


def test_the_same_wish_twice_is_unchanged(served: Any, world: Any) -> None:
    assert served.update_deployment("churn", "models:/churn/2")["change"] == "applied"
    before = world.repository.head().sha
    assert served.update_deployment("churn", "models:/churn/2")["change"] == "unchanged"
    assert served.update_endpoint("churn", {"traffic": "churn=90,churn-v4=10"})["change"] == "unchanged"
    assert world.repository.head().sha == before


def test_an_update_changes_only_what_was_named(served: Any) -> None:
    view = served.update_deployment("churn", config={"replicas": "3"})
    assert (view["replicas"], view["model_uri"], view["flavor"]) == (3, "models:/churn/1", "python_function")
    view = served.update_deployment("churn", "models:/churn/2")
    assert (view["replicas"], view["model_uri"]) == (3, "models:/churn/2")


def test_an_update_of_nothing_is_refused(served: Any) -> None:
    with pytest.raises(MlflowException, match="nothing says what to change"):
        served.update_deployment("churn")


def test_an_update_of_what_is_not_there_is_refused(served: Any) -> None:
    with pytest.raises(MlflowException, match="known: churn, churn-v4") as raised:
        served.update_deployment("nobody", "models:/churn/2")
    assert code(raised) == "RESOURCE_DOES_NOT_EXIST"


def test_delete_is_idempotent_and_minds_the_users(served: Any) -> None:
    with pytest.raises(MlflowException, match="takes 10%") as raised:
        served.delete_deployment("churn-v4")
    assert code(raised) == "RESOURCE_CONFLICT"
    served.update_endpoint("churn", {"traffic": "churn=100"})
    assert [served.delete_deployment("churn-v4"), served.delete_deployment("churn-v4")] == [None, None]
    assert served.delete_deployment("churn") is None
    assert served.list_endpoints() == []


def test_delete_endpoint_takes_all_and_is_idempotent(served: Any) -> None:
    assert [served.delete_endpoint("churn"), served.delete_endpoint("churn")] == [None, None]
    assert served.list_deployments() == []


def test_what_is_not_there_is_said_so(world: Any) -> None:
    for ask in (world.client().get_deployment, world.client().get_endpoint, world.client().list_deployments):
        with pytest.raises(MlflowException, match="known: none") as raised:
            ask("nobody")
        assert code(raised) == "RESOURCE_DOES_NOT_EXIST"


def test_create_endpoint_says_how_an_endpoint_comes_into_being(world: Any) -> None:
    assert world.client().create_endpoint("churn") == {"name": "churn", "state": "empty", "deployments": []}
    assert "mlflow deployments create --endpoint churn" in world.said[-1]


def test_create_endpoint_with_a_model_makes_its_first_deployment(world: Any) -> None:
    view = world.client().create_endpoint("churn", {"model_uri": "models:/churn/1", "replicas": 2})
    assert (view["name"], view["traffic"]) == ("churn", "churn=100")
    with pytest.raises(MlflowException, match="exists already") as raised:
        world.client().create_endpoint("churn")
    assert code(raised) == "RESOURCE_ALREADY_EXISTS"


def test_a_commit_that_is_refused_is_taken_back_and_both_commits_are_named(served: Any, world: Any) -> None:
    def refuse_version_5(commit: str) -> Any:
        text = "".join(world.repository.files(commit).values())
        return Refused(reason="churn: the model raised ValueError") if "models:/churn/5" in text else applied(commit)

    world.agent.word = refuse_version_5
    good = world.repository.files(world.repository.head().sha)
    with pytest.raises(MlflowException, match="the model raised ValueError; endpoint 'churn' is as before") as raised:
        served.update_deployment("churn", "models:/churn/5")
    restoring, failed = [commit.sha for commit in world.repository.history()][:2]
    assert restoring[:9] in raised.value.message
    assert failed[:9] in raised.value.message
    assert world.repository.files(world.repository.head().sha) == good


def test_a_commit_that_is_not_live_in_time_is_taken_back(world: Any) -> None:
    world.agent.word = lambda _: TimedOut()
    with pytest.raises(MlflowException, match="wait_s"):
        world.client().create_deployment("churn", "models:/churn/1", config={"wait_s": 1})
    assert world.client().list_endpoints() == []


def test_ctrl_c_says_what_was_committed(world: Any) -> None:
    def interrupt(_commit: str) -> Any:
        raise KeyboardInterrupt

    world.agent.word = interrupt
    with pytest.raises(KeyboardInterrupt):
        world.client().create_deployment("churn", "models:/churn/1")
    assert world.repository.head().sha[:9] in world.said[-1]
    assert "undo" in world.said[-1]


def test_predict_pins_a_deployment_or_takes_the_split(served: Any, world: Any) -> None:
    assert served.predict("churn-v4", pd.DataFrame({"a": [1]})) == {"predictions": [1]}
    assert isinstance(served.predict(endpoint="churn", inputs=[[1]]), PredictionsResponse)
    pinned, split = [address for verb, address, _ in world.scorer.sent if verb == "invocations"]
    assert (pinned.deployment, pinned.endpoint, split.deployment, split.endpoint) == ("churn-v4", "churn", "", "churn")
    assert world.scorer.sent[-1][2] == {"inputs": [[1]]}


def test_a_prediction_waits_for_an_agent_that_serves_the_endpoint(served: Any, world: Any) -> None:
    awake, world.agent.said, asked = world.agent.said, None, len(world.agent.asked)

    def wake(_commit: str) -> Any:
        world.agent.said = awake
        return applied(_commit)

    world.agent.word = wake
    assert served.predict("churn", [[1]]) == {"predictions": [1]}
    assert len(world.agent.asked) == asked + 1


def test_a_prediction_waits_for_models_that_start(served: Any, world: Any) -> None:
    starting = DeploymentStatus(endpoint="churn", state="starting")
    world.agent.said = replace(world.agent.said, deployments={"churn": starting})
    served.predict("churn", [[1]])
    assert world.agent.waits == 1
    world.agent.said = replace(world.agent.said, deployments={"churn": replace(starting, state="ready")})
    served.predict("churn", [[1]])
    assert world.agent.waits == 1


def test_an_endpoint_that_is_not_served_is_an_error_with_the_reason(served: Any, world: Any) -> None:
    world.agent.said = make_status()
    world.agent.word = lambda _: Refused(reason="the model raised ValueError")
    with pytest.raises(MlflowException, match="does not serve endpoint 'churn': the model raised ValueError"):
        served.predict("churn", [[1]])


@pytest.mark.parametrize("arguments", [{}, {"deployment_name": "churn", "endpoint": "churn"}])
def test_predict_wants_exactly_one_address(served: Any, arguments: dict[str, str]) -> None:
    with pytest.raises(MlflowException, match="exactly one"):
        served.predict(inputs=[[1]], **arguments)


def test_predictions_are_cast_by_the_bento_s_signature(served: Any, world: Any) -> None:
    folder = world.home.bento("churn:0000000000000001") / "src" / "model"
    folder.mkdir(parents=True)
    columns = json.dumps([{"name": "zip", "type": "string", "required": True}])
    (folder / "MLmodel").write_text(f"signature:\n  inputs: '{columns}'\n")
    served.predict("churn", pd.DataFrame({"zip": [95120]}))
    assert world.scorer.sent[-1][2] == {"dataframe_split": {"columns": ["zip"], "data": [["95120"]]}}


def test_without_a_bento_the_model_is_asked_for_its_signature(served: Any, world: Any) -> None:
    world.scorer.metadata_answer = {"inputs": [{"name": "zip", "datatype": "BYTES", "shape": [-1]}]}
    served.predict(endpoint="churn", inputs=pd.DataFrame({"zip": [95120]}))
    assert world.scorer.sent[-1][2] == {"dataframe_split": {"columns": ["zip"], "data": [["95120"]]}}


def test_the_server_s_refusal_reaches_the_caller(served: Any, world: Any) -> None:
    world.scorer.error = ScoringError("http://x answered 400: no column 'a'", status=400)
    with pytest.raises(MlflowException, match="no column 'a'") as raised:
        served.predict("churn", [[1]])
    assert (code(raised), raised.value.get_http_status_code()) == ("BAD_REQUEST", 400)


def test_an_answer_of_a_language_model_stays_unwrapped(served: Any, world: Any) -> None:
    world.scorer.answer = {"choices": [{"index": 0}]}
    assert json.loads(served.predict("churn", {"messages": [{"role": "user"}]}).to_json()) == {
        "choices": [{"index": 0}]
    }


def test_a_stream_gives_events_and_speaks_mlflow_too(served: Any, world: Any) -> None:
    assert list(served.predict_stream("churn", {"inputs": ["x"]})) == [{"predictions": [1]}]
    world.scorer.error = ScoringError("broken", status=500)
    with pytest.raises(MlflowException, match="broken"):
        list(served.predict_stream("churn", {"inputs": ["x"]}))


def test_an_explanation_is_the_servers_own_where_it_has_one(served: Any, world: Any) -> None:
    world.scorer.answer = {"values": [[0.5]]}
    assert served.explain(endpoint="churn", df=pd.DataFrame({"a": [1]})) == {"values": [[0.5]]}
    assert world.scorer.sent[-1][1].deployment == "churn"  # stable: a split would mix two models


def test_one_row_without_a_training_sample_cannot_be_explained(served: Any, world: Any) -> None:
    world.scorer.unexplained = ScoringError("answered 404", status=404)
    with pytest.raises(MlflowException, match="log_reference"):
        served.explain("churn", pd.DataFrame({"a": [1]}))


class Lengths(FakeScorer):
    """Explains nothing, and answers how long each row's word is."""

    def invoke(self, address: Address, body: dict[str, Any]) -> Any:
        self.sent.append(("invocations", address, body))
        return {"predictions": [len(word) for (word,) in body["dataframe_split"]["data"]]}


@pytest.mark.usefixtures("served")
def test_text_is_explained_from_outside_where_the_server_explains_nothing(world: Any) -> None:
    world.scorer = Lengths(unexplained=ScoringError("SHAP is missing", status=501))
    said = world.client().explain("churn", pd.DataFrame({"plan": ["gold", "silver"]}))
    assert (said["deployment"], said["method"]) == ("churn", "exact")
    assert (said["base"], said["attributions"]) == ([5.0, 5.0], [[-1.0], [1.0]])


def test_help_lists_every_key_and_names_the_broken_command() -> None:
    text = plugin_module.target_help()
    assert all(word in text for word in ("max_batch_size", "traffic", "wait_s", "create-endpoint", "MODELSERVE_HOME"))
