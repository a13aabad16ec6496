"""From a model URI to one model, written down so that it means the same tomorrow."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import assert_never

from mlflow_deploy_plugin.errors import ModelError
from mlflow_deploy_plugin.packaging import model_uri
from mlflow_deploy_plugin.packaging.registry import Entry, Registry
from mlflow_deploy_plugin.spec.names import slug


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """One model: no alias, no ``latest``."""

    uri: str
    name: str
    """Registered name, or a slug of the source's last segment."""
    version: str = ""
    run_id: str = ""
    model_id: str = ""


def resolve(uri: str, registry: Registry) -> Resolved:  # noqa: PLR0911  one return for each form
    """The model that ``uri`` means now.

    >>> from mlflow_deploy_plugin.packaging.fake import FakeRegistry
    >>> registry = FakeRegistry(entries=[Entry(name="churn", version="4")], aliases={("churn", "champion"): "4"})
    >>> resolve("models:/churn@champion", registry).uri
    'models:/churn/4'

    Raises:
        ModelError: no such model, or the registry does not answer.
    """
    match model_uri.parse(uri):
        case model_uri.Version(name, version):
            return _registered(registry.version(name, version))
        case model_uri.Alias(name, alias):
            return _registered(registry.alias(name, alias))
        case model_uri.Latest(name, stage):
            return _registered(registry.latest(name, stage))
        case model_uri.Logged(model_id):
            entry = registry.logged(model_id)
            return Resolved(uri=f"models:/{model_id}", name=slug(entry.name), run_id=entry.run_id, model_id=model_id)
        case model_uri.RunArtifact(run_id, path):
            return Resolved(uri=f"runs:/{run_id}/{path}", name=slug(PurePosixPath(path).name), run_id=run_id)
        case model_uri.Folder(path):
            return _folder(path)
        case model_uri.Remote(text):
            return Resolved(uri=text, name=slug(PurePosixPath(text.rstrip("/")).name))
        case other:
            assert_never(other)


def _registered(entry: Entry) -> Resolved:
    return Resolved(
        uri=f"models:/{entry.name}/{entry.version}",
        name=entry.name,
        version=entry.version,
        run_id=entry.run_id,
        model_id=entry.model_id,
    )


def _folder(text: str) -> Resolved:
    path = Path(text).expanduser().absolute()
    if not path.is_dir():
        raise ModelError(f"model {text!r} is no folder on this machine; write {model_uri.FORMS}")
    return Resolved(uri=path.as_uri(), name=slug(path.name))
