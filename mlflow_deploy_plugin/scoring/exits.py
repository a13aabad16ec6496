"""Which exit code an error ends a command with, a model server's refusal included. Pure."""

from typing import Final

from mlflow_deploy_plugin.errors import EXIT_PROGRAM, EXIT_RETRY_LATER, EXIT_USER, ModelserveError, ScoringError

_BUSY: Final = (429, 503, 504)
_REFUSED: Final = range(400, 500)


def exit_code(error: ModelserveError) -> int:
    """Exit code of ``error``.

    >>> exit_code(ScoringError("no column 'a'", status=400)), exit_code(ScoringError("busy", status=503))
    (2, 75)
    """
    return status_exit(error.status) if isinstance(error, ScoringError) else error.exit_code


def status_exit(status: int) -> int:
    """Who must act on an HTTP status: the user mends the input, or waits, or looks at the server."""
    if status in _BUSY:
        return EXIT_RETRY_LATER
    return EXIT_USER if status in _REFUSED else EXIT_PROGRAM
