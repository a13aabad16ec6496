"""What becomes of a try: a form that is taken, with its record written, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.serving.compiled import store
from mlflow_deploy_plugin.serving.compiled.store import CompileRecord

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow_deploy_plugin.serving.compiled.form import Form, Typing
    from mlflow_deploy_plugin.serving.compiled.store import Comparison

NEEDED: Final = {"linear": (), "trees": (), "onnx": ("onnxruntime",)}
"""Packages that serving a form needs beside its own."""
RECORDED: Final = ("numpy", "scikit-learn", "skl2onnx", "torch", "onnx", "onnxruntime", "mlflow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a try."""

    form: str
    """Empty: the generic path serves."""
    reason: str
    requirements: tuple[str, ...] = ()
    """Lines that the Bento's environment needs for the form."""


def taken(form: Form, typing: Typing, comparison: Comparison, out: Path) -> Verdict:
    """A form whose file lies in ``out``, where its record is written beside it."""
    record = CompileRecord(
        form=form.name,
        digest=store.digest_of(out / store.FILES[form.name]),
        typing=typing,
        comparison=comparison,
        versions=_versions(RECORDED),
    )
    store.write(out, record)
    exactly = "to the last bit" if not comparison.worst else f"within {comparison.tolerance:g} ({comparison.worst:.1g})"
    needed = tuple(f"{name}=={version}" for name, version in _versions(NEEDED[form.name]).items())
    return Verdict(
        form=form.name, reason=f"the pyfunc's answers on {comparison.rows} rows, {exactly}", requirements=needed
    )


def _versions(names: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
