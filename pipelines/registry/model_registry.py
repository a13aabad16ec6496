"""The door to MLflow's registry: what it says of some models, and one change at a time. A fake ships."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, assert_never

from mlflow_deploy_plugin.errors import ConfigError, RetryLaterError
from mlflow_deploy_plugin.packaging.mlflow_registry import MISSING, quiet_mlflow
from pipelines.registry.following import Change, Content, DeleteAlias, DeleteTag, SetAlias, SetTag, Version, key

_REFUSED: Final = frozenset({"PERMISSION_DENIED", "UNAUTHENTICATED", "INVALID_PARAMETER_VALUE"})
PAGE: Final = 1000


class ModelRegistry(Protocol):
    """What is asked of a registry."""

    def read(self, models: Sequence[str], *, stage: str) -> Content:
        """Versions and aliases of ``models``, and of all others whose versions carry our tags of ``stage``.

        Raises:
            RetryLaterError: the registry is away.
            ConfigError: it refuses us.
        """
        ...

    def apply(self, change: Change) -> None:
        """Make one change; making it twice is the same.

        Raises:
            RetryLaterError: the registry is away.
            ConfigError: it refuses us.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MlflowModelRegistry:
    """The registry at ``uri``, as MLflow's client speaks to it."""

    uri: str

    def read(self, models: Sequence[str], *, stage: str) -> Content:
        """Versions and aliases."""
        with self._client() as client:
            tagged = f"tags.`{key(stage, 'endpoint')}` LIKE '%'"
            versions = _pages(client.search_model_versions, tagged)
            for model in models:
                quoted = model.replace("'", "\\'")
                versions += _pages(client.search_model_versions, f"name = '{quoted}'")
            names = dict.fromkeys([each.name for each in versions])
            aliases = {name: _aliases(client.get_registered_model(name)) for name in names}
        return Content(
            versions={(each.name, str(each.version)): dict(each.tags or {}) for each in versions}, aliases=aliases
        )

    def apply(self, change: Change) -> None:
        """One call of MLflow's client."""
        with self._client() as client:
            match change:
                case SetAlias(model=model, alias=alias, version=version):
                    client.set_registered_model_alias(model, alias, version)
                case DeleteAlias(model=model, alias=alias):
                    client.delete_registered_model_alias(model, alias)
                case SetTag(model=model, version=version, key=name, value=value):
                    client.set_model_version_tag(model, version, name, value)
                case DeleteTag(model=model, version=version, key=name):
                    client.delete_model_version_tag(model, version, name)
                case _:
                    assert_never(change)

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """MLflow's client, its failures told in one line."""
        with quiet_mlflow() as mlflow:
            try:
                yield mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            except mlflow.exceptions.MlflowException as error:
                line = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
                if error.error_code in _REFUSED | MISSING:
                    raise ConfigError(f"the registry {self.uri} refuses ({error.error_code}): {line}") from error
                raise RetryLaterError(f"the registry {self.uri} does not answer ({line}); try again later") from error


def _pages(search: Callable[..., Any], text: str) -> list[Any]:
    found: list[Any] = []
    token: str | None = None
    while True:
        page = search(text, max_results=PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _aliases(model: Any) -> dict[str, str]:  # noqa: ANN401  MLflow's entities have no types
    return {name: str(version) for name, version in model.aliases.items()}


@dataclass(slots=True)
class FakeModelRegistry:
    """A registry in memory; ``breaks_after`` changes it is away."""

    versions: dict[Version, dict[str, str]] = field(default_factory=dict)
    aliases: dict[str, dict[str, str]] = field(default_factory=dict)
    applied: list[Change] = field(default_factory=list)
    breaks_after: int | None = None

    def read(self, models: Sequence[str], *, stage: str) -> Content:
        """Versions and aliases."""
        self._answer()
        wanted = {*models, *(model for (model, _), tags in self.versions.items() if key(stage, "endpoint") in tags)}
        return Content(
            versions={version: dict(tags) for version, tags in self.versions.items() if version[0] in wanted},
            aliases={model: dict(named) for model, named in self.aliases.items() if model in wanted},
        )

    def apply(self, change: Change) -> None:
        """Change the dictionaries."""
        self._answer()
        match change:
            case SetAlias(model=model, alias=alias, version=version):
                self.aliases.setdefault(model, {})[alias] = version
            case DeleteAlias(model=model, alias=alias):
                self.aliases.get(model, {}).pop(alias, None)
            case SetTag(model=model, version=version, key=name, value=value):
                self.versions[model, version][name] = value
            case DeleteTag(model=model, version=version, key=name):
                self.versions[model, version].pop(name, None)
            case _:
                assert_never(change)
        self.applied.append(change)

    def _answer(self) -> None:
        if self.breaks_after is not None and len(self.applied) >= self.breaks_after:
            raise RetryLaterError("the registry does not answer; try again later")
