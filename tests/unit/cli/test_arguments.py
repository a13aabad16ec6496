import subprocess
import sys

import pytest

from mlflow_deploy_plugin.cli import main


def run(*words: str) -> int:
    try:
        return main(words)
    except SystemExit as ended:
        return int(ended.code or 0)


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("version") == 0
    assert capsys.readouterr().out.startswith("modelserve 0.")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("fly",),
        ("predict",),
        ("predict", "--name", "a", "--endpoint", "b"),
        ("logs", "-n", "0"),
        ("history",),
    ],
    ids=" ".join,
)
def test_a_wrong_command_is_refused_on_one_line(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Error: ")
    assert captured.err.count("\n") == 1
    assert "--help" in captured.err


def test_help_and_refusals_load_nothing_heavy() -> None:
    code = (
        "import sys; from mlflow_deploy_plugin.cli.arguments import build_parser; import mlflow_deploy_plugin.cli.main;"
        "build_parser();"
        "sys.exit(', '.join(m for m in ('mlflow', 'pandas', 'numpy', 'httpx', 'bentoml') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
