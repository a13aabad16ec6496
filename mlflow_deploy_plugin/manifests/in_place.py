r"""Edits YAML text in place: comments, order, quotes and indentation stay, the diff is what was meant. Pure.

Works on the spans that the parser reports instead of writing the file anew, because every writer of YAML, the
round-trip ones too, normalises something of what a person wrote.

>>> text = "a: 1  # one\nb: [x, y]\n"
>>> set_values(text, {(0, "a"): 2, (0, "c"): "new"})
'a: 2  # one\nb: [x, y]\nc: new\n'
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import yaml

from mlflow_deploy_plugin.manifests.reading import Value, documents
from mlflow_deploy_plugin.manifests.scalars import (
    Plain,
    block_lines,
    double_quoted,
    field_lines,
    flow,
    item_lines,
    scalar,
)

Place = tuple[int | str, ...]
"""Where a value is: the document's index, then keys and indices. The document of ``---`` parts that are not empty."""

Edits = Mapping[Place, Plain | None]
"""A value for each place; ``None`` removes what is there."""

_BLOCK_SCALARS: Final = ("|", ">")


class _Splice(NamedTuple):
    start: int
    end: int
    text: str


def set_values(text: str, values: Edits, *, file: str = "") -> str:
    """``text`` with a value at each place. Missing parents are made.

    Raises:
        ManifestError: ``text`` is not YAML by the rules of :mod:`.reading`.
    """
    splices = [splice for place, value in values.items() for splice in _scalar_splices(text, file, place, value)]
    text = _spliced(text, *splices)
    for place, value in values.items():
        text = _set_other(text, file, place, value)
    return text


def insert_item(text: str, place: Place, index: int, item: Plain, *, file: str = "") -> str:
    """``text`` with ``item`` in the list at ``place``, before the one at ``index`` (and the comments above that)."""
    found = _find(text, file, place)
    if found is None:
        return set_values(text, {place: [item]}, file=file)
    items = found.items()
    if not items or _is_flow(found):
        return _rewritten(
            text,
            found,
            [*_plain(text, found), item]
            if index >= len(items)
            else [*_plain(text, found)[:index], item, *_plain(text, found)[index:]],
        )
    dash = _dash(text, items[min(index, len(items) - 1)])
    lines = _indented(text, item_lines(item), dash - _line_start(text, dash))
    if index >= len(items):
        return _spliced(text, _after(text, _last(found.node), lines))
    start = _above_comments(text, _line_start(text, dash))
    return _spliced(text, _Splice(start, start, lines + _newline(text)))


def remove_item(text: str, place: Place, index: int, *, file: str = "") -> str:
    """``text`` without one item of the list at ``place``."""
    found = _find(text, file, place)
    if found is None:
        return text
    items = found.items()
    if len(items) == 1 or _is_flow(found):
        return _rewritten(text, found, [value for i, value in enumerate(_plain(text, found)) if i != index])
    return _spliced(text, _lines_of(text, _dash(text, items[index]), items[index].node))


def _scalar_splices(text: str, file: str, place: Place, value: Plain | None) -> Iterator[_Splice]:
    """The replacement of a single value by another; nothing where that is not the case, or nothing would change."""
    found = _find(text, file, place)
    if found is None or not isinstance(value, str | int) or not isinstance(found.node, yaml.ScalarNode):
        return
    start, end = found.node.start_mark.index, found.node.end_mark.index
    if _construct(text[start:end]) == value and type(_construct(text[start:end])) is type(value):
        return
    written = _like(found.node.style, value)
    if found.node.style in _BLOCK_SCALARS and text[start:end].endswith("\n"):
        written += _newline(text)
    yield _Splice(start, end, f" {written}" if start == end and not text[start - 1].isspace() else written)


def _set_other(text: str, file: str, place: Place, value: Plain | None) -> str:
    """Everything but the replacement of a single value by another: removal, insertion, a value of another kind."""
    found = _find(text, file, place)
    if found is None:
        return text if value is None else _inserted(text, file, place, value)
    if value is None:
        return _removed(text, file, place, found)
    if isinstance(value, str | int) and isinstance(found.node, yaml.ScalarNode):
        return text
    return text if _plain(text, found) == value else _rewritten(text, found, value)


def _inserted(text: str, file: str, place: Place, value: Plain) -> str:
    parent, key = _find(text, file, place[:-1]), str(place[-1])
    if parent is None:
        return _inserted(text, file, place[:-1], {key: value})
    if not parent.fields() or _is_flow(parent):
        return _rewritten(text, parent, {**_plain(text, parent), key: value} if parent.fields() else {key: value})
    column = int(parent.node.start_mark.column)
    return _spliced(text, _after(text, _last(parent.node), _indented(text, field_lines(key, value), column)))


def _removed(text: str, file: str, place: Place, found: Value) -> str:
    parent = _find(text, file, place[:-1])
    if parent is None or found.key is None:
        return text
    start = found.key.start_mark.index
    if len(parent.fields()) == 1 or _is_flow(parent) or text[_line_start(text, start) : start].strip(" "):
        rest = {key: entry for key, entry in _plain(text, parent).items() if key != place[-1]}
        return _rewritten(text, parent, rest)
    return _spliced(text, _lines_of(text, start, found.node))


def _rewritten(text: str, found: Value, value: Plain) -> str:
    """Another value of any kind in the place of ``found``: the one edit that loses the comments inside."""
    start, end = found.node.start_mark.index, _last(found.node)
    if found.key is None or (_is_flow(found) and value and _plain(text, found)):
        written = flow(value) if _is_flow(found) else _indented(text, block_lines(value), _column(found)).lstrip(" ")
        return _spliced(text, _Splice(start, end, written))
    colon = text.index(":", found.key.end_mark.index) + 1
    key, column = found.key.value, int(found.key.start_mark.column)
    first, *rest = field_lines(key, value)
    lines = _newline(text).join([first[len(scalar(key)) + 1 :], *(" " * column + line for line in rest)])
    if "\n" not in text[colon:start]:
        return _spliced(text, _Splice(colon, end, lines))
    return _spliced(text, _Splice(colon, _end_of_line(text, end), lines))


def _find(text: str, file: str, place: Place) -> Value | None:
    index, *rest = place
    value: Value | None = documents(file, text)[int(index)]
    for step in rest:
        if value is None:
            return None
        if isinstance(step, int):
            items = value.items()
            value = items[step] if step < len(items) else None
        else:
            value = value.fields().get(step)
    return value


def _spliced(text: str, *splices: _Splice) -> str:
    for splice in sorted(splices, reverse=True):
        text = text[: splice.start] + splice.text + text[splice.end :]
    return text


def _like(style: str | None, value: str | int) -> str:
    """``value`` in the quotes that the old one had, where it can be."""
    if isinstance(value, str) and style == '"':
        return double_quoted(value)
    if isinstance(value, str) and style == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return scalar(value)


def _plain(text: str, value: Value) -> Any:  # noqa: ANN401  what YAML holds
    start = value.node.start_mark.index
    return _construct(" " * (start - _line_start(text, start)) + text[start : _last(value.node)])


def _construct(text: str) -> Any:  # noqa: ANN401  what YAML holds
    return yaml.safe_load(text)


def _is_flow(value: Value) -> bool:
    return isinstance(value.node, yaml.CollectionNode) and bool(value.node.flow_style)


def _last(node: yaml.Node) -> int:
    """Where the last character of a value ends; the parser's own mark of a block lies behind the comments after it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        tail = node.value[-1]
        return _last(tail[1] if isinstance(tail, tuple) else tail)
    if isinstance(node, yaml.ScalarNode) and node.style in _BLOCK_SCALARS:
        return int(node.end_mark.index) - 1
    return int(node.end_mark.index)


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _end_of_line(text: str, index: int) -> int:
    """Where the line of ``index`` ends, before its line end."""
    end = text.find("\n", index)
    end = len(text) if end < 0 else end
    return end - 1 if text[end - 1 : end] == "\r" else end


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _after(text: str, index: int, lines: str) -> _Splice:
    end = _end_of_line(text, index)
    return _Splice(end, end, _newline(text) + lines)


def _lines_of(text: str, start: int, node: yaml.Node) -> _Splice:
    end = text.find("\n", _last(node))
    return _Splice(_line_start(text, start), len(text) if end < 0 else end + 1, "")


def _indented(text: str, lines: list[str], column: int) -> str:
    return _newline(text).join(" " * column + line for line in lines)


def _column(value: Value) -> int:
    return int(value.node.start_mark.column)


def _dash(text: str, item: Value) -> int:
    return text.rindex("-", 0, item.node.start_mark.index)


def _above_comments(text: str, start: int) -> int:
    """The start of the run of comment lines that ends above ``start``."""
    while start:
        above = _line_start(text, start - 1)
        if not text[above:start].lstrip().startswith("#"):
            break
        start = above
    return start
