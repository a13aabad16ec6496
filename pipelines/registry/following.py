"""What the registry should say of one stage, and what to change where it says something else. Pure.

Of the version that is stable the alias ``champion`` is set, of the one canary that has users ``challenger``; in a stage
other than production their names end in ``-STAGE``. Every version that stands in the tree carries the tags
``modelserve.STAGE.endpoint``, ``.commit`` (the newest that touched the endpoint) and ``.role``. Rules:

* git is read and never written; traffic never follows an alias;
* where two endpoints disagree who is champion of one model, the alias is set for neither, and that is told;
* an alias is taken away only from a version that carries our tags: people's own aliases stay.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mlflow_deploy_plugin.manifests.model import Endpoint

PREFIX: Final = "modelserve"
PRODUCTION: Final = "production"
CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"

Version = tuple[str, str]
"""Registered model and number of the version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAlias:
    """Let an alias of a model point at a version."""

    model: str
    alias: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteAlias:
    """Take an alias of a model away."""

    model: str
    alias: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTag:
    """Give a version a tag, or another value of it."""

    model: str
    version: str
    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteTag:
    """Take a tag of a version away."""

    model: str
    version: str
    key: str


Change = SetAlias | DeleteAlias | SetTag | DeleteTag


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What the registry says of some models."""

    versions: Mapping[Version, Mapping[str, str]] = field(default_factory=dict)
    """Tags of every version."""
    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Of each model: alias to version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What git says of one stage."""

    stage: str
    tags: Mapping[Version, Mapping[str, str]]
    aliases: Mapping[str, Mapping[str, str]]
    contested: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Model and alias on which endpoints disagree, and how, as people read it."""


def key(stage: str, name: str) -> str:
    """Of a tag.

    >>> key("production", "commit")
    'modelserve.production.commit'
    """
    return f"{PREFIX}.{stage}.{name}"


def alias(stage: str, role: str) -> str:
    """Of a role in a stage.

    >>> alias("production", "champion"), alias("staging", "champion")
    ('champion', 'champion-staging')
    """
    return role if stage == PRODUCTION else f"{role}-{stage}"


def wanted(stage: str, served: Iterable[tuple[Endpoint, str]]) -> Wanted:
    """What the registry should say, from each endpoint and the commit that last touched it."""
    tags: dict[Version, dict[str, str]] = {}
    claims: dict[tuple[str, str], dict[str, str]] = {}
    for endpoint, commit in served:
        for version, role in _roles(endpoint):
            said = {"endpoint": endpoint.route.endpoint, "commit": commit, "role": role}
            joined = tags.setdefault(version, {})
            for name, text in said.items():
                joined[key(stage, name)] = _joined(joined.get(key(stage, name), ""), text)
            if role in (CHAMPION, CHALLENGER):
                claims.setdefault((version[0], role), {})[version[1]] = endpoint.route.endpoint
    aliases: dict[str, dict[str, str]] = {}
    for (model, role), by_version in claims.items():
        if len(by_version) == 1:
            aliases.setdefault(model, {})[alias(stage, role)] = next(iter(by_version))
    contested = {
        (model, alias(stage, role)): f"{role} of model {model!r} is version "
        + " and ".join(f"{version} by endpoint {endpoint}" for version, endpoint in by_version.items())
        for (model, role), by_version in claims.items()
        if len(by_version) > 1
    }
    return Wanted(stage=stage, tags=tags, aliases=aliases, contested=contested)


def changes(wish: Wanted, found: Content) -> Iterator[Change]:
    """What to change, in an order in which stopping anywhere does no harm; nothing the second time."""
    known = {version: tags for version, tags in wish.tags.items() if version in found.versions}
    for (model, version), tags in known.items():
        present = found.versions[model, version]
        for name, text in tags.items():
            if present.get(name) != text:
                yield SetTag(model=model, version=version, key=name, value=text)
    for model, named in wish.aliases.items():
        for name, version in named.items():
            if (model, version) in known and found.aliases.get(model, {}).get(name) != version:
                yield SetAlias(model=model, alias=name, version=version)
    yield from _stale_aliases(wish, found)
    for (model, version), present in found.versions.items():
        for name in present:
            if _is_ours(name, wish.stage) and name not in wish.tags.get((model, version), {}):
                yield DeleteTag(model=model, version=version, key=name)


def unknown(wish: Wanted, found: Content) -> Sequence[Version]:
    """Versions that git serves and this registry does not have."""
    return [version for version in wish.tags if version not in found.versions]


def _roles(endpoint: Endpoint) -> Iterator[tuple[Version, str]]:
    """Every version of the registry that an endpoint holds; of several deployments of one the first role counts."""
    route = endpoint.route
    canaries = [name for name, weight in route.weights.items() if weight and name not in {route.stable, route.baseline}]
    seen: set[Version] = set()
    for name in dict.fromkeys((route.stable, *canaries, *endpoint.deployments)):
        model = endpoint.deployments[name].model
        version = (model.name, model.version)
        if not all(version) or version in seen:
            continue
        seen.add(version)
        is_challenger = len(canaries) == 1 and name == canaries[0]
        yield version, CHAMPION if name == route.stable else CHALLENGER if is_challenger else "standby"


def _joined(before: str, more: str) -> str:
    """Values of several endpoints, each once."""
    return ",".join(dict.fromkeys([*filter(None, before.split(",")), more]))


def _is_ours(name: str, stage: str) -> bool:
    return name.startswith(f"{PREFIX}.{stage}.")


def _stale_aliases(wish: Wanted, found: Content) -> Iterator[DeleteAlias]:
    ours = (alias(wish.stage, CHAMPION), alias(wish.stage, CHALLENGER))
    for model, named in found.aliases.items():
        for name in ours:
            version = named.get(name)
            if version is None or name in wish.aliases.get(model, {}) or (model, name) in wish.contested:
                continue
            if any(_is_ours(tag, wish.stage) for tag in found.versions.get((model, version), {})):
                yield DeleteAlias(model=model, alias=name)
