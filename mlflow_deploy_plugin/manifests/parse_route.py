"""Reads ``route.yaml``: an HTTPRoute whose rules must say what the gateway of one machine can do too. Pure.

Strict, because the agent and the cluster must serve the same: a rule that only one of them understood is refused.
"""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

from mlflow_deploy_plugin.errors import ConfigError, ManifestError
from mlflow_deploy_plugin.manifests.model import Backend, Hold, Mirror, Route
from mlflow_deploy_plugin.manifests.reading import Value, documents
from mlflow_deploy_plugin.manifests.render import GATEWAY_API, MIRROR, OFF, OVERRIDE, SPLIT, Face
from mlflow_deploy_plugin.manifests.tree import route_file
from mlflow_deploy_plugin.spec import annotations, headers
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT, is_label

SALT: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Letters that mean themselves in the regular expression substitution by which Envoy prepends the salt."""


@lru_cache(maxsize=4096)  # an unchanged file of a big tree is not read again at the next commit
def parse_route(text: str, *, stage: str, endpoint: str) -> Route:
    """The split that a ``route.yaml`` says.

    Raises:
        ManifestError: a rule of the tree is broken; the message begins with the path and the line.
    """
    path = route_file(stage, endpoint)
    manifests = documents(path, text)
    if not 1 <= len(manifests) <= len(Face):
        raise ManifestError(f"{path}: holds {len(manifests)} YAML documents; it holds one route, or one and its gRPC")
    manifest, *others = manifests
    backends, mirror = _read_manifest(manifest, endpoint, Face.REST)
    for other in others:
        if _read_manifest(other, endpoint, Face.GRPC) != (backends, mirror):
            other.need("spec", "rules").refuse(
                f"disagree with those of {endpoint!r} above; the split must have the same slots, weights and shadow"
            )
    state = _State(manifest.need("metadata", "annotations"))
    hears_override = state.switch(annotations.OVERRIDE)
    if not hears_override:
        _refuse_overrides(manifests)
    try:
        return Route(
            endpoint=endpoint,
            stage=stage,
            backends=backends,
            stable=state.need(annotations.STABLE),
            salt=state.salt(),
            rollout=state.text(annotations.ROLLOUT),
            phase=state.text(annotations.PHASE),
            step=state.count(annotations.STEP, what="index of a step"),
            since=state.since(),
            holds=state.holds(),
            baseline=state.text(annotations.BASELINE),
            gateway_address=state.text(annotations.GATEWAY_ADDRESS),
            mirror=mirror,
            hears_override=hears_override,
            has_grpc=bool(others),
            approvals=state.count(annotations.APPROVALS, what="number of approvals"),
        )
    except ConfigError as error:
        raise ManifestError(f"{path}: {error}") from error


def _refuse_overrides(manifests: Sequence[Value]) -> None:
    for manifest in manifests:
        for rule in manifest.need("spec", "rules").items():
            if (name := rule.need("name").text()).startswith(OVERRIDE):
                rule.refuse(
                    f"is named {name!r}, and {annotations.OVERRIDE} is off; remove the rule, or let it be on by"
                    " `mlflow deployments update-endpoint --endpoint NAME -C override=on`"
                )


def expect(value: Value, key: str, wanted: str) -> None:
    """Refuse a mapping whose ``key`` is not ``wanted``."""
    found = value.need(key)
    if found.text() != wanted:
        found.refuse(f"is {found.text()!r}, and must be {wanted!r} here")


def _read_manifest(manifest: Value, endpoint: str, face: Face) -> tuple[tuple[Backend, ...], Mirror | None]:
    expect(manifest, "apiVersion", f"{GATEWAY_API}/v1")
    expect(manifest, "kind", "HTTPRoute")
    expect(manifest.need("metadata"), "name", face.route_name(endpoint))
    _check_label(manifest, endpoint)
    return _read_rules(manifest.need("spec", "rules"), endpoint, face)


def _check_label(manifest: Value, endpoint: str) -> None:
    found = manifest.get("metadata", "labels", annotations.ENDPOINT_LABEL)
    if found is not None and found.text() != endpoint:
        found.refuse(f"is {found.text()!r}, and must be {endpoint!r}, the name of the folder")


def _read_rules(rules: Value, endpoint: str, face: Face) -> tuple[tuple[Backend, ...], Mirror | None]:
    named: dict[str, Value] = {}
    for rule in rules.items():
        name = rule.need("name").text()
        if name in named:
            rule.refuse(f"is a second rule of the name {name!r}; keep one")
        named[name] = rule
    if SPLIT not in named:
        rules.refuse(f"has no rule named {SPLIT!r}, which holds the weights; add it")
    split = _read_split(named[SPLIT], endpoint, face)
    for name, rule in named.items():
        if name.startswith(f"{SPLIT}-"):
            _check_agrees(rule, split, face)
        elif name.startswith(OVERRIDE):
            _check_override(rule, name.removeprefix(OVERRIDE), face)
        elif name != SPLIT:
            rule.refuse(f"is named {name!r}; only {SPLIT!r}, '{SPLIT}-…' and '{OVERRIDE}DEPLOYMENT' are served")
    return split, _read_mirror(named[SPLIT], face)


def _read_split(rule: Value, endpoint: str, face: Face) -> tuple[Backend, ...]:
    matches = rule.need("matches")
    if face is Face.GRPC:
        for match in matches.items():
            if _chosen(match).get(headers.ENDPOINT) != endpoint:
                match.refuse(f"must match the metadata {headers.ENDPOINT} with the value {endpoint!r}")
    elif f"/endpoints/{endpoint}" not in {match.need("path", "value").text() for match in matches.items()}:
        matches.refuse(f"does not hold the path prefix '/endpoints/{endpoint}', the endpoint's address")
    return _read_slots(rule, face)


def _chosen(match: Value) -> dict[str, str]:
    """The headers of a match."""
    return {header.need("name").text().lower(): header.need("value").text() for header in match.need("headers").items()}


def _read_mirror(rule: Value, face: Face) -> Mirror | None:
    """The shadow of a rule: its one filter, if any."""
    entries = rule.get("filters")
    filters = entries.items() if entries else ()
    for index, entry in enumerate(filters):
        expect(entry, "type", MIRROR)
        if index:
            entry.refuse("is a second shadow; keep one")
    if not filters:
        return None
    mirror = filters[0].need("requestMirror")
    try:
        return Mirror(deployment=_read_service(mirror.need("backendRef"), face), share=_read_share(mirror))
    except ConfigError as error:
        mirror.refuse(str(error))


def _read_share(mirror: Value) -> int:
    """Of 1000 requests; the Gateway API takes a per cent or a fraction, and all where neither is said."""
    if (percent := mirror.get("percent")) is not None:
        return percent.whole() * TOTAL_WEIGHT // 100
    if (fraction := mirror.get("fraction")) is None:
        return TOTAL_WEIGHT
    denominator = fraction.need("denominator")
    if denominator.whole() != TOTAL_WEIGHT:
        denominator.refuse(f"is {denominator.whole()}, and must be {TOTAL_WEIGHT}, as weights are")
    return fraction.need("numerator").whole()


def _read_slots(rule: Value, face: Face) -> tuple[Backend, ...]:
    references = rule.need("backendRefs")
    backends = tuple(_read_slot(reference, face) for reference in references.items())
    if (total := sum(backend.weight for backend in backends)) != TOTAL_WEIGHT:
        given = ", ".join(f"{backend.deployment}={backend.weight}" for backend in backends) or "none"
        references.refuse(f"has weights that sum to {total}, not {TOTAL_WEIGHT}: {given}")
    return backends


def _read_slot(reference: Value, face: Face) -> Backend:
    name = _read_service(reference, face)
    if (weight := reference.get("weight")) is None:
        reference.refuse(f"({name}) has no weight; state it, since the default of 1 is not of {TOTAL_WEIGHT}")
    if not 0 <= weight.whole() <= TOTAL_WEIGHT:
        weight.refuse(f"is {weight.whole()}, not within 0 to {TOTAL_WEIGHT}")
    assigned = set(_assigned(reference))
    if assigned != {name}:
        said = ", ".join(sorted(assigned)) or "nobody"
        reference.refuse(
            f"({name}) must set {headers.MODEL_ASSIGNED} to {name!r} by a filter (it says {said}): by it the log knows"
            " who was meant, and Envoy Gateway keeps users on a version only where there is one"
        )
    return Backend(deployment=name, weight=weight.whole())


def _read_service(reference: Value, face: Face) -> str:
    expect(reference, "group", "")
    expect(reference, "kind", "Service")
    name, port = reference.need("name"), reference.need("port")
    if not is_label(name.text()):
        name.refuse(f"is {name.text()!r}, no DNS label of at most 50 characters")
    if port.whole() != face.value:
        port.refuse(f"is {port.whole()}, and must be {face.value}, the port of every Service here for {face.name}")
    return name.text()


def _assigned(reference: Value) -> Iterator[str]:
    filters = reference.get("filters")
    for modifier in filters.items() if filters else ():
        for kind in ("requestHeaderModifier", "responseHeaderModifier"):
            entries = modifier.get(kind, "set")
            for entry in entries.items() if entries else ():
                if entry.need("name").text().lower() == headers.MODEL_ASSIGNED:
                    yield entry.need("value").text()


def _check_agrees(rule: Value, split: tuple[Backend, ...], face: Face) -> None:
    other = _read_slots(rule, face)
    if other != split:
        rule.need("backendRefs").refuse(f"disagrees with the rule {SPLIT!r}; both must have the same slots and weights")


def _check_override(rule: Value, deployment: str, face: Face) -> None:
    references = rule.need("backendRefs").items()
    names = [_read_service(reference, face) for reference in references]
    if names != [deployment]:
        rule.need("backendRefs").refuse(
            f"leads to {', '.join(names) or 'nobody'}; an override leads to {deployment!r} alone, as its name says"
        )
    for match in rule.need("matches").items():
        if _chosen(match).get(headers.MODEL_VERSION) != deployment:
            match.refuse(f"must match the header {headers.MODEL_VERSION} with the value {deployment!r}")


class _State:
    """The annotations of a route, typed."""

    def __init__(self, value: Value) -> None:
        self._value = value

    def text(self, key: str) -> str:
        found = self._value.get(key)
        return found.text() if found is not None else ""

    def need(self, key: str) -> str:
        return self._value.need(key).text()

    def salt(self) -> str:
        salt = self._value.need(annotations.SALT)
        if not SALT.fullmatch(salt.text()):
            salt.refuse(f"is {salt.text()!r}; a salt has 1 to 64 of the characters A-Z a-z 0-9 . _ -")
        return salt.text()

    def switch(self, key: str) -> bool:
        """On where nothing is said."""
        found = self._value.get(key)
        if found is None or found.text() in {"", "on"}:
            return True
        if found.text() != OFF:
            found.refuse(f"is {found.text()!r}; write 'on' or 'off', in quotes")
        return False

    def count(self, key: str, *, what: str) -> int:
        found = self._value.get(key)
        if found is None or not found.text():
            return 0
        if not re.fullmatch("[0-9]{1,4}", found.text()):
            found.refuse(f"is {found.text()!r}, not the {what}")
        return int(found.text())

    def since(self) -> datetime | None:
        found = self._value.get(annotations.SINCE)
        return _read_time(found, found.text()) if found is not None and found.text() else None

    def holds(self) -> tuple[Hold, ...]:
        found = self._value.get(annotations.HOLD)
        if found is None or not found.text():
            return ()
        try:
            written = json.loads(found.text())
            first, *others = written if isinstance(written, list) else [written]
            return tuple(_hold(one, found) for one in (first, *others))
        except (ValueError, KeyError, TypeError, AttributeError):
            found.refuse("is not the JSON object of deployment, digest, reason and perhaps until, nor a list of such")


def _hold(written: dict[str, str], place: Value) -> Hold:
    until = written.get("until", "")
    return Hold(
        deployment=str(written["deployment"]),
        model_digest=str(written["digest"]),
        reason=str(written["reason"]),
        until=_read_time(place, until) if until else None,
    )


def _read_time(value: Value, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        value.refuse(f"holds {text!r}, not a time such as 2026-01-31T12:00:00Z")
    if time.tzinfo is None:
        value.refuse(f"holds {text!r} without a time zone; end it with Z")
    return time
