"""Server-sent events: lines of text in, whole events out (WHATWG HTML, 9.2). Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

DONE: Final = "[DONE]"
"""How OpenAI's streams, and MLflow's after them, say that no more will come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event with data."""

    name: str = "message"
    data: str


def read_events(lines: Iterable[str]) -> Iterator[Event]:
    r"""The events that ``lines`` hold, up to the stream's end or ``[DONE]``; comments and other fields are skipped.

    >>> [event.data for event in read_events(["data: a", "data: b", "", ": ping", "data: [DONE]", ""])]
    ['a\nb']
    """
    name, data = "message", list[str]()
    for line in _ended(lines):
        field, _, value = line.partition(":")
        if line == "" and data:
            if data == [DONE]:
                return
            yield Event(name=name, data="\n".join(data))
            name, data = "message", []
        elif field == "event":
            name = value.removeprefix(" ")
        elif field == "data":
            data.append(value.removeprefix(" "))


def _ended(lines: Iterable[str]) -> Iterator[str]:
    """``lines`` and the blank one that a server may leave out at the end."""
    yield from lines
    yield ""
