r"""Plain values as YAML text that every YAML reader takes for the same value. Pure; parses nothing.

Kubernetes reads YAML 1.1, other tools 1.2: ``yes``, ``1e3``, ``007`` and ``null`` are text in one and something else
in another. What could be misread anywhere is quoted, so a name means itself everywhere.

>>> [quote(text) for text in ("churn-v4", "models:/churn/4", "yes", "1e3", "007", "null", "")]
['churn-v4', 'models:/churn/4', '"yes"', '"1e3"', '"007"', '"null"', '""']
>>> print(block({"name": "churn", "ports": [{"name": "http", "port": 80}], "labels": {}}))
name: churn
ports:
  - name: http
    port: 80
labels: {}
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

Plain = str | int | bool | Sequence["Plain"] | Mapping[str, "Plain"]
"""What a manifest is made of. No floats: Kubernetes has none, and two YAML versions read them differently."""

_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9_./@+-]*(?::[A-Za-z0-9_./@+-]+)*")
_MISREAD: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


def quote(text: str) -> str:
    r"""``text`` as one scalar on one line; in double quotes unless it cannot be misread without.

    >>> quote('a "b"\n{{ c }}')
    '"a \\"b\\"\\n{{ c }}"'
    """
    if _PLAIN.fullmatch(text) and text.lower() not in _MISREAD:
        return text
    return double_quoted(text)


def double_quoted(text: str) -> str:
    """``text`` in double quotes: JSON's escapes, which are YAML's, and no character that YAML forbids."""
    return _UNPRINTABLE.sub(lambda hit: f"\\u{ord(hit[0]):04x}", json.dumps(text, ensure_ascii=False))


def scalar(value: str | int) -> str:
    """A text, number or truth value as YAML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else quote(value)


def block(value: Plain) -> str:
    """``value`` in block style, two spaces to a level, no line end after the last line."""
    return "\n".join(block_lines(value))


def block_lines(value: Plain) -> list[str]:
    """The lines of :func:`block`."""
    if isinstance(value, str | int):
        return [scalar(value)]
    if not value:
        return ["{}" if isinstance(value, Mapping) else "[]"]
    if isinstance(value, Mapping):
        return [line for key, entry in value.items() for line in field_lines(key, entry)]
    return [line for entry in value for line in item_lines(entry)]


def field_lines(key: str, value: Plain) -> list[str]:
    """``key: value``, the value below the key where it has several lines of its own.

    >>> field_lines("args", ["a"])
    ['args:', '  - a']
    """
    if isinstance(value, str | int) or not value:
        return [f"{quote(key)}: {block_lines(value)[0]}"]
    return [f"{quote(key)}:", *(f"  {line}" for line in block_lines(value))]


def item_lines(value: Plain) -> list[str]:
    """``- value``.

    >>> item_lines({"name": "a", "weight": 1})
    ['- name: a', '  weight: 1']
    """
    first, *rest = block_lines(value)
    return [f"- {first}", *(f"  {line}" for line in rest)]


def flow(value: Plain) -> str:
    """``value`` on one line, in JSON's form."""
    return _UNPRINTABLE.sub(lambda hit: f"\\u{ord(hit[0]):04x}", json.dumps(value, ensure_ascii=False))
