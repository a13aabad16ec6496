r"""Reads YAML strictly: every value knows its file, its line and its place, so that a refusal can name them.

Does not know what a manifest is; :mod:`.parse_route` and :mod:`.parse_deployment` do. Rules, each because two readers
of the same file would else see two things: a key stands once, no alias and no merge key, text that some YAML version
takes for a number or a truth value is quoted, numbers are decimal.

>>> document, = documents("a.yaml", "weight: 10")
>>> document.need("weight").whole()
10
>>> documents("a.yaml", "a: 1\na: 2")
Traceback (most recent call last):
mlflow_deploy_plugin.errors.ManifestError: a.yaml: line 2: key 'a' stands twice in one mapping; keep one
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NoReturn

import yaml

from mlflow_deploy_plugin.errors import ManifestError

MAX_CHARACTERS: Final = 1_000_000
"""Of one file. A manifest has thousands; more is a mistake or an attack."""
MAX_DEPTH: Final = 100
_SURELY_SHALLOW: Final = 2000

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times faster
_TAGS: Final[Any] = yaml.resolver.Resolver()
_STRING: Final = "tag:yaml.org,2002:str"
_WHOLE: Final = "tag:yaml.org,2002:int"
_NULL: Final = "tag:yaml.org,2002:null"
_MERGE: Final = "tag:yaml.org,2002:merge"
_ODD_BREAK: Final = re.compile("\ufeff|\r(?!\n)|[\x85\u2028\u2029]")
"""What YAML 1.1 takes for a line end and 1.2 does not; and the byte order mark, which moves every place by one."""
_DECIMAL: Final = re.compile(r"0|-?[1-9][0-9]{0,17}")
_NUMBER_ELSEWHERE: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0[xo][0-9a-fA-F]+")
_KINDS: Final = {yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value"}


@dataclass(frozen=True, slots=True)
class Value:
    """One node of a YAML file."""

    file: str
    node: yaml.Node
    trail: str = ""
    """Where it is, as people write it: ``spec.rules[0].name``."""
    key: yaml.Node | None = None
    """The key it stands under, where it is a mapping's."""

    @property
    def line(self) -> int:
        """Line of the file, from 1."""
        return int(self.node.start_mark.line) + 1

    def refuse(self, problem: str) -> NoReturn:
        """Raise the error that says where ``problem`` is."""
        place = f"{self.trail} " if self.trail else ""
        raise ManifestError(f"{self.file}: line {self.line}: {place}{problem}")

    def fields(self) -> dict[str, "Value"]:
        """The entries of a mapping, in order; none for an empty value."""
        if self.is_null:
            return {}
        if not isinstance(self.node, yaml.MappingNode):
            self._mistyped("a mapping")
        prefix = f"{self.trail}." if self.trail else ""
        return {key.value: Value(self.file, value, f"{prefix}{key.value}", key) for key, value in self.node.value}

    def items(self) -> tuple["Value", ...]:
        """The entries of a list; none for an empty value."""
        if self.is_null:
            return ()
        if not isinstance(self.node, yaml.SequenceNode):
            self._mistyped("a list")
        return tuple(Value(self.file, node, f"{self.trail}[{index}]") for index, node in enumerate(self.node.value))

    def get(self, *keys: str) -> "Value | None":
        """The value under ``keys``, one inside the other; ``None`` where one is missing."""
        value: Value | None = self
        for key in keys:
            value = _entry(value, key) if value is not None else None
        return value

    def need(self, *keys: str) -> "Value":
        """The value under ``keys``.

        Raises:
            ManifestError: one of them is missing.
        """
        value = self
        for key in keys:
            value = _entry(value, key) or value.refuse(f"has no {key!r}; add it")
        return value

    def text(self) -> str:
        """A text."""
        if not isinstance(self.node, yaml.ScalarNode):
            self._mistyped("text")
        text = str(self.node.value)
        if not _is_text(self.node):
            self.refuse(f'is {text or "empty"}, which YAML does not read as text; put it in quotes: "{text}"')
        return text

    def whole(self) -> int:
        """A whole number."""
        if not isinstance(self.node, yaml.ScalarNode):
            self._mistyped("a whole number")
        if self.node.tag != _WHOLE or not _DECIMAL.fullmatch(self.node.value):
            self.refuse(f"is {self.node.value!r}, not a whole decimal number; write it without quotes, such as 100")
        return int(self.node.value)

    @property
    def is_null(self) -> bool:
        """Whether nothing stands there."""
        return self.node.tag == _NULL

    def _mistyped(self, wanted: str) -> NoReturn:
        self.refuse(f"is {_KINDS.get(type(self.node), 'something else')}, not {wanted}")


def _entry(mapping: Value, wanted: str) -> Value | None:
    """One entry, without a value for each of the others."""
    if not isinstance(mapping.node, yaml.MappingNode):
        return mapping.fields().get(wanted)  # refuses what is neither a mapping nor empty
    trail = f"{mapping.trail}.{wanted}" if mapping.trail else wanted
    found = (Value(mapping.file, node, trail, key) for key, node in mapping.node.value if key.value == wanted)
    return next(found, None)


@lru_cache(maxsize=64)  # an edit reads the text that it wrote a moment ago
def documents(file: str, text: str) -> tuple[Value, ...]:
    """The documents of one YAML file that are not empty.

    Raises:
        ManifestError: it is not YAML, or breaks a rule of this module; the message names the line.
    """
    if len(text) > MAX_CHARACTERS:
        raise ManifestError(f"{file}: {len(text)} characters, more than the {MAX_CHARACTERS} of a manifest; split it")
    if odd := _ODD_BREAK.search(text):
        raise ManifestError(
            f"{file}: holds the character U+{ord(odd[0]):04X}, which readers of YAML treat differently; remove it"
        )
    try:
        _check_depth(file, text)
        nodes = tuple(_compose(text))
    except (yaml.YAMLError, UnicodeError, RecursionError) as error:
        raise ManifestError(
            f"{file}: {_where(error)}not YAML: {_reason(error)}; mend the line or take it back"
        ) from error
    found = tuple(Value(file, node) for node in nodes if node.tag != _NULL)
    for document in found:
        _check(document)
    return found


def _compose(text: str) -> Iterator[yaml.Node]:
    loader = _LOADER(text)
    loader.resolve = _tag
    loader.descend_resolver = loader.ascend_resolver = _no_path
    try:
        while loader.check_node():
            yield loader.get_node()
    finally:
        loader.dispose()


def _tag(kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str:
    """YAML's type of a value; the same few words stand in every manifest, so they are looked up once."""
    return _plain_tag(value) if kind is yaml.ScalarNode and implicit[0] else str(_TAGS.resolve(kind, value, implicit))


def _no_path(*_: object) -> None:
    """Of the resolvers by path, which nobody registers: the loader would ask for them at every node."""


@lru_cache(maxsize=4096)
def _plain_tag(value: str) -> str:
    return str(_TAGS.resolve(yaml.ScalarNode, value, (True, False)))


def _check_depth(file: str, text: str) -> None:
    """Refuse nesting that would overflow the stack of the parser in C, and end the process with it.

    A block is indented more than the one around it or begins with it, so most texts need no second look.
    """
    longest = max((len(line) for line in text.splitlines()), default=0)
    if 2 * longest + text.count("[") + text.count("{") < _SURELY_SHALLOW:
        return
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ManifestError(
                f"{file}: line {_line(event.start_mark)}: nested deeper than {MAX_DEPTH} levels; flatten it"
            )


def document(file: str, text: str) -> Value:
    """The one document of a file.

    Raises:
        ManifestError: there is none, or more than one.
    """
    found = documents(file, text)
    if len(found) != 1:
        raise ManifestError(f"{file}: holds {len(found)} YAML documents, and must hold one")
    return found[0]


def _check(document: Value) -> None:
    """Refuse what two readers would see differently, anywhere in a document."""
    seen: set[int] = set()
    waiting = [(document.node, 0)]
    while waiting:
        node, depth = waiting.pop()
        if id(node) in seen:
            Value(document.file, node).refuse(
                "an alias stands for this in another place; write the value out, so that a change of one changes one"
            )
        if depth > MAX_DEPTH:
            Value(document.file, node).refuse(f"nested deeper than {MAX_DEPTH} levels; flatten it")
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            _check_keys(document.file, node)
            waiting += [(value, depth + 1) for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(value, depth + 1) for value in node.value]


def _check_keys(file: str, mapping: yaml.MappingNode) -> None:
    known: set[str] = set()
    for node, _ in mapping.value:
        if node.tag == _MERGE:
            Value(file, node).refuse("merge key '<<' is not read; write the entries out")
        if not _is_text(node):
            Value(file, node).text()
        if node.value in known:
            Value(file, node).refuse(f"key {node.value!r} stands twice in one mapping; keep one")
        known.add(node.value)


def _is_text(node: yaml.Node) -> bool:
    """Whether every reader takes a node for text."""
    if not isinstance(node, yaml.ScalarNode) or node.tag != _STRING:
        return False
    return node.style is not None or not _NUMBER_ELSEWHERE.fullmatch(node.value)


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"line {_line(mark)}: " if mark is not None else ""


def _line(mark: Any) -> int:  # noqa: ANN401  of the parser in C or of the one in Python
    return int(mark.line) + 1


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeError):
        return "a character that is no Unicode text"
    return " ".join(str(getattr(error, "problem", None) or error).split())
