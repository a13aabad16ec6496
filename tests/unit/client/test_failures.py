import errno
from pathlib import Path

import click
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

from mlflow_deploy_plugin import errors
from mlflow_deploy_plugin.targets.failures import DeploymentError, as_deployment_error


def translated(error: BaseException) -> DeploymentError:
    with pytest.raises(DeploymentError) as raised, as_deployment_error():
        raise error
    return raised.value


@pytest.mark.parametrize(
    ("error", "code", "exit_code"),
    [
        (errors.AlreadyExistsError("x"), "RESOURCE_ALREADY_EXISTS", 2),
        (errors.NotFoundError("x"), "RESOURCE_DOES_NOT_EXIST", 2),
        (errors.ConfigError("x"), "INVALID_PARAMETER_VALUE", 2),
        (errors.ManifestError("x"), "INVALID_PARAMETER_VALUE", 2),
        (errors.ConflictError("x"), "RESOURCE_CONFLICT", 2),
        (errors.ModelError("x"), "INVALID_PARAMETER_VALUE", 2),
        (errors.RetryLaterError("x"), "TEMPORARILY_UNAVAILABLE", 75),
        (errors.AgentError("x"), "INTERNAL_ERROR", 3),
        (errors.ScoringError("x", status=400), "BAD_REQUEST", 2),
        (errors.ScoringError("x", status=404), "RESOURCE_DOES_NOT_EXIST", 2),
        (errors.ScoringError("x", status=503), "TEMPORARILY_UNAVAILABLE", 75),
        (errors.ScoringError("x", status=500), "INTERNAL_ERROR", 3),
        (MlflowException("x", error_code=RESOURCE_DOES_NOT_EXIST), "RESOURCE_DOES_NOT_EXIST", 2),
        (OSError(errno.ENOSPC, "No space left on device"), "RESOURCE_EXHAUSTED", 3),
        (TypeError("x"), "INTERNAL_ERROR", 3),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_every_error_becomes_one_that_mlflow_and_click_know(error: Exception, code: str, exit_code: int) -> None:
    result = translated(error)
    assert isinstance(result, MlflowException)
    assert isinstance(result, click.ClickException)
    assert (result.error_code, result.exit_code) == (code, exit_code)
    assert result.__cause__ is error


def test_a_message_is_one_line() -> None:
    assert translated(errors.GitError("push failed:\n  ! [rejected]\n")).message == "push failed: ! [rejected]"


def test_a_translated_error_passes_unchanged() -> None:
    original = DeploymentError("x")
    with pytest.raises(DeploymentError) as raised, as_deployment_error():
        raise original
    assert raised.value is original


def test_ctrl_c_stays_ctrl_c() -> None:
    with pytest.raises(KeyboardInterrupt), as_deployment_error():
        raise KeyboardInterrupt


def test_click_prints_one_line_on_standard_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    @click.command()
    def command() -> None:
        with as_deployment_error():
            raise errors.NotFoundError(f"no model at {tmp_path}")

    with pytest.raises(SystemExit) as ended:
        command.main([])
    captured = capsys.readouterr()
    assert (ended.value.code, captured.out, captured.err) == (2, "", f"Error: no model at {tmp_path}\n")
