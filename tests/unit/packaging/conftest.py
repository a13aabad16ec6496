"""Models as folders, a registry in memory and a builder without BentoML: packaging in milliseconds."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.packaging import Doors, Packaged, PackagingOptions, package
from mlflow_deploy_plugin.packaging.fake import FakeBuilder, FakeCompiler, FakeRegistry
from mlflow_deploy_plugin.packaging.registry import Entry
from mlflow_deploy_plugin.packaging.serving_code import FILES, PACKAGE

MLMODEL = """\
flavors:
  python_function:
    loader_module: mlflow.sklearn
    python_version: {python}
  sklearn:
    sklearn_version: 1.9.1
mlflow_version: 3.17.2
model_id: m-1
run_id: {run_id}
"""

ModelMaker = Callable[..., Path]


@pytest.fixture
def make_model(tmp_path: Path) -> ModelMaker:
    """A folder as MLflow logs it; every argument has a default that packages."""

    def make(  # noqa: PLR0913  a test names only what matters to it
        name: str = "model",
        *,
        weights: bytes = b"weights",
        requirements: str = "mlflow==3.17.2\nnumpy==2.0.0\n",
        python: str = "3.11.7",
        run_id: str = "run-1",
        files: Mapping[str, str] | None = None,
    ) -> Path:
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / "MLmodel").write_text(MLMODEL.format(python=python, run_id=run_id))
        (folder / "model.skops").write_bytes(weights)
        (folder / "requirements.txt").write_text(requirements)
        for path, text in (files or {}).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        return folder

    return make


@dataclass(kw_only=True)
class Bench:
    """A home, fakes that stand for the outside, and the verb under test."""

    home: Home
    code: Path
    registry: FakeRegistry = field(default_factory=FakeRegistry)
    builder: FakeBuilder = field(default_factory=FakeBuilder)
    compiler: FakeCompiler = field(default_factory=FakeCompiler)
    installed: dict[str, str] | None = None

    def register(self, name: str, version: str, folder: Path) -> None:
        self.registry.entries.append(Entry(name=name, version=version, run_id="run-1", model_id=f"m-{version}"))
        self.registry.folders[f"models:/{name}/{version}"] = folder

    def package(self, uri: str, options: PackagingOptions | None = None) -> Packaged:
        return package(uri, home=self.home, config=options, doors=self.doors)

    @property
    def doors(self) -> Doors:
        versions = self.installed
        installed = (lambda _: "2.0.0") if versions is None else versions.get
        return Doors(
            registry=self.registry, build=self.builder, compile=self.compiler, code=self.code, installed=installed
        )

    def bentos(self) -> list[str]:
        return sorted(f"{path.parent.name}:{path.name}" for path in self.home.bentos.glob("*/*") if path.is_dir())

    def leftovers(self) -> list[Path]:
        return list(self.home.packaging.glob("work-*"))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    code = tmp_path / "code" / "mlflow_deploy_plugin"
    (code / "serving").mkdir(parents=True)
    (code / "serving" / "service.py").write_text("ModelService = None\n")
    for room in ("spec", "attribution"):
        shutil.copytree(PACKAGE / room, code / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copyfile(PACKAGE / name, code / name)
    return Bench(home=Home(root=tmp_path / "home"), code=code)
