"""Bodies read, and errors written, by MLflow's own functions: slower, and right by construction.

MLflow's functions are imported on first use, which takes seconds, so :func:`require_awake` asks for a thread. They are
plain functions of its scoring server, internal by name, so the differential test runs them against the server itself
for every MLflow that we are tested with.
"""

from __future__ import annotations

import io
import json
import sys
from functools import cached_property
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mlflow_deploy_plugin.serving.codecs.base import JSON, Reply
from mlflow_deploy_plugin.serving.codecs.tables import check_density
from mlflow_deploy_plugin.serving.faults import AsleepError, Fault, RequestError
from mlflow_deploy_plugin.serving.request import Frame, Raw, Tensor, Tensors

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow_deploy_plugin.serving.request import Payload

JSON_TYPE: Final = "application/json"
CSV_TYPE: Final = "text/csv"
PARQUET_TYPE: Final = "application/vnd.apache.parquet"
MOST_INPUTS: Final = 10_000
"""Named inputs of one body. MLflow makes an array of each and quotes all of them in a refusal, which takes seconds."""
MOST_COLUMNS: Final = 20_000
MOST_BESIDE: Final = 2_000
MOST_REPEATED: Final = 500
"""Columns of one table where the model has no signature, and where it has one of fewer; and how many may bear a name
that another has: pandas looks those up in quadratic time."""
MOST_CELLS: Final = 1 << 25
"""Cells of one Parquet file, which may hold far more than it weighs."""
BLANK_LINES: Final = 1000
"""Lines among which the header of a CSV is looked for."""
QUOTED: Final = 1000
"""Entries of a list or an object that a refusal quotes."""
SCORING_SERVER: Final = "mlflow.pyfunc.scoring_server"


class Read(NamedTuple):
    """What a body said."""

    payload: Payload
    params: Any = None
    is_llm: bool = False


def media_type(header: bytes | None) -> str:
    """The media type of a request, with MLflow's strictness: three types, in lower case, UTF-8, nothing else.

    Raises:
        RequestError: UNSUPPORTED_TYPE.
    """
    if header is None or header == b"application/json":
        return JSON_TYPE
    text = header.decode("latin-1")
    kind, *pairs = (part.strip() for part in text.split(";"))
    parameters = {key: value for key, _, value in (pair.partition("=") for pair in pairs)}
    if parameters.get("charset", "utf-8").lower() != "utf-8":
        raise RequestError(Fault.UNSUPPORTED_TYPE, "The scoring server only supports UTF-8")
    if unexpected := sorted(parameters.keys() - {"charset"}):
        raise RequestError(Fault.UNSUPPORTED_TYPE, f"Unrecognized content type parameters: {', '.join(unexpected)}.")
    if kind not in {JSON_TYPE, CSV_TYPE, PARQUET_TYPE}:
        known = [CSV_TYPE, JSON_TYPE, PARQUET_TYPE]
        raise RequestError(
            Fault.UNSUPPORTED_TYPE,
            f"This predictor only supports the following content types: Types: {known}. Got '{text}'.",
        )
    return kind


def require_awake() -> None:
    """Nothing, where MLflow's functions are imported already.

    Raises:
        AsleepError: they are not.
    """
    module = sys.modules.get(SCORING_SERVER)
    if module is None or getattr(module.__spec__, "_initializing", False):  # another thread is at it
        raise AsleepError(_wake)


def _wake() -> None:
    import_module(SCORING_SERVER)


class Reader:
    """Reads bodies of one model."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _metadata(self) -> Any:  # noqa: ANN401  MLflow is imported lazily
        from mlflow.models import Model  # noqa: PLC0415  seconds, where the model itself is no pyfunc

        return Model.load(str(self._folder))

    @cached_property
    def _most_columns(self) -> int:
        """Columns of a table: many where the model takes any, few beyond those that it takes."""
        schema = self._metadata.get_input_schema()
        return MOST_COLUMNS if schema is None else max(MOST_BESIDE, 2 * len(schema.inputs))

    def read(self, body: bytes, kind: str) -> Read:
        """The body as MLflow's server reads it.

        Raises:
            RequestError: MALFORMED; MLflow's own exception is the cause.
        """
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        try:
            if kind == CSV_TYPE:
                return Read(_payload(self._csv(body)))
            if kind == PARQUET_TYPE:
                return Read(_payload(_parquet(body)))
            return self._json(body)
        except RequestError:
            raise
        except MlflowException as error:
            raise RequestError(Fault.MALFORMED, error.message) from error
        except RecursionError as error:
            raise RequestError(Fault.MALFORMED, "the body is nested too deeply") from error
        except Exception as error:  # a hole in MLflow's parser, which its server answers with 500
            raise RequestError(Fault.MALFORMED, f"the body cannot be read: {type(error).__name__}: {error}") from error

    def _csv(self, body: bytes) -> Any:  # noqa: ANN401
        from mlflow.pyfunc import scoring_server  # noqa: PLC0415

        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError as reason:
            raise error(
                f"Invalid input. Ensure that input is a valid UTF-8 encoded string. Error: '{reason!r}'", "BAD_REQUEST"
            ) from reason
        _check_names(_header(text), self._most_columns)
        return scoring_server.parse_csv_input(io.StringIO(text), schema=self._metadata.get_input_schema())

    def _json(self, body: bytes) -> Read:
        from mlflow.pyfunc import scoring_server  # noqa: PLC0415

        document = _document(body, self._most_columns)
        parsed = scoring_server._parse_json_data(document, self._metadata, self._metadata.get_input_schema())  # noqa: SLF001
        is_raw = parsed.is_unified_llm_input or self._metadata._is_signature_from_type_hint()  # noqa: SLF001
        payload = Raw(value=parsed.data) if is_raw else _payload(parsed.data)
        return Read(payload, parsed.params, parsed.is_unified_llm_input)


def _document(body: bytes, most_columns: int) -> Any:  # noqa: ANN401
    """The JSON object, once it is known not to be far larger as a table; else the bytes, for MLflow to refuse."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return body
    if not isinstance(document, dict):
        return body
    for data in document.values():
        if isinstance(data, dict) and isinstance(data.get("columns"), list):
            _check_names(data["columns"], most_columns)
        if isinstance(data, list):
            check_density(data)
        elif isinstance(data, dict) and len(data) > MOST_INPUTS:
            raise RequestError(
                Fault.MALFORMED, f"the body has {len(data)} inputs; send a table of so many columns as dataframe_split"
            )
    return document


def _header(text: str) -> list[str]:
    """The names in the first line of a CSV that is not blank, but for quotes."""
    lines = islice(io.StringIO(text, newline=None), BLANK_LINES)
    return next((line for line in lines if line.strip()), "").split(",")


def _check_names(names: list[Any], most: int) -> None:
    """Refuse a table whose names alone would take minutes: pandas makes a column of each, and looks it up."""
    repeated = len(names) - len(set(map(str, names)))
    if len(names) > most or repeated > MOST_REPEATED:
        raise RequestError(
            Fault.MALFORMED,
            f"the table has {len(names)} columns, {repeated} of them with a name that another has; at most {most} and"
            f" {MOST_REPEATED} are read",
        )


def _check_cells(body: bytes) -> None:
    """Refuse a Parquet file that would be far larger as a table; one that is damaged is MLflow's to refuse."""
    import pyarrow as pa  # noqa: PLC0415  what reads the file
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        told = pq.read_metadata(io.BytesIO(body))
    except (pa.ArrowException, OSError, ValueError):
        return
    if told.num_rows * told.num_columns > MOST_CELLS:
        raise RequestError(
            Fault.MALFORMED,
            f"the file has {told.num_rows} rows of {told.num_columns} columns; at most {MOST_CELLS} cells are read",
        )


def _parquet(body: bytes) -> Any:  # noqa: ANN401
    from mlflow.pyfunc import scoring_server  # noqa: PLC0415

    _check_cells(body)
    return scoring_server.parse_parquet_input(io.BytesIO(body))


def _payload(data: Any) -> Payload:  # noqa: ANN401
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415  MLflow has imported it

    if isinstance(data, pd.DataFrame):
        return Frame(frame=data)
    if isinstance(data, np.ndarray):
        return Tensor(array=data)
    if isinstance(data, dict) and data and all(isinstance(value, np.ndarray) for value in data.values()):
        return Tensors(arrays=data)
    return Raw(value=data)


def is_mlflow_error(cause: object) -> bool:
    """Whether it is MLflow's own exception."""
    return type(cause).__module__.startswith("mlflow.") and hasattr(cause, "serialize_as_json")


def error(message: str, code: str, **details: str) -> Exception:
    """One of MLflow's exceptions; ``details`` go into its JSON."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415
    from mlflow.protos import databricks_pb2  # noqa: PLC0415

    made: Exception = MlflowException(message, error_code=databricks_pb2.ErrorCode.Value(code), **details)
    return made


def with_data(cause: Any, data: Any) -> Exception:  # noqa: ANN401
    """MLflow's exception of a failed prediction, with the data in its message as MLflow's server puts it."""
    cause.message = f"Failed to predict data '{_quoted(data)}'. \nError: {cause.message}"
    told: Exception = cause
    return told


def _quoted(data: Any) -> str:  # noqa: ANN401
    """``data`` as MLflow writes it, but only the beginning of a long one: NumPy and pandas abbreviate by themselves."""
    if isinstance(data, dict) and len(data) > QUOTED:
        return f"{dict(islice(data.items(), QUOTED))} and {len(data) - QUOTED} more"
    if isinstance(data, list) and len(data) > QUOTED:
        return f"{data[:QUOTED]} and {len(data) - QUOTED} more"
    return str(data)


def refusal(cause: Any) -> Reply:  # noqa: ANN401
    """The status and JSON of one of MLflow's exceptions."""
    return Reply(cause.get_http_status_code(), JSON, cause.serialize_as_json().encode())
