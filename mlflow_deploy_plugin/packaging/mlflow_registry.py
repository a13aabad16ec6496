"""The door to MLflow: names become versions, URIs become folders, failures become one line.

MLflow is imported when a verb is called, not before. Its progress bars and notes never reach standard output, which
belongs to the command. A server that is away is waited for seconds, not the minutes of MLflow's default.
"""

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

from mlflow_deploy_plugin.errors import ModelError
from mlflow_deploy_plugin.packaging.registry import Entry

Answer = TypeVar("Answer")

QUIET: Final = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
"""Set while a verb runs, each only where the user did not set it."""

MISSING: Final = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "BAD_REQUEST", "NOT_FOUND"})
SHOWN: Final = 8


class MlflowRegistry:
    """The registry and the tracking server that MLflow's own settings name."""

    def version(self, name: str, version: str) -> Entry:
        """The version of that number."""
        return self._entry(lambda client: client.get_model_version(name, version), f"models:/{name}/{version}", name)

    def alias(self, name: str, alias: str) -> Entry:
        """The version that the alias points at now."""
        uri = f"models:/{name}@{alias}"
        return self._entry(lambda client: client.get_model_version_by_alias(name, alias), uri, name)

    def latest(self, name: str, stage: str) -> Entry:
        """The newest version; stages are deprecated in MLflow, and still resolved."""

        def newest(client: Any) -> Any:  # noqa: ANN401  MLflow's entities have no types
            if stage:
                found = client.get_latest_versions(name, [stage])
            else:
                found = client.search_model_versions(f"name = '{_quoted(name)}'")
            return max(found, key=lambda each: int(each.version), default=None)

        return self._entry(newest, f"models:/{name}/{stage or 'latest'}", name)

    def logged(self, model_id: str) -> Entry:
        """The logged model of that id."""
        found = _ask(lambda client: client.get_logged_model(model_id), f"models:/{model_id}", lambda _: "")
        return Entry(name=found.name, run_id=found.source_run_id or "", model_id=model_id)

    def run_tags(self, run_id: str) -> Mapping[str, str]:
        """Tags of a run; empty where the run is gone."""
        with quiet_mlflow() as mlflow:
            try:
                return dict(mlflow.MlflowClient().get_run(run_id).data.tags)
            except mlflow.exceptions.MlflowException as error:
                if error.error_code in MISSING:
                    return {}
                raise _unreachable(f"run {run_id!r}", error) from error

    def download(self, uri: str, into: Path) -> Path:
        """Copy the artifact of ``uri`` into ``into``."""
        with quiet_mlflow() as mlflow:
            try:
                return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(into)))
            except OSError as error:
                if isinstance(error, FileNotFoundError) or _is_connection(error):
                    raise _no_artifact(uri, error) from error
                raise  # the disk: packaging says where
            except Exception as error:  # each artifact store has its own errors: boto, azure, requests
                raise _no_artifact(uri, error) from error

    def _entry(self, ask: Callable[[Any], Any], what: str, name: str) -> Entry:
        found = _ask(ask, what, lambda client: _known(client, name))
        if found.status != "READY":
            raise ModelError(f"{what} is {found.status}, not READY; {found.status_message or 'register it again'}")
        model_id = found.model_id or (str(found.source).removeprefix("models:/") if _is_logged(found.source) else "")
        return Entry(name=found.name, version=str(found.version), run_id=found.run_id or "", model_id=model_id)


def _is_logged(source: object) -> bool:
    return str(source).startswith("models:/m-")


def _ask(ask: Callable[[Any], Answer | None], what: str, known: Callable[[Any], str]) -> Answer:
    """The registry's answer; an absent one is explained by what ``known`` finds instead."""
    with quiet_mlflow() as mlflow:
        client = mlflow.MlflowClient()
        try:
            found = ask(client)
        except mlflow.exceptions.MlflowException as error:
            if error.error_code in MISSING:
                raise ModelError(_absent(what, known(client))) from error
            raise _unreachable(what, error) from error
        if found is None:
            raise ModelError(_absent(what, known(client)))
        return found


def _known(client: Any, name: str) -> str:  # noqa: ANN401
    """What a person may have meant: the model's versions and aliases, else the registered names."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    try:
        model = client.get_registered_model(name)
        versions = [str(each.version) for each in client.search_model_versions(f"name = '{_quoted(name)}'")]
    except MlflowException:
        names = [each.name for each in client.search_registered_models(max_results=SHOWN)]
        return f"; registered: {', '.join(names) or 'none'}"
    return f"; versions: {', '.join(versions[:SHOWN]) or 'none'}, aliases: {', '.join(model.aliases) or 'none'}"


def _absent(what: str, known: str) -> str:
    return f"{what!r} is not in the registry {_address()}{known}; set MLFLOW_TRACKING_URI where it lies elsewhere"


def _unreachable(what: str, error: Exception) -> ModelError:
    return ModelError(
        f"cannot look up {what!r}: the registry {_address()} does not answer ({_first_line(error)});"
        " start it, check the credentials, or set MLFLOW_TRACKING_URI"
    )


def _no_artifact(uri: str, error: Exception) -> ModelError:
    return ModelError(
        f"cannot download {uri!r} ({_first_line(error)}); check the path, the credentials"
        f" and MLFLOW_TRACKING_URI, now {_address()}"
    )


def _is_connection(error: OSError) -> bool:
    import requests  # noqa: PLC0415  MLflow's own client

    return isinstance(error, requests.RequestException | ConnectionError)


def _address() -> str:
    import mlflow  # noqa: PLC0415

    return repr(str(mlflow.get_registry_uri()))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


def _quoted(name: str) -> str:
    return name.replace("'", "\\'")


@contextlib.contextmanager
def quiet_mlflow() -> Iterator[ModuleType]:
    """MLflow, imported, and silent on standard output while it works for us."""
    added = {name: text for name, text in QUIET.items() if name not in os.environ}
    os.environ.update(added)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            import mlflow  # noqa: PLC0415

            yield mlflow
    finally:
        for name in added:
            os.environ.pop(name, None)
