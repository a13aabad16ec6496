"""Ground truth from a file of a person or a batch job: CSV, Parquet or JSON lines, into table ``labels``.

Columns: ``request_id`` (the x-request-id of the prediction's response), ``label``, and ``row`` where a request had
several. Rows without a label yet are passed over. One bad row refuses the whole file, so that nothing is half done.
A label means here what it means in ``POST /feedback``: a number, or the JSON text of anything else.

CSV has no types, so all labels of a file are of one kind: numbers where each of them is one, true and false where each
is one of these, else text. Without a label are empty cells; in a column of numbers also NA, nan and the like, which in
a column of text may be classes.
"""

import hashlib
import json
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.errors import EventStoreError, UserError
from mlflow_deploy_plugin.spec.events import LABEL_COLUMNS, LARGEST_LABEL, partition

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

MAX_ID: Final = 256
MAX_ROW: Final = 2**31
NAMED: Final = 3
"""Bad rows that a refusal names."""
NAMED_DIGITS: Final = 20
MISSING_NUMBERS: Final = ("NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "null", "NULL", "None")
"""What programs write where a number is missing: R's, pandas', databases' and spreadsheets'."""
_HALF: Final = "\\ud"
"""Begins an escape that may be half of a character: Python reads it, and nobody can write it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFile:
    """The labels of one file, as a table of the event store."""

    table: "pa.Table"
    without_label: int
    """Rows that have none yet."""
    ignored: tuple[str, ...]
    """Columns that say nothing to us."""


def read(path: Path, *, arrived: datetime) -> LabelFile:
    """The labels of ``path``, arrived at ``arrived``.

    Raises:
        UserError: no such file, not one of the three formats, a column is missing, or a row is bad.
    """
    frame = _frame(path)
    missing = [name for name in ("request_id", "label") if name not in frame.columns]
    if missing:
        known = ", ".join(map(str, frame.columns)) or "none"
        raise UserError(f"{path} has no column {missing[0]!r}; it has {known}; rename the one that holds it")
    labels = [_plain(value) for value in frame["label"].tolist()]
    ids = frame["request_id"].tolist()
    rows = frame["row"].tolist() if "row" in frame.columns else [0] * len(frame)
    _refuse_bad(path, ids, rows)
    _refuse_too_large(path, labels)
    kept = [index for index, label in enumerate(labels) if label is not None]
    return LabelFile(
        table=_table([(str(ids[i]), int(rows[i]), labels[i]) for i in kept], arrived),
        without_label=len(labels) - len(kept),
        ignored=tuple(str(name) for name in frame.columns if name not in {"request_id", "row", "label"}),
    )


def _table(labels: list[tuple[str, int, Any]], arrived: datetime) -> "pa.Table":
    import pyarrow as pa  # noqa: PLC0415  heavy

    from mlflow_deploy_plugin.agent.parquet import arrow_schema  # noqa: PLC0415

    columns = {
        "request_id": [request_id for request_id, _, _ in labels],
        "row": [row for _, row, _ in labels],
        "time": _in_order([(request_id, row) for request_id, row, _ in labels], arrived),
        "label": [float(value) if isinstance(value, int | float) else None for _, _, value in labels],
        "label_text": [None if isinstance(value, int | float) else _text(value) for _, _, value in labels],
    }
    return pa.table(columns, schema=arrow_schema(LABEL_COLUMNS))


def _in_order(rows: Sequence[tuple[str, int]], arrived: datetime) -> list[datetime]:
    """When each label came; a row's second one a moment after its first, since the first of a row is what counts."""
    before: Counter[tuple[str, int]] = Counter()
    times = []
    for row in rows:
        times.append(arrived + before[row] * timedelta(microseconds=1))
        before[row] += 1
    return times


def _text(value: object) -> str:
    return json.dumps(value, default=_as_json, ensure_ascii=False, separators=(",", ":"))  # as a Bento's orjson does


def _as_json(value: Any) -> Any:  # noqa: ANN401  whatever Parquet holds
    """What JSON does not know, as a Bento logs it in a prediction."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _frame(path: Path) -> "pd.DataFrame":
    read_by = _READERS.get(path.suffix.lower())
    if read_by is None or not path.is_file():
        raise UserError(f"{str(path)!r} is no file of labels; name a .csv, .parquet or .jsonl that exists")
    try:
        frame = read_by(path)
    except (ValueError, OSError) as error:  # pandas' and pyarrow's parsers raise subclasses of these
        first = str(error).strip().splitlines()[0]
        raise UserError(f"the labels {path} cannot be read ({first}); write the file again") from error
    return frame.rename(columns=lambda name: str(name).strip())


def _csv(path: Path) -> "pd.DataFrame":
    """Every cell as text, since pandas would guess piece by piece: a 1 is a number here and text a few rows below."""
    import pandas as pd  # noqa: PLC0415  heavy

    frame = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    if len(frame) and not isinstance(frame.index, pd.RangeIndex):  # pandas then takes the first cells for names
        raise ValueError("its rows have more cells than its first line has names, perhaps a comma at their ends")
    frame.columns = frame.columns.str.strip()
    typed = {"request_id": _stripped, "label": _labels, "row": _numbers_or_text}
    return frame.assign(**{name: meant(frame[name]) for name, meant in typed.items() if name in frame.columns})


def _stripped(cells: "pd.Series[str]") -> "pd.Series[str]":
    return cells.str.strip()


def _labels(cells: "pd.Series[str]") -> "pd.Series[Any]":
    """The labels that the cells of a column mean: all of them numbers, or true and false, or text."""
    words = cells.str.strip()
    numbers = _numbers(words)
    is_missing = words == ""
    if (is_missing | words.isin(MISSING_NUMBERS) | numbers.notna()).all():
        return numbers
    lower = words.str.lower()
    is_truth = bool((is_missing | lower.isin(["true", "false"])).all())
    return (lower == "true" if is_truth else cells).astype("object").where(~is_missing, None)


def _numbers_or_text(cells: "pd.Series[str]") -> "pd.Series[Any]":
    """Numbers, and what is none as it was, so that a refusal can name it."""
    numbers = _numbers(cells)
    return numbers if numbers.notna().all() else numbers.astype("object").where(numbers.notna(), cells)


def _numbers(cells: "pd.Series[str]") -> "pd.Series[Any]":
    import pandas as pd  # noqa: PLC0415  heavy

    return pd.to_numeric(cells, errors="coerce")


def _parquet(path: Path) -> "pd.DataFrame":
    """Its columns; an index of pandas' is one as well where it has the name of one."""
    import pandas as pd  # noqa: PLC0415  heavy

    frame = pd.read_parquet(path)
    return frame.reset_index() if {"request_id", "row"}.intersection(frame.index.names) else frame


def _json_lines(path: Path) -> "pd.DataFrame":
    """Each line an object; numbers stay numbers and text stays text."""
    import pandas as pd  # noqa: PLC0415  heavy

    with path.open(encoding="utf-8") as lines:
        items = [_object(line, number) for number, line in enumerate(lines, start=1) if line.strip()]
    return pd.DataFrame({name: pd.Series([item.get(name) for item in items], dtype=object) for name in _names(items)})


def _object(line: str, number: int) -> Mapping[str, Any]:
    """One line.

    Raises:
        ValueError: it is no JSON object, nested beyond all measure, or holds half a character.
    """
    try:
        item = json.loads(line)
        if _HALF in line.lower():
            json.dumps(item, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {number}: {error}") from error
    if not isinstance(item, dict):
        raise ValueError(f"line {number} is no JSON object")  # noqa: TRY004  read as the parser's own refusal
    return item


def _names(items: list[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for item in items for name in item))


_READERS: Final[Mapping[str, Callable[[Path], "pd.DataFrame"]]] = {
    ".csv": _csv,
    ".parquet": _parquet,
    ".pq": _parquet,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
}


def _plain(value: Any) -> Any:  # noqa: ANN401  whatever a file holds
    """A label as JSON knows it; None for one that is missing."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Decimal):
        value = float(value)
    if (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or type(value).__name__ in {"NAType", "NaTType"}
    ):
        return None
    return value


def _refuse_bad(path: Path, ids: list[Any], rows: list[Any]) -> None:
    bad = [
        index
        for index, (request_id, row) in enumerate(zip(ids, rows, strict=True))
        if not _is_id(request_id) or not _is_row(row)
    ]
    if bad:
        named = ", ".join(f"row {index + 1} (request_id {ids[index]!r}, row {rows[index]!r})" for index in bad[:NAMED])
        raise UserError(
            f"{path}: {len(bad)} rows are bad, first {named}: a request_id is text of at most {MAX_ID} characters and a"
            " row a whole number from 0; nothing of the file was taken"
        )


def _refuse_too_large(path: Path, labels: list[Any]) -> None:
    bad = [at for at, label in enumerate(labels) if isinstance(label, int | float) and not abs(label) <= LARGEST_LABEL]
    if bad:
        raise UserError(
            f"{path}: {len(bad)} rows are bad, first row {bad[0] + 1} (label {str(labels[bad[0]])[:NAMED_DIGITS]}): a"
            f" label that is a number must be finite and at most {LARGEST_LABEL:g}; correct it or leave it out;"
            " nothing of the file was taken"
        )


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_ID


def _is_row(value: object) -> bool:
    is_whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
    return is_whole and 0 <= float(value) < MAX_ROW  # type: ignore[arg-type]


def write(place: str, table: "pa.Table", *, stage: str, endpoint: str, arrived: datetime) -> None:
    """Add ``table`` to the store at ``place`` as one file, whole or not at all; the same labels make the same file.

    Raises:
        EventStoreError: the disk, or the other store, refuses.
    """
    folder = partition("labels", stage=stage, endpoint=endpoint, day=arrived)
    digest = hashlib.sha256(repr(table.to_pydict()).encode()).hexdigest()[:16]
    name = folder / f"batch-{digest}.parquet"
    try:
        if "://" in place:
            _send(table, f"{place.rstrip('/')}/{name}")
        else:
            _keep(table, Path(place) / name)
    except Exception as error:  # each remote store has its own errors: botocore's are no OSError
        raise EventStoreError(f"labels cannot be written to {place}: {' '.join(str(error).split())}") from error


def _keep(table: "pa.Table", path: Path) -> None:
    from mlflow_deploy_plugin.agent.parquet import publish, write_hidden  # noqa: PLC0415

    write_hidden(table, path)
    publish(path)


def _send(table: "pa.Table", url: str) -> None:
    """Through a file of this machine, so that an object appears whole."""
    import pyarrow.parquet as pq  # noqa: PLC0415  heavy

    from mlflow_deploy_plugin.agent.shipping import open_url, put_whole  # noqa: PLC0415

    fs, target = open_url(url)
    with tempfile.TemporaryDirectory(prefix="modelserve-labels-") as folder:
        path = Path(folder) / "labels.parquet"
        pq.write_table(table, path)
        put_whole(fs, path, target)
