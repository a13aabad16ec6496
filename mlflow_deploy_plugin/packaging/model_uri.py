"""What a model URI says, before any registry is asked.

>>> parse("models:/My Model@champion")
Alias(name='My Model', alias='champion')
>>> parse("models:/m-0a1b")
Logged(model_id='m-0a1b')
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from mlflow_deploy_plugin.errors import ModelError

FORMS: Final = (
    "models:/NAME/VERSION, models:/NAME@ALIAS, models:/NAME/latest, models:/m-ID, runs:/RUN/PATH or a path of a folder"
)
LATEST: Final = "latest"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a registered model."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Alias:
    """Whatever version an alias points at now."""

    name: str
    alias: str


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest version, of a registry stage where one is named."""

    name: str
    stage: str = ""


@dataclass(frozen=True, slots=True)
class Logged:
    """A logged model by its id, registered or not."""

    model_id: str


@dataclass(frozen=True, slots=True)
class RunArtifact:
    """A model that a run logged under a path."""

    run_id: str
    path: str


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder on this machine."""

    path: str


@dataclass(frozen=True, slots=True)
class Remote:
    """An artifact that MLflow downloads by its scheme: s3, gs, https, mlflow-artifacts and so on."""

    uri: str


ModelUri = Version | Alias | Latest | Logged | RunArtifact | Folder | Remote


def parse(uri: str) -> ModelUri:
    """The model that ``uri`` names.

    Raises:
        ModelError: it has none of the known forms.
    """
    text = uri.strip()
    if not text:
        raise ModelError(f"the model URI is empty; write {FORMS}")
    scheme = text.partition(":")[0].lower() if ":" in text else ""
    if scheme == "models":
        return _registered(text)
    if scheme == "runs":
        return _run(text)
    if scheme == "file":
        return Folder(unquote(urlsplit(text).path))
    return Remote(text) if "://" in text else Folder(text)


def _registered(uri: str) -> ModelUri:
    parts = uri.partition(":")[2].lstrip("/").rstrip("/").split("/")
    if uri.partition(":")[2].startswith("//") or not parts[0].strip():
        raise ModelError(f"model URI {uri!r} names no model; write {FORMS}")
    match parts:
        case [name, version] if version.isdecimal():
            return Version(name, version)
        case [name, word]:
            return Latest(name, "" if word.lower() == LATEST else word)
        case [only] if "@" in only:
            name, _, alias = only.rpartition("@")
            if name and alias:
                return Alias(name, alias)
        case [only] if only.startswith("m-"):
            return Logged(only)
    raise ModelError(f"model URI {uri!r} is not of a known form; write {FORMS} (a registered name has no '/')")


def _run(uri: str) -> RunArtifact:
    run_id, _, path = uri.partition(":")[2].lstrip("/").rstrip("/").partition("/")
    if run_id and path:
        return RunArtifact(run_id, path)
    raise ModelError(f"model URI {uri!r} lacks the model's path in the run; write runs:/RUN_ID/PATH, such as .../model")
