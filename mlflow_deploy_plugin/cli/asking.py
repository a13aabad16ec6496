"""Commands that ask a model, or make an endpoint."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mlflow_deploy_plugin.errors import EXIT_DONE, ConfigError
from mlflow_deploy_plugin.scoring import Address, HttpScorer, Timeouts, strict_json, wrapped
from mlflow_deploy_plugin.targets import open_target
from mlflow_deploy_plugin.targets.base import DeploymentTarget
from mlflow_deploy_plugin.targets.lifecycle import endpoint_for, picking

USER_VARIABLE: Final = "MODELSERVE_USER_ID"
STANDARD: Final = "-"
JSON: Final = "application/json"
CONTENT_TYPES: Final = {
    "": JSON,
    ".csv": "text/csv",
    ".json": JSON,
    ".parquet": "application/vnd.apache.parquet",
}


def predict(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """A body sent as it is, rows of JSON under their key; the answer as strict JSON.

    Raises:
        ConfigError: the file cannot be read, or its type not be told.
        ScoringError: the model server refused.
    """
    content_type = options.content_type or _content_type(options.input_path)
    content = _read(options.input_path)
    if content_type == JSON:
        content = wrapped(content)
    target = open_target(options.target, environment=environment, say=_say)
    address = _address(target, options, environment)
    scorer = HttpScorer(timeouts=Timeouts.from_environment(environment))
    _write(options.output_path, strict_json(scorer.post(address, content, content_type)) + "\n")
    return EXIT_DONE


def _address(target: DeploymentTarget, options: argparse.Namespace, environment: Mapping[str, str]) -> Address:
    endpoint = endpoint_for(target.stage(), deployment=options.name, endpoint=options.endpoint)
    return Address(
        gateway=target.gateway(endpoint),
        endpoint=endpoint.route.endpoint,
        deployment=picking(endpoint, options.name) if options.name else "",
        user=options.user or environment.get(USER_VARIABLE, ""),
    )


def _content_type(path: str) -> str:
    ending = "" if path == STANDARD else Path(path).suffix.lower()
    if ending in CONTENT_TYPES:
        return CONTENT_TYPES[ending]
    raise ConfigError(f"the type of {path!r} cannot be told from its ending; say --content-type text/csv, for example")


def _read(path: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == STANDARD else Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path!r} ({error.strerror}); name a file, or - for standard input") from error


def _write(path: str, text: str) -> None:
    if path == STANDARD:
        sys.stdout.write(text)
        return
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path!r} ({error.strerror}); name a file in a folder that exists") from error


def create_endpoint(options: argparse.Namespace, environment: Mapping[str, str]) -> int:  # noqa: ARG001  the client reads it
    """An endpoint with its first deployment."""
    from mlflow_deploy_plugin.client import ModelserveClient  # noqa: PLC0415  imports MLflow

    client = ModelserveClient(options.target)
    name = options.deployment or options.name
    client.create_deployment(name, options.model_uri, config=_config(options.config), endpoint=options.name)
    view = client.get_endpoint(options.name)
    sys.stdout.writelines(f"{key}: {value}\n" for key, value in view.items())
    return EXIT_DONE


def _config(pairs: list[str]) -> dict[str, str]:
    config: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key in config:
            raise ConfigError(f"-C {pair} is not KEY=VALUE, or comes twice; write -C KEY=VALUE once for each key")
        config[key] = value
    return config


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
