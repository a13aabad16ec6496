"""Edits the rules of a ``route.yaml`` in place: slots and shadow of the split, and the override rules. Pure."""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from mlflow_deploy_plugin.manifests.in_place import Place, insert_item, remove_item, set_values
from mlflow_deploy_plugin.manifests.model import Backend, Mirror
from mlflow_deploy_plugin.manifests.reading import Value, documents
from mlflow_deploy_plugin.manifests.render import OVERRIDE, SPLIT, Face, mirror, override_rule, slot


def with_backends(text: str, backends: Sequence[Backend], *, file: str) -> str:
    """The slots ``backends`` in every rule of the split; where only weights differ, only weights change."""
    for face, place, _ in _splits(text, file):
        text = _with_slots(text, (*place, "backendRefs"), backends, face, file=file)
    return text


def with_mirror(text: str, value: Mirror | None, *, file: str) -> str:
    """The shadow ``value`` in the rules ``split``; ``None``: no shadow."""
    for face, place, rule in _splits(text, file):
        if rule.need("name").text() == SPLIT:
            text = set_values(text, {(*place, "filters"): [mirror(value, face)] if value else None}, file=file)
    return text


def with_override(text: str, endpoint: str, deployment: str, *, file: str) -> str:
    """The rules by which a header picks ``deployment``, where there are none yet."""
    for face, rules in _routes(text, file):
        entries = rules.items()
        if not any(_overrides(rule, deployment) for rule in entries):
            rule = override_rule(endpoint, deployment, face)
            text = insert_item(text, _place(face), len(entries), rule, file=file)
    return text


def without_override(text: str, deployment: str, *, file: str) -> str:
    """No rule by which a header picks ``deployment``."""
    for face, rules in _routes(text, file):
        for index, rule in enumerate(rules.items()):
            if _overrides(rule, deployment):
                text = remove_item(text, _place(face), index, file=file)
    return text


def _overrides(rule: Value, deployment: str) -> bool:
    return rule.need("name").text() == f"{OVERRIDE}{deployment}"


def _routes(text: str, file: str) -> Iterator[tuple[Face, Value]]:
    """The rules of each route of the file: of REST first, as they are written."""
    for face, manifest in zip(Face, documents(file, text), strict=False):
        yield face, manifest.need("spec", "rules")


def _place(face: Face) -> Place:
    return (list(Face).index(face), "spec", "rules")


def _splits(text: str, file: str) -> Iterator[tuple[Face, Place, Value]]:
    for face, rules in _routes(text, file):
        for index, rule in enumerate(rules.items()):
            name = rule.need("name").text()
            if name == SPLIT or name.startswith(f"{SPLIT}-"):
                yield face, (*_place(face), index), rule


def _with_slots(text: str, place: Place, backends: Sequence[Backend], face: Face, *, file: str) -> str:
    names = [backend.deployment for backend in backends]
    rule = documents(file, text)[int(place[0])].need("spec", "rules").items()[int(place[-2])]
    old = [reference.need("name").text() for reference in rule.need("backendRefs").items()]
    for kind, start, end, new_start, new_end in reversed(
        SequenceMatcher(None, old, names, autojunk=False).get_opcodes()
    ):
        if kind == "equal":
            continue
        for index in reversed(range(start, end)):
            text = remove_item(text, place, index, file=file)
        for backend in reversed(backends[new_start:new_end]):
            text = insert_item(text, place, start, slot(backend, face), file=file)
    weights = {(*place, index, "weight"): backend.weight for index, backend in enumerate(backends)}
    return set_values(text, dict(weights), file=file)
