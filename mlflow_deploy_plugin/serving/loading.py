"""From the folder of a Bento to a model that is ready to be asked. The only place that reads the Bento's files."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from mlflow_deploy_plugin.errors import ModelError
from mlflow_deploy_plugin.serving import predictors
from mlflow_deploy_plugin.serving.codecs.base import ModelDescription
from mlflow_deploy_plugin.serving.mlmodel import read_mlmodel
from mlflow_deploy_plugin.serving.predictors import samples
from mlflow_deploy_plugin.serving.predictors.base import Loaded, LoadRequest
from mlflow_deploy_plugin.serving.predictors.checks import why_not_batch
from mlflow_deploy_plugin.serving.signature import parse_signature
from mlflow_deploy_plugin.spec.bento import COMPILED_FOLDER, MODEL_FOLDER, SPEC_FILE, BentoSpec
from mlflow_deploy_plugin.spec.names import slug

if TYPE_CHECKING:
    from mlflow_deploy_plugin.spec.settings import ServingSettings

BATCHING_ROWS: Final = 4
"""Rows that the check of batching asks for together and one by one; a slow model answers them before it is ready."""

_logger = logging.getLogger("modelserve.loading")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """Everything that the application needs to know of its model."""

    spec: BentoSpec
    description: ModelDescription
    loaded: Loaded
    source: Path = Path()
    """The Bento's src folder."""


def load(bento_src: Path, settings: ServingSettings, *, worker: int = 0) -> ServedModel:
    """Read the Bento, load its model and log in one line which path serves and why.

    Raises:
        ModelError: the Bento or its model cannot be read.
    """
    spec = _read_spec(bento_src / SPEC_FILE)
    folder = (bento_src / MODEL_FOLDER).resolve()  # MLflow refuses a model that it reaches over a symbolic link
    mlmodel = read_mlmodel(folder)
    request = LoadRequest(
        folder=folder,
        compiled=bento_src / COMPILED_FOLDER,
        mlmodel=mlmodel,
        signature=parse_signature(mlmodel),
        spec=spec,
        settings=settings,
        worker=worker,
    )
    loaded = _check_batching(predictors.load(request), request)
    for fallback in loaded.fallbacks:
        _logger.info("not taken: %s", fallback)
    reason = (
        loaded.reason
        if spec.predictor == "compiled"
        else "; ".join(filter(None, (loaded.reason, spec.predictor_reason)))
    )
    _logger.info("%s is served by %s: %s", spec.model_uri, loaded.predictor.name, reason)
    return ServedModel(spec=spec, description=_describe(request, loaded), loaded=loaded, source=bento_src)


def _check_batching(loaded: Loaded, request: LoadRequest) -> Loaded:
    payload = samples.payload(request.signature, rows=BATCHING_ROWS)
    if payload is None or request.settings.batching == "off":
        return loaded
    try:
        why_not = why_not_batch(loaded.judge or loaded.predictor, payload)
    except Exception as error:  # noqa: BLE001  generated rows may mean nothing to a model, which is no reason to refuse it
        _logger.info("batching is not checked: generated rows are refused (%s)", type(error).__name__)
        return loaded
    if why_not:
        _logger.warning("serving unbatched: %s", why_not)
    return replace(loaded, can_batch=not why_not)


def _describe(request: LoadRequest, loaded: Loaded) -> ModelDescription:
    spec, settings = request.spec, request.settings
    name = slug(spec.model_name)
    return ModelDescription(
        endpoint=settings.endpoint or name,
        deployment=settings.deployment or (f"{name}-v{spec.model_version}" if spec.model_version else name),
        model_name=spec.model_name,
        model_version=spec.model_version,
        flavor=spec.flavor,
        folder=request.folder,
        signature=request.signature,
        classes=loaded.classes,
        has_probability=loaded.has_probability,
        is_streamable=loaded.is_streamable,
        example=_read_example(request),
    )


def _read_spec(path: Path) -> BentoSpec:
    try:
        return BentoSpec.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path} is no description of a Bento of ours ({error}); package the model again") from error


def _read_example(request: LoadRequest) -> Any:  # noqa: ANN401  any JSON value
    """The body that MLflow saved beside the model's input example."""
    saved = request.mlmodel.get("saved_input_example_info") or {}
    name = saved.get("serving_input_path")
    if not isinstance(name, str):
        return None
    try:
        return orjson.loads((request.folder / name).read_bytes())
    except (OSError, json.JSONDecodeError):
        return None
