"""Edits the rules of a ``route.yaml`` in place: slots and shadow of the split, and the override rules. Pure."""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from mlflow_deploy_plugin.manifests.in_place import Place, insert_item, remove_item, set_values
from mlflow_deploy_plugin.manifests.model import Backend, Mirror
from mlflow_deploy_plugin.manifests.reading import Value, document
from mlflow_deploy_plugin.manifests.render import OVERRIDE, SPLIT, mirror, override_rule, slot

_RULES: Place = (0, "spec", "rules")


def with_backends(text: str, backends: Sequence[Backend], *, file: str) -> str:
    """The slots ``backends`` in every rule of the split; where only weights differ, only weights change."""
    for index, _ in _rules(text, file, split=True):
        text = _with_slots(text, (*_RULES, index, "backendRefs"), backends, file)
    return text


def with_mirror(text: str, value: Mirror | None, *, file: str) -> str:
    """The shadow ``value`` in the rule ``split``; ``None``: no shadow."""
    for index, rule in _rules(text, file, split=True):
        if rule.need("name").text() == SPLIT:
            return set_values(text, {(*_RULES, index, "filters"): [mirror(value)] if value else None}, file=file)
    return text


def with_override(text: str, endpoint: str, deployment: str, *, file: str) -> str:
    """The rule by which a header picks ``deployment``, where there is none yet."""
    rules = document(file, text).need("spec", "rules").items()
    if any(rule.need("name").text() == f"{OVERRIDE}{deployment}" for rule in rules):
        return text
    return insert_item(text, _RULES, len(rules), override_rule(endpoint, deployment), file=file)


def without_override(text: str, deployment: str, *, file: str) -> str:
    """No rule by which a header picks ``deployment``."""
    for index, rule in _rules(text, file, split=False):
        if rule.need("name").text() == f"{OVERRIDE}{deployment}":
            return remove_item(text, _RULES, index, file=file)
    return text


def _rules(text: str, file: str, *, split: bool) -> Iterator[tuple[int, Value]]:
    for index, rule in enumerate(document(file, text).need("spec", "rules").items()):
        name = rule.need("name").text()
        if (name == SPLIT or name.startswith(f"{SPLIT}-")) == split:
            yield index, rule


def _with_slots(text: str, place: Place, backends: Sequence[Backend], file: str) -> str:
    names = [backend.deployment for backend in backends]
    rule = document(file, text).need("spec", "rules").items()[int(place[-2])]
    old = [reference.need("name").text() for reference in rule.need("backendRefs").items()]
    for kind, start, end, new_start, new_end in reversed(
        SequenceMatcher(None, old, names, autojunk=False).get_opcodes()
    ):
        if kind == "equal":
            continue
        for index in reversed(range(start, end)):
            text = remove_item(text, place, index, file=file)
        for backend in reversed(backends[new_start:new_end]):
            text = insert_item(text, place, start, slot(backend), file=file)
    weights = {(*place, index, "weight"): backend.weight for index, backend in enumerate(backends)}
    return set_values(text, dict(weights), file=file)
