import ast
import sys
from pathlib import Path

from packaging.requirements import Requirement

from mlflow_deploy_plugin.packaging import requirements, serving_code

OURS = {serving_code.PACKAGE.name}
OF_THE_MODEL = {"mlflow", "onnxruntime", "pynvml", "pydantic", "shap", "skl2onnx", "sklearn", "torch"}
"""What a model's own requirements bring, or what is used only where it is installed."""
BROUGHT_ALONG = {"uvloop", "yaml"}
"""Come with ``uvicorn[standard]`` and with mlflow."""
MODULE_OF = {"grpcio": "grpc", "protobuf": "google"}
"""Packages that are not called as their module."""
MODULES = {
    "bentoml",
    "google",
    "grpc",
    "numpy",
    "orjson",
    "pandas",
    "prometheus_client",
    "pyarrow",
    "starlette",
    "uvicorn",
}


def test_the_modules_of_the_serving_requirements_are_the_ones_that_this_test_knows() -> None:
    names = [Requirement(line).name.replace("-", "_") for line in requirements.SERVING]
    assert {MODULE_OF.get(name, name) for name in names} == MODULES


def test_serving_imports_nothing_that_a_bento_does_not_install() -> None:
    known = MODULES | BROUGHT_ALONG | OURS | OF_THE_MODEL | set(sys.stdlib_module_names)
    for path in _copied():
        assert _imported(path) <= known, path


def test_a_copy_has_no_compiled_files(tmp_path: Path) -> None:
    serving_code.copy(serving_code.PACKAGE, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if "__pycache__" in path.parts]
    assert (tmp_path / serving_code.SERVICE_FILE).is_file()


def _copied() -> list[Path]:
    rooms = [path for room in serving_code.ROOMS for path in (serving_code.PACKAGE / room).rglob("*.py")]
    return [serving_code.PACKAGE / "errors.py", *rooms]


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names
