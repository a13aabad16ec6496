"""Raw files: what waits for the event store, as bytes that cost the worker next to nothing to write.

Making Parquet of 40 columns every second takes milliseconds of the core that answers requests, and pyarrow takes tens
of megabytes. A worker that the agent started writes its arrays as they lie in memory instead, and :mod:`.convert`, a
process beside the agent, makes the tables of them a moment later. What is no array of numbers (text, frames, documents)
has no raw form; a flush with any such event becomes a table in the worker, as everything does without an agent.

A file is :data:`MAGIC`, the identity of its table, and one part per event. Each of them is the length of its head (four
bytes, little-endian), the head in JSON, and the arrays that the head describes, one behind the other. Files appear
whole, under their names' end ``.raw``; whoever has read one removes it.

A raw file is there for a second, so nothing waits for the disk to have it: most are gone before the disk would. What a
machine had not converted when it lost its power may be lost or torn, and a torn file is found out by its lengths. The
tables are durable before their raw files go.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import orjson

from mlflow_deploy_plugin.errors import EventStoreError
from mlflow_deploy_plugin.serving.events.page import NUMBERS
from mlflow_deploy_plugin.serving.events.prediction_files import PredictionFiles, file_name
from mlflow_deploy_plugin.serving.events.redaction import Redaction
from mlflow_deploy_plugin.serving.events.waiting import Waiting
from mlflow_deploy_plugin.serving.events.whole import whole
from mlflow_deploy_plugin.serving.record import Prediction
from mlflow_deploy_plugin.serving.request import Caller, Matrix, Tensor
from mlflow_deploy_plugin.serving.signature import Column, Signature, TensorSpec
from mlflow_deploy_plugin.serving.trace import Trace
from mlflow_deploy_plugin.spec.events import RAW_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mlflow_deploy_plugin.serving.request import Payload

Event = Prediction | Waiting
Json = dict[str, Any]

MAGIC: Final = b"modelserve raw predictions 1\n"
"""The number is the format's."""
_LENGTH: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFiles:
    """Writes predictions as raw files; as tables where they are more than numbers."""

    folder: Path
    tables: PredictionFiles
    """Says whose predictions they are; without redaction, since raw files keep every column."""

    def __call__(self, events: Sequence[Event]) -> None:
        """Write them, as one file.

        Raises:
            OSError: the disk refuses; nothing is left behind.
        """
        parts = [_encoded(event, has_features=self.tables.has_features) for event in events]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            self.tables(events)
            return
        pieces = (piece for part in (_identity(self.tables, len(known)), *known) for piece in _framed(part))
        with whole(self.folder / f"{file_name()}{RAW_SUFFIX}", is_durable=False) as file:
            file.writelines([MAGIC, *pieces])  # and not as one: copying all of it would keep the interpreter busy


def read(path: Path, *, events_dir: Path) -> tuple[PredictionFiles, list[Event]]:
    """The predictions of a raw file, and who writes them as tables of ``events_dir``, under the file's own name.

    Raises:
        EventStoreError: it is not a raw file, is torn, or has a format of the future.
        OSError: it cannot be read.
    """
    data = memoryview(path.read_bytes())
    if bytes(data[: len(MAGIC)]) != MAGIC:
        raise EventStoreError(f"{path} does not begin with {MAGIC.decode()!r}; a newer modelserve may have written it")
    try:
        (identity, _), *parts = _parts(data[len(MAGIC) :])
        tables = replace(_table(identity, root=events_dir), name=path.name.removesuffix(RAW_SUFFIX))
        if len(parts) != identity["events"]:
            raise ValueError(f"{len(parts)} of {identity['events']} events")  # noqa: TRY301  told below with its file
        return tables, [_decoded(head, arrays) for head, arrays in parts]
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise EventStoreError(f"{path} is torn or no raw file: {error!r}") from error


class _Part(NamedTuple):
    head: Json
    arrays: tuple[NDArray[Any], ...]


def _encoded(event: Event, *, has_features: bool) -> _Part | None:
    """The part of one event; None where it has no raw form."""
    payload = event.payload if has_features else Matrix(values=np.empty((event.rows, 0)), columns=())
    values = _values_of(payload)
    output = event.output
    if values is None or not (output is None or _is_plain(output)):
        return None
    head: Json = {"rows": event.rows, "columns": payload.columns if isinstance(payload, Matrix) else None}
    if isinstance(event, Waiting):
        arrays: tuple[NDArray[Any], ...] = (np.frombuffer(event.times), np.frombuffer(event.latencies_ms))
        head |= {
            "request_ids": event.request_ids,
            "user_ids": event.user_ids,
            "assigned": event.assigned,
            "traces": [_trace_json(trace) for trace in event.traces],
            "protocols": _shortened(event.protocols),
        }
    else:
        arrays = ()
        caller = event.caller
        head |= {
            "caller": [caller.request_id, caller.user_id, caller.assigned, _trace_json(caller.trace)],
            "time": event.time,
            "protocol": event.protocol,
            "status": event.status,
            "latency_ms": event.latency_ms,
        }
    return _Part(head, (*arrays, values, *(() if output is None else (output,))))


def _decoded(head: Json, arrays: Sequence[NDArray[Any]]) -> Event:
    columns = head["columns"]
    if "caller" not in head:
        times, latencies_ms, values, output = arrays
        return Waiting(
            rows=head["rows"],
            request_ids=head["request_ids"],
            user_ids=head["user_ids"],
            assigned=head["assigned"],
            traces=[_trace(ids) for ids in head["traces"]],
            protocols=_lengthened(head["protocols"], head["rows"]),
            times=array("d", times.tobytes()),
            latencies_ms=array("d", latencies_ms.tobytes()),
            payload=_payload(values, columns),
            output=output,
        )
    request_id, user_id, assigned, trace = head["caller"]
    return Prediction(
        caller=Caller(request_id, user_id, assigned, _trace(trace)),
        time=head["time"],
        protocol=head["protocol"],
        status=head["status"],
        latency_ms=head["latency_ms"],
        rows=head["rows"],
        payload=_payload(arrays[0], columns),
        output=arrays[1] if len(arrays) > 1 else None,
    )


def _payload(values: NDArray[Any], columns: Sequence[str] | None) -> Payload:
    return Tensor(array=values) if columns is None else Matrix(values=values, columns=tuple(columns))


def _values_of(payload: Payload) -> NDArray[Any] | None:
    values = payload.values if isinstance(payload, Matrix) else payload.array if isinstance(payload, Tensor) else None
    return values if values is not None and _is_plain(values) else None


def _is_plain(values: Any) -> bool:  # noqa: ANN401  a model returns anything
    return type(values) is np.ndarray and values.dtype.kind in NUMBERS


def _trace_json(trace: Trace | None) -> tuple[str, str] | None:
    """What the log keeps of a trace."""
    return None if trace is None else (trace.trace_id, trace.span_id)


def _trace(ids: Sequence[str] | None) -> Trace | None:
    return None if ids is None else Trace(trace_id=ids[0], parent_id="", span_id=ids[1], flags="")


def _shortened(texts: Sequence[str]) -> Sequence[str]:
    """One for all, where all are the same."""
    return texts[:1] if texts.count(texts[0]) == len(texts) else texts


def _lengthened(texts: Sequence[str], rows: int) -> Sequence[str]:
    return list(texts) * rows if len(texts) == 1 else texts


def _identity(tables: PredictionFiles, events: int) -> _Part:
    head = {
        "events": events,
        "stage": tables.stage,
        "endpoint": tables.endpoint,
        "deployment": tables.deployment,
        "model_digest": tables.model_digest,
        "has_features": tables.has_features,
        "inputs": [_spec_json(spec) for spec in tables.signature.inputs],
    }
    return _Part(head, ())


def _table(head: Json, *, root: Path) -> PredictionFiles:
    return PredictionFiles(
        root=root,
        stage=head["stage"],
        endpoint=head["endpoint"],
        deployment=head["deployment"],
        model_digest=head["model_digest"],
        has_features=head["has_features"],
        signature=Signature(inputs=tuple(_spec(one) for one in head["inputs"])),
        redaction=Redaction(),
    )


def _spec_json(spec: Column | TensorSpec) -> Json:
    if isinstance(spec, Column):
        return {"name": spec.name, "type": spec.type}
    return {"name": spec.name, "dtype": spec.dtype, "shape": spec.shape}


def _spec(said: Mapping[str, Any]) -> Column | TensorSpec:
    if "type" in said:
        return Column(name=said["name"], type=said["type"])
    return TensorSpec(name=said["name"], dtype=said["dtype"], shape=tuple(said["shape"]))


def _framed(part: _Part) -> Iterator[bytes | memoryview]:
    text = orjson.dumps(part.head | {"arrays": [(one.dtype.str, one.shape) for one in part.arrays]})
    yield len(text).to_bytes(_LENGTH, "little")
    yield text
    for one in part.arrays:
        yield np.ascontiguousarray(one).reshape(-1).view(np.uint8).data


def _parts(data: memoryview) -> Iterator[tuple[Json, list[NDArray[Any]]]]:
    at = 0
    while at < len(data):
        begin = at + _LENGTH
        at = begin + int.from_bytes(data[at:begin], "little")
        head = orjson.loads(data[begin:at])
        arrays = []
        for kind, shape in head["arrays"]:
            dtype = np.dtype(kind)
            size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
            arrays.append(np.frombuffer(data[at : at + size], dtype).reshape(shape))
            at += size
        yield head, arrays
