import json
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin.config.keys import (
    DeleteConfig,
    DeploymentConfig,
    EndpointConfig,
    Keys,
    RunLocalConfig,
    UpdateConfig,
    describe,
    keys,
)
from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.spec.settings import ServingSettings

FAMILY = (DeploymentConfig, UpdateConfig, EndpointConfig, RunLocalConfig, DeleteConfig)
EXAMPLES: dict[str, tuple[Any, str]] = {
    # key: the value as Python gives it, the same as a shell gives it
    "device": ("cuda:0", "cuda:0"),
    "precision": ("bf16", "bf16"),
    "batching": (False, "off"),
    "override": (False, "off"),
    "torch_compile": (True, "on"),
    "cuda_graphs": (True, "on"),
    "max_batch_size": (8, "8"),
    "max_latency_ms": (12.5, "12.5"),
    "max_queue": (9, "9"),
    "timeout_s": (5, "5"),
    "max_body_bytes": (1024, "1024"),
    "log": ("off", "off"),
    "log_sample": (0.1, "0.1"),
    "log_flush_s": (2, "2"),
    "log_drop": (["age", "zip"], "age, zip"),
    "log_hash": (["name"], "name"),
    "model_config": ({"b": 1, "a": 2}, '{"b": 1, "a": 2}'),
    "replicas": (2, "2"),
    "workers": (3, "3"),
    "cpu": (0.5, "0.5"),
    "memory": ("2Gi", "2Gi"),
    "gpu": (1, "1"),
    "env_manager": ("uv", "uv"),
    "compile": (False, "off"),
    "reference": (Path("/data/train.csv"), "/data/train.csv"),
    "image": ("ghcr.io/me/churn@sha256:" + "0" * 64, "ghcr.io/me/churn@sha256:" + "0" * 64),
    "wait_s": (3, "3"),
    "weight": (12.5, "12.5"),
    "traffic": ({"churn": 90, "churn-v4": 10}, "churn=90,churn-v4=10"),
    "port": (8000, "8000"),
    "host": ("0.0.0.0", "0.0.0.0"),  # noqa: S104
}


@pytest.mark.parametrize("model", FAMILY)
def test_no_config_means_the_defaults(model: type[Keys]) -> None:
    assert model.parse(None) == model.parse({}) == model()
    assert model.parse(None).explicit == frozenset()


@pytest.mark.parametrize("model", FAMILY)
def test_text_and_typed_values_mean_the_same(model: type[Keys]) -> None:
    for key in keys(model):
        typed, text = EXAMPLES[key.name]
        assert model.parse({key.name: typed}) == model.parse({key.name: text}) != model(), key.name


@pytest.mark.parametrize("model", FAMILY)
def test_every_key_is_in_the_help_with_its_type_and_purpose(model: type[Keys]) -> None:
    table = describe(model)
    for key in keys(model):
        assert key.kind
        assert key.about
        assert f"\n{key.name} " in table


@pytest.mark.parametrize("model", FAMILY)
def test_a_default_that_the_help_shows_can_be_typed(model: type[Keys]) -> None:
    for key in keys(model):
        if key.default:
            assert model.parse({key.name: key.default}) == model(), key.name


def test_every_setting_of_a_process_has_a_key_with_its_default() -> None:
    told_by_who_starts_it = {
        *("endpoint", "deployment", "stage", "events_dir"),
        *("log_raw_dir", "log_key_file", "grpc_address"),
    }
    settings = set(ServingSettings.__dataclass_fields__) - told_by_who_starts_it
    assert settings <= {key.name for key in keys(DeploymentConfig)}
    assert DeploymentConfig().serving_settings() == ServingSettings()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("worker", "2", "did you mean 'workers'?"),
        ("max-batch-size", "2", "did you mean 'max_batch_size'?"),
        ("GPU", "2", "did you mean 'gpu'?"),
        ("zzz", "2", "known: batching"),
        ("workers", "zero", "a whole number, at least 1"),
        ("workers", True, "a whole number, at least 1"),
        ("workers", "0", "a whole number, at least 1"),
        ("gpu", "-1", "or auto"),
        ("gpu", "many", "or auto"),
        ("log_sample", "nan", "a number from 0 to 1"),
        ("log_sample", float("inf"), "a number from 0 to 1"),
        ("log_sample", "1.5", "a number from 0 to 1"),
        ("timeout_s", "", "a number above 0"),
        ("batching", "maybe", "on or off"),
        ("env_manager", "conda", "local or uv"),
        ("compile", "on-demand", "auto or off"),
        ("memory", "two", "Kubernetes quantity"),
        ("cpu", True, "Kubernetes quantity"),
        ("device", "CUDA 0", "cuda:0"),
        ("image", "churn:latest", "an image by digest"),
        ("model_config", "[1]", "a JSON object"),
        ("model_config", "{1", "a JSON object"),
        ("weight", "12.34", "in steps of 0.1"),
        ("weight", "101", "from 0 to 100"),
        ("weight", "-1", "from 0 to 100"),
        ("weight", True, "from 0 to 100"),
        ("weight", "nan", "from 0 to 100"),
        ("weight", "ten", "from 0 to 100"),
    ],
)
def test_a_wrong_key_is_refused_in_one_line_that_names_it_and_its_rule(name: str, value: object, says: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        DeploymentConfig.parse({name: value})
    message = str(refusal.value)
    assert message.startswith(f"-C {name}")
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize("word", ["true", "True", "1", "on", "YES", True, 1])
def test_a_switch_is_on_by_any_usual_word(word: object) -> None:
    assert DeploymentConfig.parse({"batching": word}).batching == "on"


@pytest.mark.parametrize("word", ["false", "False", "0", "off", "no", False, 0])
def test_a_switch_is_off_by_any_usual_word(word: object) -> None:
    assert DeploymentConfig.parse({"batching": word, "log": word}).serving_environment() == {
        "MODELSERVE_BATCHING": "off",
        "MODELSERVE_LOG": "off",
    }


def test_gpus_may_be_left_to_the_machine() -> None:
    assert DeploymentConfig.parse({"gpu": "auto"}).gpu == "auto"


@pytest.mark.parametrize(
    ("weight", "total"), [("10", 100), (0.1, 1), ("99.9", 999), (0, 0), ("100", 1000), ("33.3%", 333), (None, None)]
)
def test_a_weight_in_per_cent_becomes_a_weight_of_1000(weight: object, total: int | None) -> None:
    config = {} if weight is None else {"weight": weight}
    assert DeploymentConfig.parse(config).weight_total == total


def test_keys_become_the_environment_that_the_process_reads_back() -> None:
    config = DeploymentConfig.parse({name: text for name, (_, text) in EXAMPLES.items() if name in _serving_names()})
    environment = config.serving_environment(endpoint="churn", deployment="churn-v4", stage="staging")
    settings = ServingSettings.from_environment(environment)
    assert settings == config.serving_settings(endpoint="churn", deployment="churn-v4", stage="staging")
    assert settings.log_drop == "age,zip"
    assert json.loads(settings.model_config) == {"a": 2, "b": 1}


def test_resources_carry_the_granted_gpus() -> None:
    config = DeploymentConfig.parse({"gpu": "auto", "cpu": "2", "memory": "2Gi"})
    assert config.resources(gpu=1) == {"cpu": "2", "memory": "2Gi", "gpu": 1}


def test_an_update_changes_only_what_was_set() -> None:
    update = UpdateConfig.parse({"timeout_s": "5", "log": "full", "memory": "4Gi"})
    current = {"MODELSERVE_LOG": "off", "MODELSERVE_MAX_QUEUE": "7", "OMP_NUM_THREADS": "1"}
    assert update.explicit == {"timeout_s", "log", "memory"}
    assert update.update_environment(current) == {
        "OMP_NUM_THREADS": "1",
        "MODELSERVE_MAX_QUEUE": "7",
        "MODELSERVE_TIMEOUT_S": "5.0",
    }
    assert update.update_resources({"cpu": "1", "memory": "1Gi", "gpu": 2}, gpu=0) == {
        "cpu": "1",
        "memory": "4Gi",
        "gpu": 2,
    }


def test_an_update_knows_a_key_by_the_name_it_was_typed_with() -> None:
    update = UpdateConfig.parse({"model_config": "{}"})
    assert update.explicit == {"model_config"}
    assert update.update_environment({}) == {"MODELSERVE_MODEL_CONFIG": "{}"}


def test_an_update_of_a_weight_says_where_weights_are_set() -> None:
    with pytest.raises(ConfigError, match="update-endpoint"):
        UpdateConfig.parse({"weight": "10"})


@pytest.mark.parametrize(
    "traffic",
    [
        "churn=90,churn-v4=10",
        " churn = 90 , churn-v4 = 10 ",
        '{"churn": 90, "churn-v4": 10}',
        {"churn": 90.0, "churn-v4": "10"},
    ],
)
def test_traffic_is_shares_by_name(traffic: object) -> None:
    assert EndpointConfig.parse({"traffic": traffic}).weights == {"churn": 900, "churn-v4": 100}


@pytest.mark.parametrize(
    ("traffic", "says"),
    [
        ("a=90,b=5", "the shares sum to 95"),
        ("a=60,a=40", "'a' comes twice"),
        ('{"a": 60, "a": 40}', "'a' comes twice"),
        ("a", "has no '='"),
        ("a=50,B=50", "perhaps 'b'"),
        ("a=99.99,b=0.01", "shares that sum to 100"),
        ("", "has no '='"),
        ("{bad", "shares that sum to 100"),
        ({}, "the shares sum to 0"),
        (7, "has no '='"),
    ],
)
def test_traffic_that_does_not_add_up_is_refused(traffic: object, says: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        EndpointConfig.parse({"traffic": traffic})
    assert says in str(refusal.value)


def test_a_config_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        DeleteConfig().wait_s = 1.0


def _serving_names() -> set[str]:
    return set(ServingSettings.__dataclass_fields__)
