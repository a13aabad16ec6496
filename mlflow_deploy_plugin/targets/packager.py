"""The seam to packaging: a model URI in, a Bento out. The real one imports MLflow, so it is loaded when called."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.packaging import Packaged, PackagingOptions


class Packager(Protocol):
    """Whoever makes Bentos."""

    def package(self, model_uri: str, options: PackagingOptions) -> Packaged:
        """The Bento of that model; the same one for the same model, code and environment."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BentoPackager:
    """The real one; says aloud what packaging warns of."""

    home: Home
    warn: Callable[[str], None]

    def package(self, model_uri: str, options: PackagingOptions) -> Packaged:
        """The Bento of that model in this home.

        Raises:
            ModelError: there is no such model, or it cannot be packaged.
            PackagingError: no Bento could be built.
        """
        from mlflow_deploy_plugin.packaging import package  # noqa: PLC0415  imports MLflow

        packaged = package(model_uri, home=self.home, config=options)
        for warning in packaged.warnings:
            self.warn(warning)
        return packaged


@dataclass(slots=True, kw_only=True)
class FakePackager:
    """Packages nothing: gives what ``make`` makes, and remembers what it was asked."""

    make: Callable[[str], Packaged]
    asked: list[tuple[str, PackagingOptions]] = field(default_factory=list)

    def package(self, model_uri: str, options: PackagingOptions) -> Packaged:
        """What ``make`` makes of ``model_uri``."""
        self.asked.append((model_uri, options))
        return self.make(model_uri)
