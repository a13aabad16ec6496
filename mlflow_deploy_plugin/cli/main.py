"""From ``modelserve …`` to an exit code: one line on standard error for whatever goes wrong, never a traceback."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from mlflow_deploy_plugin.cli.arguments import build_parser
from mlflow_deploy_plugin.errors import EXIT_DONE, EXIT_PROGRAM, ModelserveError
from mlflow_deploy_plugin.scoring.exits import exit_code

INTERRUPTED: Final = 130  # 128 + SIGINT, as shells count

Command = Callable[[argparse.Namespace, Mapping[str, str]], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["agent"]:
            return _agent(words[1:])
        options = build_parser().parse_args(words)
        return _command(options.command)(options, os.environ)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _closed_pipe()
    except ModelserveError as error:
        return _refused(str(error), exit_code(error))
    except Exception as error:  # noqa: BLE001  the last frame before a person reads it
        return _refused(f"{type(error).__name__}: {error}", _foreign_exit(error))


def _agent(words: list[str]) -> int:
    from mlflow_deploy_plugin.agent.run import main as run_agent  # noqa: PLC0415  heavy, and only this needs it

    return run_agent(words)


_COMMANDS: Final[Mapping[str, str]] = {
    "status": "machine",
    "logs": "machine",
    "stop": "machine",
    "version": "version",
    "endpoints": "telling",
    "history": "telling",
    "create-endpoint": "asking",
    "predict": "asking",
}
"""Module of each word; imported when the word is said."""


def _command(name: str) -> Command:
    module = importlib.import_module(f"mlflow_deploy_plugin.cli.{_COMMANDS[name]}")
    command: Command = getattr(module, name.replace("-", "_"))
    return command


def _foreign_exit(error: Exception) -> int:
    code = getattr(error, "exit_code", None)  # the client's errors carry one
    return code if isinstance(code, int) else EXIT_PROGRAM


def _refused(message: str, code: int) -> int:
    sys.stderr.write(f"Error: {' '.join(message.split())}\n")
    return code


def _closed_pipe() -> int:
    """Whoever read our output has enough (``| head``); the interpreter must not complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_DONE
