"""Raw lines of the gateway's log as columns, by the thousand: what an attempt costs the agent is a few microseconds.

A line's last field has few distinct values, so its meaning (:func:`.access_log.endings`) is asked once for each; all
else is done on whole columns. A line that is torn, foreign or fits no column is left out and counted.

Imports pyarrow, which takes half a second: whoever must be quick imports this where it is used.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from mlflow_deploy_plugin.agent.access_log import FIELD, LINE_FIELDS, Ending, endings, outcome
from mlflow_deploy_plugin.agent.parquet import arrow_schema
from mlflow_deploy_plugin.spec.events import ATTEMPT_COLUMNS

_ENDING: Final = "ending"
_COLUMNS: Final = (*LINE_FIELDS, _ENDING)
_DAY_US: Final = 86_400_000_000
_WHOLE: Final = "^(-|[0-9]{1,12})$"
_RULES: Final = {"start": r"^[0-9]{1,10}\.[0-9]{6}$", "duration_ms": _WHOLE, "whole_us": _WHOLE}

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The attempts of one partition."""

    endpoint: str
    deployment: str
    day: datetime
    table: pa.Table
    """The columns of ``spec.events.ATTEMPT_COLUMNS``, in the lines' order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What some lines tell."""

    parts: tuple[Part, ...]
    outcomes: Mapping[tuple[str, str, str], int]
    """Attempts by endpoint, deployment and :func:`~.access_log.outcome`."""
    dropped: int
    """Lines that no attempt could be read from."""


def read(lines: Sequence[bytes]) -> Rows:
    """The attempts that ``lines`` tell."""
    table = _sound(_table(b"".join(lines)))
    ending = table.column(_ENDING).combine_chunks()
    told = [endings(text) for text in ending.dictionary.to_pylist()]
    which = ending.indices.to_numpy()
    is_told = np.array([bool(one) for one in told], dtype=bool)
    columns = _Columns.of(table)
    groups, outcomes = _grouped(told, which)
    return Rows(
        parts=tuple(chain.from_iterable(_parts(columns, group) for group in groups)),
        outcomes=outcomes,
        dropped=len(lines) - int(is_told[which].sum()) if len(which) else len(lines),
    )


def _table(block: bytes) -> pa.Table:
    """The lines that have as many fields as they should, as text."""
    kinds: dict[str, Any] = dict.fromkeys(_COLUMNS, pa.string())
    return csv.read_csv(
        pa.BufferReader(_as_utf8(block)),
        read_options=csv.ReadOptions(column_names=list(_COLUMNS), use_threads=False, block_size=len(block) + 1),
        parse_options=csv.ParseOptions(
            delimiter=FIELD, quote_char=False, double_quote=False, invalid_row_handler=lambda _: "skip"
        ),
        convert_options=csv.ConvertOptions(
            column_types={**kinds, _ENDING: pa.dictionary(pa.int32(), pa.string())}, strings_can_be_null=False
        ),
    )


def _as_utf8(block: bytes) -> bytes:
    """``block``, in which a client's bytes that are no text become U+FFFD."""
    try:
        block.decode()
    except UnicodeDecodeError:
        return block.decode(errors="replace").encode()
    return block


def _sound(table: pa.Table) -> pa.Table:
    """The lines whose times are times."""
    masks = [pc.match_substring_regex(table.column(name), rule) for name, rule in _RULES.items()]
    return table.filter(pc.and_(pc.and_(masks[0], masks[1]), masks[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """What differs from line to line, typed."""

    request_id: pa.Array
    user_id: pa.Array
    time_us: NDArray[np.int64]
    latency_ms: NDArray[np.float64]

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        text = {name: table.column(name).combine_chunks() for name in LINE_FIELDS}
        user, request = text["user_id"], text["request_id"]
        is_nobody = pc.or_(pc.equal(user, "-"), pc.equal(user, request))
        whole, duration = (pc.if_else(pc.equal(text[n], "-"), None, text[n]) for n in ("whole_us", "duration_ms"))
        latency = pc.coalesce(pc.divide(whole.cast(pa.float64()), 1000.0), duration.cast(pa.float64()), 0.0)
        return cls(
            request_id=pc.if_else(pc.equal(request, "-"), "", request),
            user_id=pc.if_else(is_nobody, "", user),
            time_us=pc.replace_substring(text["start"], ".", "").cast(pa.int64()).to_numpy(),
            latency_ms=latency.to_numpy(zero_copy_only=False),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Attempts of one deployment: the line of each, and which of ``endings`` it has."""

    endings: tuple[Ending, ...]
    lines: Places
    kinds: Places


def _grouped(
    told: Sequence[tuple[Ending, ...]], which: NDArray[np.int32]
) -> tuple[Iterator[_Group], Counter[tuple[str, str, str]]]:
    by_deployment: dict[tuple[str, str], list[tuple[Ending, Places]]] = defaultdict(list)
    outcomes: Counter[tuple[str, str, str]] = Counter()
    order = np.argsort(which, kind="stable")
    bounds = np.searchsorted(which[order], np.arange(len(told) + 1))
    for number, some in enumerate(told):
        lines = order[bounds[number] : bounds[number + 1]]
        for ending in some:
            by_deployment[ending.endpoint, ending.deployment].append((ending, lines))
            outcomes[ending.endpoint, ending.deployment, outcome(ending)] += len(lines)
    return (_group(found) for found in by_deployment.values()), outcomes


def _group(found: Sequence[tuple[Ending, Places]]) -> _Group:
    lines = np.concatenate([lines for _, lines in found])
    kinds = np.repeat(np.arange(len(found)), [len(lines) for _, lines in found])
    order = np.argsort(lines, kind="stable")
    return _Group(endings=tuple(ending for ending, _ in found), lines=lines[order], kinds=kinds[order])


def _parts(columns: _Columns, group: _Group) -> Iterator[Part]:
    days = columns.time_us[group.lines] // _DAY_US
    first = group.endings[0]
    for day in np.unique(days):
        is_of_day = days == day
        yield Part(
            endpoint=first.endpoint,
            deployment=first.deployment,
            day=datetime.fromtimestamp(int(day) * _DAY_US // 1_000_000, tz=UTC),
            table=_of_day(columns, group, group.lines[is_of_day], group.kinds[is_of_day]),
        )


def _of_day(columns: _Columns, group: _Group, lines: Places, kinds: Places) -> pa.Table:

    was_tried = np.array([ending.was_tried for ending in group.endings])[kinds]
    own = {
        "request_id": columns.request_id.take(pa.array(lines)),
        "user_id": columns.user_id.take(pa.array(lines)),
        "time": pa.array(columns.time_us[lines]),
        "latency_ms": pa.array(np.where(was_tried, columns.latency_ms[lines], 0.0)),
    }
    shared = {
        name: pa.array([getattr(ending, name) for ending in group.endings]).take(pa.array(kinds))
        for name in ATTEMPT_COLUMNS
        if name not in own
    }
    schema = arrow_schema(ATTEMPT_COLUMNS)
    return pa.table([(own | shared)[name].cast(schema.field(name).type) for name in schema.names], schema=schema)
