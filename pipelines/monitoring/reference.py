"""The training sample that stable's inputs are compared with: the Bento's own, or a file that a person names.

Identified by the digest of its bytes. A column that the model does not take (a target that was logged with the
sample) is left out, where the model's signature says what it takes.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.errors import UserError
from mlflow_deploy_plugin.spec.bento import MODEL_FOLDER, REFERENCE_FILE
from pipelines.promotion.drift.evidence import Reference

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS: Final = 50_000
"""Rows that are compared; more make a tick slow and no effect clearer."""
SEED: Final = 20260101


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSample:
    """A training sample with its identity."""

    frame: "pd.DataFrame"
    about: Reference


def of_bento(bento: Path) -> ReferenceSample | None:
    """The sample inside the Bento at ``bento``; ``None`` where it carries none."""
    path = bento / "src" / REFERENCE_FILE
    if not path.is_file():
        return None
    return _sample(path, inputs=_inputs(bento / "src" / MODEL_FOLDER), source=f"{bento.parent.name}:{bento.name}")


def of_file(path: Path) -> ReferenceSample:
    """The sample in a CSV or Parquet file.

    Raises:
        UserError: it is none of the two, or cannot be read.
    """
    if path.suffix.lower() not in {".csv", ".parquet", ".pq"} or not path.is_file():
        raise UserError(f"--reference {str(path)!r} is no CSV or Parquet file; name a .csv or .parquet that exists")
    return _sample(path, inputs=(), source=path.name)


def without(sample: ReferenceSample, names: Iterable[str]) -> ReferenceSample:
    """``sample`` without columns that cannot be compared."""
    gone = [name.strip() for name in names if name.strip() in sample.frame.columns]
    return ReferenceSample(frame=sample.frame.drop(columns=gone), about=sample.about)


def _sample(path: Path, *, inputs: tuple[str, ...], source: str) -> ReferenceSample:
    frame = _read(path)
    known = [name for name in inputs if name in frame.columns]
    if known:
        frame = frame[known]
    rows = len(frame)
    if rows > MAX_ROWS:
        frame = frame.sample(n=MAX_ROWS, random_state=SEED)
    with path.open("rb") as stream:
        digest = "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
    return ReferenceSample(frame=frame, about=Reference(source=source, digest=digest, rows=rows))


def _read(path: Path) -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415  heavy

    try:
        frame = pd.read_csv(path) if path.suffix.lower() == ".csv" else pd.read_parquet(path)
    except (ValueError, OSError) as error:  # pandas' and pyarrow's parsers raise subclasses of these
        first = str(error).strip().splitlines()[0]
        raise UserError(f"the reference {path} cannot be read ({first}); write it again") from error
    if frame.empty:
        raise UserError(f"the reference {path} has no rows or no columns; log a sample of the training data")
    return frame.rename(columns=str)


def _inputs(model: Path) -> tuple[str, ...]:
    """Names of the columns that the model takes; empty where its signature does not say."""
    from ruamel.yaml import YAML  # noqa: PLC0415
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415

    try:
        written = YAML(typ="safe").load((model / "MLmodel").read_text(encoding="utf-8"))
        columns = json.loads((written.get("signature") or {}).get("inputs") or "[]")
    except (OSError, YAMLError, ValueError, AttributeError):  # an odd signature only costs the filter
        return ()
    return tuple(str(column["name"]) for column in columns if isinstance(column, dict) and "name" in column)
