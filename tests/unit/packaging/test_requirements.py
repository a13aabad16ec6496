from pathlib import Path

import pytest

from mlflow_deploy_plugin.errors import ModelError
from mlflow_deploy_plugin.packaging import requirements


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    return folder


def _written(model: Path, **files: str) -> tuple[str, ...]:
    for name, text in files.items():
        (model / name.replace("__", ".")).write_text(text)
    return requirements.of_model(model)


def test_comments_blank_lines_and_continuations_are_read_as_pip_reads_them(model: Path) -> None:
    text = "# made by mlflow\nnumpy==2.0 # pinned\n\npandas>=2,\\\n  <3\n--extra-index-url https://x/simple\n"
    assert _written(model, requirements__txt=text) == (
        "numpy==2.0",
        "pandas>=2, <3",
        "--extra-index-url https://x/simple",
    )


def test_nested_files_are_read_in_place(model: Path) -> None:
    assert _written(model, requirements__txt="-r more.txt\nnumpy\n", more__txt="xgboost==2\n") == (
        "xgboost==2",
        "numpy",
    )


def test_a_constraint_pins_the_package_that_it_names_and_adds_no_other(model: Path) -> None:
    lines = _written(
        model, requirements__txt="-c constraints.txt\nnumpy\npandas==2.2\n", constraints__txt="numpy<2\nother==1\n"
    )
    assert lines == ("numpy<2", "pandas==2.2")


def test_an_old_model_states_its_packages_in_conda_yaml(model: Path) -> None:
    text = "dependencies:\n- python=3.9\n- pip\n- pip:\n  - mlflow==2.9\n  - numpy==1.24\n"
    assert _written(model, conda__yaml=text) == ("mlflow==2.9", "numpy==1.24")


def test_a_model_that_states_nothing_needs_nothing(model: Path) -> None:
    assert requirements.of_model(model) == ()


@pytest.mark.parametrize("line", ["-r missing.txt", "-r ../../etc/passwd", "-c missing.txt"])
def test_a_nested_file_outside_the_model_is_refused(model: Path, line: str) -> None:
    with pytest.raises(ModelError, match="which the model lacks"):
        _written(model, requirements__txt=f"{line}\nnumpy\n")


def test_serving_adds_what_the_model_does_not_pin() -> None:
    lines = requirements.with_serving(["NumPy==1.26.4", "mlflow==3.1"], mlflow_version="3.17.2")
    assert "NumPy==1.26.4" in lines
    assert "mlflow==3.1" in lines
    assert not any(line.startswith("numpy>=") for line in lines)
    assert "uvicorn[standard]>=0.30" in lines


def test_the_order_of_the_models_lines_does_not_matter() -> None:
    lines = ["numpy==2.0", "scikit-learn==1.5"]
    assert requirements.with_serving(lines, mlflow_version="3") == requirements.with_serving(
        reversed(lines), mlflow_version="3"
    )


@pytest.mark.parametrize(
    ("line", "here", "differs"),
    [
        ("numpy==2.0", "2.0", False),
        ("numpy==2.0", "2.0.0", False),
        ("torch==2.13.0", "2.13.0+cpu", False),
        ("numpy>=1.26,<3", "2.1", False),
        ("numpy", "0.1", False),
        ("numpy==2.0", "2.1", True),
        ("numpy~=2.0", "3.0", True),
        ("numpy==2.0; python_version<'3'", "1.0", False),
        ("numpy==2.0rc1", "2.0rc1", False),
        ("./model/wheels/x.whl", "1.0", False),
        ("--pre", "1.0", False),
        ("git+https://example.org/x.git", "1.0", False),
        ("numpy==2.0 --hash=sha256:00", "2.0", False),
    ],
)
def test_a_pin_is_compared_with_what_runs(line: str, here: str, differs: bool) -> None:  # noqa: FBT001
    found = requirements.differences([line], installed=lambda _: here, python="3.11", logged_python="3.11")
    assert bool(found) is differs


def test_a_missing_package_says_that_loading_will_fail() -> None:
    found = requirements.differences(["xgboost==2"], installed=lambda _: None, python="3.11", logged_python="3.11")
    assert len(found) == 1
    assert "will probably fail" in found[0]


def test_the_python_that_logged_the_model_is_read_from_its_own_file(model: Path) -> None:
    assert requirements.python_version(model, otherwise="3.11.2") == "3.11"
    (model / "python_env.yaml").write_text("python: 3.12.4\n")
    assert requirements.python_version(model, otherwise="3.11.2") == "3.12"


def test_installed_versions_come_from_this_python() -> None:
    assert requirements.installed_here("pytest") == pytest.__version__
    assert requirements.installed_here("no-such-package-at-all") is None
