"""From method and path to a route: exact and patterned paths, each also under ``/endpoints/{any}``.

Pure but for a bounded memory of recent answers, which makes the usual request one lookup in a dict.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, assert_never

from mlflow_deploy_plugin.serving.codecs.base import Answer, Explain, ExplainingCodec, Infer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow_deploy_plugin.serving.codecs.base import Codec, Route, Speaker

REMEMBERED: Final = 1024
"""Paths; a scanner's random ones only push others out."""

_ENDPOINT: Final = re.compile(r"/endpoints/[^/]+")


@dataclass(frozen=True, slots=True)
class InferMatch:
    """A route that runs the model."""

    codec: Codec
    route: Infer
    captures: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AnswerMatch:
    """A route that is answered at once."""

    speaker: Speaker
    route: Answer
    captures: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NoRoute:
    """Nothing serves this path (``allowed`` empty), or not by this method."""

    allowed: tuple[str, ...] = ()
    speaker: Speaker | None = None
    """The protocol whose paths begin alike; None: nobody's."""


@dataclass(frozen=True, slots=True)
class ExplainMatch:
    """A route that explains the model's answers."""

    codec: ExplainingCodec
    route: Explain
    captures: Mapping[str, str]


Bound = InferMatch | AnswerMatch | ExplainMatch
Match = Bound | NoRoute


class Router:
    """All routes of one application; of two that claim a path the first has it."""

    def __init__(self, codecs: Sequence[Codec], own: Sequence[tuple[Speaker, Answer]] = ()) -> None:
        self._matches: list[tuple[re.Pattern[str], Bound]] = [
            (compile_path(answer.path), AnswerMatch(speaker, answer, {})) for speaker, answer in own
        ]
        for codec in codecs:
            for route in codec.routes():
                self._matches.append((compile_path(route.path), _bind(codec, route)))
        self._owners = {first: codec for codec in reversed(codecs) for first in _prefixes(codec)}
        self._memory: dict[tuple[str, str], Match] = {}

    def match(self, method: str, path: str) -> Match:
        """The route of a request."""
        found = self._memory.get((method, path))
        if found is None:
            found = self._find(method, strip_endpoint(path))
            if len(self._memory) >= REMEMBERED:
                self._memory.clear()
            self._memory[method, path] = found
        return found

    def _find(self, method: str, path: str) -> Match:
        allowed: list[str] = []
        for pattern, bound in self._matches:
            if matched := pattern.fullmatch(path):
                if method in bound.route.methods:
                    return replace(bound, captures=matched.groupdict())
                allowed.extend(bound.route.methods)
        return NoRoute(tuple(dict.fromkeys(allowed)), self._owners.get(_first_segment(path)))


def _prefixes(codec: Codec) -> set[str]:
    """First segments below which a protocol has its paths."""
    return {_first_segment(route.path) for route in codec.routes() if route.path.count("/") > 1}


def _first_segment(path: str) -> str:
    return path.split("/", 2)[1] if "/" in path else ""


def _bind(codec: Codec, route: Route) -> Bound:
    match route:
        case Infer():
            return InferMatch(codec, route, {})
        case Answer():
            return AnswerMatch(codec, route, {})
        case Explain():
            if not isinstance(codec, ExplainingCodec):
                raise TypeError(f"{codec.name} has the route {route.path} and no words for explanations")
            return ExplainMatch(codec, route, {})
        case _:
            assert_never(route)


def strip_endpoint(path: str) -> str:
    """The path without ``/endpoints/NAME``.

    >>> strip_endpoint("/endpoints/churn/invocations"), strip_endpoint("/endpoints/churn"), strip_endpoint("/ping")
    ('/invocations', '/', '/ping')
    """
    prefix = _ENDPOINT.match(path)
    return (path[prefix.end() :] or "/") if prefix else path


def compile_path(path: str) -> re.Pattern[str]:
    """A route's path as a pattern; ``{name}`` is one segment, up to a colon.

    >>> compile_path("/v1/models/{name}:predict").fullmatch("/v1/models/churn:predict")["name"]
    'churn'
    """
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/:]+)", re.escape(path)))
