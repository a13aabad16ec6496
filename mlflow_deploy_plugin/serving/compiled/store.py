"""The folder ``compiled`` of a Bento: a form and the record of how it was compared, written once and read at start."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from mlflow_deploy_plugin.errors import ModelError
from mlflow_deploy_plugin.serving.compiled.form import Form, Typing
from mlflow_deploy_plugin.serving.compiled.linear import LinearForm
from mlflow_deploy_plugin.serving.compiled.onnx import OnnxForm
from mlflow_deploy_plugin.serving.compiled.trees import TreesForm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

RECORD: Final = "check.json"
FILES: Final = {"linear": "linear.json", "trees": "trees.npz", "onnx": "model.onnx"}


def _read_linear(path: Path) -> Form:
    return LinearForm.of_document(orjson.loads(path.read_bytes()))


FORMS: Final[Mapping[str, Callable[[Path], Form]]] = {
    "linear": _read_linear,
    "trees": TreesForm.of_file,
    "onnx": OnnxForm.of_file,
}
"""Name of a form → how it is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How a form was held against the pyfunc."""

    rows: int
    """Rows that both answered: the input example's, and generated ones with values at the model's own edges."""
    tolerance: float
    """Relative to the largest answer; labels must be equal on all rows whatever it is."""
    worst: float
    """Largest relative difference seen; 0: equal to the last bit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileRecord:
    """What ``check.json`` says."""

    form: str
    digest: str
    """``sha256:`` of the form's file."""
    typing: Typing
    comparison: Comparison
    versions: Mapping[str, str] = field(default_factory=dict)
    """Packages that made and compared it."""


class Compiled(NamedTuple):
    """A form that is ready to answer."""

    form: Form
    record: CompileRecord


def write(folder: Path, record: CompileRecord) -> None:
    """Write the record beside the form's file, which is there already."""
    document = asdict(record)
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    (folder / RECORD).write_bytes(text + b"\n")


def read(folder: Path) -> Compiled:
    """The form of a Bento.

    Raises:
        ModelError: it is not there, damaged, or needs a package that is not installed.
    """
    try:
        record = _record(orjson.loads((folder / RECORD).read_bytes()))
        path = folder / FILES[record.form]
        if digest_of(path) != record.digest:
            raise ModelError(f"{path.name} is not the file that was compared; package the model again")
        return Compiled(FORMS[record.form](path), record)
    except (OSError, KeyError, TypeError, ValueError, ImportError, RuntimeError) as error:
        raise ModelError(
            f"the compiled form in {folder} cannot be used ({type(error).__name__}: {error}); package the model again"
        ) from error


def digest_of(path: Path) -> str:
    """``sha256:`` of a file."""
    with path.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def _record(document: dict[str, Any]) -> CompileRecord:
    typing, comparison = document.pop("typing"), document.pop("comparison")
    typing["classes"] = tuple(typing["classes"])
    return CompileRecord(typing=Typing(**typing), comparison=Comparison(**comparison), **document)
