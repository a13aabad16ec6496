import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mlflow_deploy_plugin.errors import ConfigError, ModelError
from mlflow_deploy_plugin.packaging import digest, reference
from mlflow_deploy_plugin.packaging.fake import FakeRegistry


def test_ordinary_columns_can_be_compared() -> None:
    columns = {
        "whole": [1, 2],
        "real": [0.5, None],
        "text": ["a", None],
        "flag": [True, False],
        "kind": pd.Categorical(["x", "y"]),
        "when": pd.to_datetime(["2026-01-01", "2026-01-02"]),
        "nullable": pd.array([1, None], dtype="Int64"),
        "objects": pd.Series(["a", "b"], dtype=object),
    }
    reference.require_supported(pd.DataFrame(columns))


@pytest.mark.parametrize(
    ("df", "says"),
    [
        ([[1]], "is a list, not a pandas DataFrame"),
        (pd.DataFrame({"a": []}), "no rows"),
        (pd.DataFrame({1: [1]}), "is no text"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "comes twice"),
        (pd.DataFrame({"a": [[1], [2]]}), "holds object"),
        (pd.DataFrame({"a": [1j]}), "holds complex128"),
        (pd.DataFrame({"a": [1, "x"]}), "holds object"),
        (pd.DataFrame({"a": [{"b": 1}]}), "holds object"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(df: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        reference.require_supported(df)


def test_the_reference_that_a_run_logged_is_found_again(tmp_path: Path) -> None:
    logged = tmp_path / "reference.parquet"
    reference.write(pd.DataFrame({"a": [1, 2]}), logged)
    registry = FakeRegistry(
        folders={f"runs:/r/{reference.ARTIFACT}": logged},
        tags={"r": {reference.DIGEST_TAG: digest.of_file(logged)}},
    )
    (tmp_path / "into").mkdir()
    found = reference.fetch("", run_id="r", registry=registry, into=tmp_path / "into")
    assert found is not None
    assert pd.read_parquet(found).to_dict("list") == {"a": [1, 2]}


def test_a_reference_that_was_changed_since_is_refused(tmp_path: Path) -> None:
    logged = tmp_path / "reference.parquet"
    reference.write(pd.DataFrame({"a": [1, 2]}), logged)
    uri = f"runs:/r/{reference.ARTIFACT}"
    registry = FakeRegistry(folders={uri: logged}, tags={"r": {reference.DIGEST_TAG: "sha256:0"}})
    (tmp_path / "into").mkdir()
    with pytest.raises(ModelError, match="log it again"):
        reference.fetch("", run_id="r", registry=registry, into=tmp_path / "into")


def test_a_run_without_one_costs_no_download(tmp_path: Path) -> None:
    registry = FakeRegistry(tags={"r": {}})
    assert reference.fetch("", run_id="r", registry=registry, into=tmp_path) is None
    assert reference.fetch("", run_id="", registry=registry, into=tmp_path) is None
    assert registry.downloads == []


@pytest.mark.parametrize("name", ["train.csv", "train.parquet"])
def test_a_file_of_the_users_own_goes_before_it(tmp_path: Path, name: str) -> None:
    df = pd.DataFrame({"age": [31, 44], "plan": ["basic", "plus"]})
    path = tmp_path / name
    df.to_csv(path, index=False) if name.endswith("csv") else df.to_parquet(path)
    (tmp_path / "into").mkdir()
    found = reference.fetch(str(path), run_id="r", registry=FakeRegistry(), into=tmp_path / "into")
    assert found is not None
    assert pd.read_parquet(found).to_dict("list") == df.to_dict("list")


@pytest.mark.parametrize(("name", "content"), [("x.csv", b""), ("x.parquet", b"not parquet"), ("x.txt", b"a\n1\n")])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=name):
        reference.fetch(str(tmp_path / name), run_id="", registry=FakeRegistry(), into=tmp_path)


def test_the_package_offers_it_without_importing_it() -> None:
    code = (
        "import sys, mlflow_deploy_plugin as m;"
        "assert not {'mlflow', 'pandas', 'mlflow_deploy_plugin.packaging'} & set(sys.modules);"
        "assert callable(m.log_reference);"
        "assert not {'mlflow', 'pandas', 'bentoml'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
