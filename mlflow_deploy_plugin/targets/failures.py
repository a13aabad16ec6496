"""Our errors as MLflow's: one class that Python callers catch as ``MlflowException`` and click prints as one line.

MLflow's command line catches nothing, so an ordinary ``MlflowException`` ends in a traceback; click, which runs it,
prints a ``ClickException`` as one line and exits with its code. Imports MLflow, so only the client imports this.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import IO, Any, Final

import click
from mlflow.exceptions import MlflowException, get_error_code
from mlflow.protos import databricks_pb2 as codes

from mlflow_deploy_plugin.errors import (
    EXIT_PROGRAM,
    AlreadyExistsError,
    ConflictError,
    ModelserveError,
    NotFoundError,
    RetryLaterError,
    ScoringError,
    UserError,
)
from mlflow_deploy_plugin.scoring.exits import exit_code, status_exit

_CODES: Final[tuple[tuple[type[ModelserveError], int], ...]] = (
    (AlreadyExistsError, codes.RESOURCE_ALREADY_EXISTS),
    (NotFoundError, codes.RESOURCE_DOES_NOT_EXIST),
    (ConflictError, codes.RESOURCE_CONFLICT),
    (UserError, codes.INVALID_PARAMETER_VALUE),
    (RetryLaterError, codes.TEMPORARILY_UNAVAILABLE),
)


class DeploymentError(MlflowException, click.ClickException):  # type: ignore[misc]  # MLflow is not typed
    """What every method of the client raises."""

    def __init__(self, message: str, error_code: int = codes.INTERNAL_ERROR, *, exit_code: int = EXIT_PROGRAM) -> None:
        MlflowException.__init__(self, " ".join(message.split()), error_code=error_code)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """One line on standard error."""
        click.echo(f"Error: {self.message}", file=file, err=file is None)


@contextmanager
def as_deployment_error() -> Iterator[None]:
    """Whatever is raised inside leaves as a :class:`DeploymentError`; Ctrl-C leaves as it is."""
    try:
        yield
    except (DeploymentError, click.ClickException):
        raise
    except Exception as error:  # this is the last frame of ours before a person reads the error
        raise translate(error) from error


def translate(error: Exception) -> DeploymentError:
    """``error`` with MLflow's code and our exit code."""
    match error:
        case ScoringError():
            is_missing = error.status == HTTPStatus.NOT_FOUND  # MLflow would say ENDPOINT_NOT_FOUND
            code = codes.RESOURCE_DOES_NOT_EXIST if is_missing else get_error_code(error.status)
            return DeploymentError(str(error), code, exit_code=exit_code(error))
        case ModelserveError():
            code = next((code for kind, code in _CODES if isinstance(error, kind)), codes.INTERNAL_ERROR)
            return DeploymentError(str(error), code, exit_code=exit_code(error))
        case MlflowException():
            code = codes.ErrorCode.Value(error.error_code)
            return DeploymentError(error.message, code, exit_code=status_exit(error.get_http_status_code()))
        case OSError() if error.errno == errno.ENOSPC:
            return DeploymentError(f"the disk is full ({error}); free some space and repeat", codes.RESOURCE_EXHAUSTED)
        case _:
            return DeploymentError(f"{type(error).__name__}: {error}; this is a bug in modelserve, please report it")
