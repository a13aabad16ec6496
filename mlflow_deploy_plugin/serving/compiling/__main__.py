"""``python -m mlflow_deploy_plugin.serving.compiling``: one model, one verdict."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from mlflow_deploy_plugin.errors import EXIT_DONE, ModelserveError
from mlflow_deploy_plugin.serving.compiling.compiling import compile_model


def main() -> int:
    """Compile, and write the verdict; the exit code."""
    parser = argparse.ArgumentParser(prog="modelserve-compile", description="Compile one model, where it can be.")
    parser.add_argument("--model", type=Path, required=True, help="the MLflow model folder")
    parser.add_argument("--out", type=Path, required=True, help="folder that the form is written to")
    parser.add_argument("--verdict", type=Path, required=True, help="JSON file that says what became of it")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        verdict = compile_model(options.model, options.out)
    except ModelserveError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    if not verdict.form:
        shutil.rmtree(options.out)
    options.verdict.write_text(json.dumps(asdict(verdict)), encoding="utf-8")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
