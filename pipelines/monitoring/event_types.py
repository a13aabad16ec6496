"""Features that some files hold as one kind of value and others as another, so that no column can hold both.

A model without a signature logs an array of one dimension as numbers and one of two as lists; a new version may take a
date where the old one took a number. DuckDB refuses to read such files together, and then one odd request would take
the evidence of all others with it. So the kind that most rows have stays, and the others' values count as missing, as a
value does that does not fit its column when it is written.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from mlflow_deploy_plugin.spec.events import FEATURE_PREFIX

KINDS: Final = f"""
SELECT file_name AS file, name AS feature, num_rows AS rows,
       CASE WHEN num_children > 0 THEN 'list'
            WHEN logical_type LIKE 'Timestamp%' OR converted_type LIKE 'TIMESTAMP%' THEN 'moment'
            WHEN logical_type LIKE 'String%' OR converted_type = 'UTF8' THEN 'text'
            WHEN type LIKE '%BYTE_ARRAY' THEN 'bytes'
            ELSE 'number' END AS kind
FROM parquet_schema([{{files}}]) JOIN parquet_file_metadata([{{files}}]) USING (file_name)
WHERE starts_with(name, '{FEATURE_PREFIX}') AND coalesce(logical_type, '') NOT LIKE 'Null%'
"""  # noqa: S608  the prefix is ours, paths are quoted
"""Which kind of value each feature has in each file; a column without any value has none."""

_TOGETHER: Final = (frozenset({"number", "text"}), frozenset({"moment", "text"}))
"""Kinds that a reader gets as text where they meet."""


class Held(NamedTuple):
    """A feature as one file holds it."""

    file: str
    feature: str
    rows: int
    kind: str


def misfits(held: Sequence[Held], *, deployment: str = "") -> Mapping[str, frozenset[str]]:
    """Features to leave out, by file. Where one deployment is asked about, its own files say what a feature is.

    >>> files = [Held("a", "feature_x", 9, "number"), Held("b", "feature_x", 1, "list")]
    >>> dict(misfits(files))
    {'b': frozenset({'feature_x'})}
    """
    by_feature: dict[str, list[Held]] = defaultdict(list)
    for each in held:
        by_feature[each.feature].append(each)
    left_out: dict[str, set[str]] = defaultdict(set)
    for feature, found in by_feature.items():
        kinds = {each.kind for each in found}
        if len(kinds) == 1 or any(kinds <= both for both in _TOGETHER):
            continue
        kept = _most_frequent([each for each in found if f"/deployment={deployment}/" in each.file] or found)
        for each in found:
            if each.kind != kept:
                left_out[each.file].add(feature)
    return {file: frozenset(features) for file, features in left_out.items()}


def _most_frequent(found: Sequence[Held]) -> str:
    rows: Counter[str] = Counter()
    for each in found:
        rows[each.kind] += each.rows
    return max(rows, key=lambda kind: (rows[kind], kind))
