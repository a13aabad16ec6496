"""The training sample that drift is measured against: logged beside a model, found again, carried in the Bento.

>>> import pandas as pd
>>> require_supported(pd.DataFrame({"age": [31.0], "plan": ["basic"]}))
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.errors import ConfigError, ModelError
from mlflow_deploy_plugin.packaging import digest
from mlflow_deploy_plugin.packaging.registry import Registry
from mlflow_deploy_plugin.spec.bento import REFERENCE_FILE

if TYPE_CHECKING:
    import pandas as pd

ARTIFACT_FOLDER: Final = "modelserve"
ARTIFACT: Final = f"{ARTIFACT_FOLDER}/{REFERENCE_FILE}"
DIGEST_TAG: Final = "modelserve.reference.sha256"
READERS: Final = {".csv": "read_csv", ".parquet": "read_parquet", ".pq": "read_parquet"}


def log_reference(df: "pd.DataFrame", *, run_id: str | None = None) -> str:
    """Log ``df``, the features (and target, if wanted) that a model was trained on, with its run; its digest.

    ::

        with mlflow.start_run():
            mlflow.sklearn.log_model(model, name="model", registered_model_name="churn")
            mlflow_deploy_plugin.log_reference(X_train)

    Args:
        df: columns that hold numbers, text, booleans, categories or times.
        run_id: the model's run; the active one where it is not given.

    Raises:
        ConfigError: no run, or a column that cannot be compared.
    """
    import tempfile  # noqa: PLC0415

    import mlflow  # noqa: PLC0415

    active = mlflow.active_run()
    run = run_id or (active.info.run_id if active else None)
    if run is None:
        raise ConfigError("no run is active; call log_reference inside 'with mlflow.start_run():' or give run_id=")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, REFERENCE_FILE)
        write(df, path)
        found = digest.of_file(path)
        client = mlflow.MlflowClient()
        client.log_artifact(run, str(path), ARTIFACT_FOLDER)
        client.set_tag(run, DIGEST_TAG, found)
    return found


def fetch(given: str, *, run_id: str, registry: Registry, into: Path) -> Path | None:
    """The reference in folder ``into``: the file ``given``, else what the run logged, else ``None``.

    Raises:
        ConfigError: the given file is none, or has a column that cannot be compared.
        ModelError: the run's reference is gone or was changed.
    """
    if given:
        return _converted(Path(given).expanduser(), into)
    expected = registry.run_tags(run_id).get(DIGEST_TAG, "") if run_id else ""
    if not expected:
        return None
    path = registry.download(f"runs:/{run_id}/{ARTIFACT}", into)
    if (found := digest.of_file(path)) != expected:
        raise ModelError(f"reference of run {run_id} is {found}, its tag says {expected}; log it again")
    return path


def write(df: "pd.DataFrame", path: Path) -> None:
    """Write ``df`` as Parquet, without its index.

    Raises:
        ConfigError: a column that cannot be compared.
    """
    require_supported(df)
    df.to_parquet(path, index=False)


def require_supported(df: object) -> None:
    """Refuse what no drift test can compare.

    Raises:
        ConfigError: no data frame, no rows, a name that is no text or comes twice, a column of other things.
    """
    import pandas as pd  # noqa: PLC0415

    if not isinstance(df, pd.DataFrame):
        raise ConfigError(f"the reference is a {type(df).__name__}, not a pandas DataFrame; wrap it in one")
    if df.empty:
        raise ConfigError("the reference has no rows or no columns; log a sample of the training data")
    for name in df.columns:
        if not isinstance(name, str) or int((df.columns == name).sum()) > 1:
            raise ConfigError(f"reference column {name!r} is no text or comes twice; rename it")
        if not _is_supported(df[name]):
            raise ConfigError(
                f"reference column {name!r} holds {df[name].dtype}, which cannot be compared;"
                " keep numbers, text, booleans, categories and times, or drop it"
            )


def _is_supported(column: "pd.Series") -> bool:
    from pandas.api import types  # noqa: PLC0415

    if types.is_object_dtype(column) or isinstance(column.dtype, _categorical()):
        return types.infer_dtype(column.dropna().astype(object), skipna=True) in {
            *("string", "boolean", "integer", "floating", "mixed-integer-float", "decimal", "empty", "datetime", "date")
        }
    if types.is_complex_dtype(column):
        return False
    kinds = (types.is_numeric_dtype, types.is_bool_dtype, types.is_string_dtype, types.is_datetime64_any_dtype)
    return any(is_kind(column) for is_kind in kinds)


def _categorical() -> type:
    import pandas as pd  # noqa: PLC0415

    return pd.CategoricalDtype


def _converted(path: Path, into: Path) -> Path:
    import pandas as pd  # noqa: PLC0415

    if path.suffix.lower() not in READERS or not path.is_file():
        raise ConfigError(f"-C reference={str(path)!r} is no CSV or Parquet file; name a .csv or .parquet that exists")
    try:
        df = getattr(pd, READERS[path.suffix.lower()])(path)
    except (ValueError, OSError) as error:  # pandas' and pyarrow's parsers raise subclasses of these
        first = str(error).strip().splitlines()[0]
        raise ConfigError(f"-C reference={str(path)!r} cannot be read ({first}); write it again") from error
    write(df, into / REFERENCE_FILE)
    return into / REFERENCE_FILE
