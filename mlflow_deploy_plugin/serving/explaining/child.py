"""The process that explains: one JSON line in, one out, until its input ends. Started and ended by :mod:`.desk`.

It begins with a line that says it is ready, or why it never will be. What a model prints goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import orjson

from mlflow_deploy_plugin.attribution.table import CannotExplainError, table_of_values
from mlflow_deploy_plugin.serving import logs
from mlflow_deploy_plugin.serving.explaining import methods
from mlflow_deploy_plugin.serving.explaining.subject import Loaded
from mlflow_deploy_plugin.serving.faults import Fault, RequestError

NICENESS: Final = 10
"""Predictions go first."""
NO_SHAP: Final = (
    "explanations need SHAP beside the model; install `modelserve[explain]`, or add shap to its requirements"
)


def main() -> int:
    """Answer until the input ends; the exit code."""
    parser = argparse.ArgumentParser(prog="modelserve-explain", description="Explain the model of one Bento.")
    parser.add_argument("--bento", type=Path, required=True, help="the Bento's src folder")
    options = parser.parse_args()
    logs.configure()
    os.nice(NICENESS)
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0) as out:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        try:
            import shap  # noqa: F401, PLC0415  seconds, and an extra

            loaded = Loaded(options.bento)
        except ImportError:
            return _say(out, _refusal(Fault.NOT_OFFERED, NO_SHAP))
        except Exception as error:  # noqa: BLE001  whatever a model raises when it is loaded is told
            return _say(out, _refusal(Fault.MODEL_FAILED, f"the model does not load: {type(error).__name__}: {error}"))
        _say(out, {"ready": True})
        for line in sys.stdin.buffer:
            _say(out, _answer(loaded, json.loads(line)))  # which takes infinity
    return 0


def _answer(loaded: Loaded, asked: dict[str, Any]) -> dict[str, Any]:
    try:
        table = loaded.fit(table_of_values(asked["columns"], asked["values"]))
        return methods.explain(loaded.subject(table), table)._asdict()
    except RequestError as error:
        return _refusal(error.fault, error.message)
    except CannotExplainError as error:
        return _refusal(Fault.INVALID, str(error))
    except Exception as error:  # noqa: BLE001  whatever a model says goes to its client
        return _refusal(Fault.MODEL_FAILED, f"the model raised {type(error).__name__}: {error}")


def _refusal(fault: Fault, message: str) -> dict[str, Any]:
    return {"fault": fault.name, "message": message}


def _say(out: Any, document: dict[str, Any]) -> int:  # noqa: ANN401  a binary stream
    out.write(orjson.dumps(document) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
