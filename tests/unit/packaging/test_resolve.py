from pathlib import Path

import pytest

from mlflow_deploy_plugin.errors import ModelError
from mlflow_deploy_plugin.packaging import model_uri
from mlflow_deploy_plugin.packaging.fake import FakeRegistry
from mlflow_deploy_plugin.packaging.registry import Entry
from mlflow_deploy_plugin.packaging.resolve import resolve


@pytest.fixture
def registry() -> FakeRegistry:
    entries = [
        Entry(name="My Churn", version="1", run_id="r1", model_id="m-1"),
        Entry(name="My Churn", version="2", run_id="r2", model_id="m-2"),
        Entry(name="fit_model", run_id="r3", model_id="m-3"),
    ]
    return FakeRegistry(entries=entries, aliases={("My Churn", "champion"): "1"})


@pytest.mark.parametrize(
    ("uri", "resolved", "name", "version", "run_id"),
    [
        ("models:/My Churn/1", "models:/My Churn/1", "My Churn", "1", "r1"),
        ("models:/My Churn@champion", "models:/My Churn/1", "My Churn", "1", "r1"),
        ("models:/My Churn/latest", "models:/My Churn/2", "My Churn", "2", "r2"),
        ("models:/m-3", "models:/m-3", "fit-model", "", "r3"),
        ("runs:/abc/deep/My Model", "runs:/abc/deep/My Model", "my-model", "", "abc"),
        ("s3://bucket/models/Churn/", "s3://bucket/models/Churn/", "churn", "", ""),
    ],
)
def test_every_form_names_one_model_for_good(  # noqa: PLR0913, PLR0917  a table's row
    registry: FakeRegistry, uri: str, resolved: str, name: str, version: str, run_id: str
) -> None:
    found = resolve(uri, registry)
    assert (found.uri, found.name, found.version, found.run_id) == (resolved, name, version, run_id)


def test_a_folder_is_named_by_its_whole_path(registry: FakeRegistry, tmp_path: Path) -> None:
    folder = tmp_path / "My Model"
    folder.mkdir()
    by_path, by_url = resolve(str(folder), registry), resolve(folder.as_uri(), registry)
    assert by_path == by_url
    assert by_path.name == "my-model"


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("", "is empty"),
        ("models:/", "names no model"),
        ("models://profile@databricks/churn/1", "names no model"),
        ("models:/churn", "not of a known form"),
        ("models:/team/churn/1", "has no '/'"),
        ("models:/@champion", "not of a known form"),
        ("models:/churn@", "not of a known form"),
        ("runs:/abc", "RUN_ID/PATH"),
        ("runs:/", "RUN_ID/PATH"),
        ("/nowhere/model", "no folder on this machine"),
        ("models:/other/1", "known: My Churn"),
    ],
)
def test_a_uri_that_names_nothing_is_refused_with_the_forms_that_do(
    registry: FakeRegistry, uri: str, says: str
) -> None:
    with pytest.raises(ModelError, match=says) as refusal:
        resolve(uri, registry)
    assert "\n" not in str(refusal.value)


def test_an_old_registry_stage_is_still_understood() -> None:
    assert model_uri.parse("models:/churn/Production") == model_uri.Latest("churn", "Production")


def test_a_registry_that_is_away_is_a_model_error(registry: FakeRegistry) -> None:
    registry.offline = True
    with pytest.raises(ModelError, match="does not answer"):
        resolve("models:/My Churn/1", registry)
