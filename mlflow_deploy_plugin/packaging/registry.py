"""The seam to where models come from: a registry that resolves names and downloads folders.

:class:`Registry` is what packaging asks of it; :mod:`.mlflow_registry` answers with MLflow, :mod:`.fake` from memory.
Every refusal is a :class:`ModelError` that says the way out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a registry knows of one model version, or of one logged model (which has no version)."""

    name: str
    version: str = ""
    run_id: str = ""
    model_id: str = ""


class Registry(Protocol):
    """Where models are looked up and fetched from."""

    def version(self, name: str, version: str) -> Entry:
        """The version of that number."""

    def alias(self, name: str, alias: str) -> Entry:
        """The version that the alias points at now."""

    def latest(self, name: str, stage: str) -> Entry:
        """The newest version; ``stage`` empty: of all."""

    def logged(self, model_id: str) -> Entry:
        """The logged model of that id."""

    def run_tags(self, run_id: str) -> Mapping[str, str]:
        """Tags of a run; empty where the run is gone."""

    def download(self, uri: str, into: Path) -> Path:
        """Copy the artifact of ``uri`` into the empty folder ``into``; where it lies then."""
