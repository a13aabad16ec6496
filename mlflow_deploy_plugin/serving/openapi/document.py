"""The OpenAPI 3.1 document of one endpoint: every route of every protocol, typed by the model's signature. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.serving.codecs.base import Infer
from mlflow_deploy_plugin.serving.openapi.operations import JSON, TEXT, Operation, describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlflow_deploy_plugin.serving.codecs.base import ModelDescription, Route

STATUSES: Final = {
    400: "the body is not what the protocol writes, or breaks the model's signature",
    404: "no such version of the model is served here",
    405: "not by this method; Allow names those that are served",
    408: "the body did not arrive in time",
    413: "the body is too large (max_body_bytes)",
    415: "this content type or content encoding is not known",
    422: "the input breaks the model's signature, or the model refuses it",
    429: "too many rows wait; Retry-After says when to try again",
    500: "the model failed",
    501: "not offered",
    503: "this worker is warming up, drains or is being replaced",
    504: "the model did not answer in time (timeout_s)",
}
OF_BODIES: Final = (400, 408, 413, 415)
OF_MODELS: Final = (429, 500, 503, 504)

ERRORS: Final[dict[str, dict[str, Any]]] = {
    "mlflow": {
        "type": "object",
        "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
        "required": ["error_code", "message"],
    },
    "oip": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]},
    "tensorflow": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]},
    "torchserve": {
        "type": "object",
        "properties": {"code": {"type": "integer"}, "type": {"type": "string"}, "message": {"type": "string"}},
        "required": ["code", "type", "message"],
    },
    "rest": {
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
                "required": ["code", "message"],
            }
        },
        "required": ["error"],
    },
}
"""Each protocol's own form of an error; our own routes speak as plain REST does."""

_CAPTURE: Final = re.compile(r"\{(\w+)\}")
_HEADERS: Final = {
    "x-user-id": "who asks; a user keeps a version while weights change",
    "x-request-id": "the key of the prediction in the log and of its label; made where it is missing",
}


def document(model: ModelDescription, protocols: Iterable[tuple[str, Sequence[Route]]]) -> dict[str, Any]:
    """The document; ``protocols`` are names with their routes."""
    paths: dict[str, dict[str, Any]] = {}
    for protocol, routes in protocols:
        for route in routes:
            told = _operation(protocol, route, describe(protocol, model, route), model)
            item = paths.setdefault(route.path, {})
            for method in route.methods:
                item.setdefault(method.lower(), {**told, "operationId": _identifier(method, route.path)})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": model.endpoint,
            "version": model.model_version or "0",
            "description": f"{model.model_name}, served as {model.deployment}",
        },
        "servers": [{"url": f"/endpoints/{model.endpoint}"}],
        "paths": paths,
        "components": {"schemas": {f"error-{protocol}": schema for protocol, schema in ERRORS.items()}},
    }


def _operation(protocol: str, route: Route, operation: Operation, model: ModelDescription) -> dict[str, Any]:
    answers = {kind: {"schema": schema} for kind, schema in operation.answer.items()}
    done = {"description": "done", "content": answers} if answers else {"description": "done"}
    responses: dict[str, Any] = {str(operation.status): done}
    for status in sorted(_errors(route, operation)):
        responses[str(status)] = {"description": STATUSES[status], "content": _error_content(protocol, route, status)}
    told: dict[str, Any] = {"tags": [protocol], "summary": operation.summary, "responses": responses}
    if parameters := [*_captures(route, model), *_headers(route)]:
        told["parameters"] = parameters
    if operation.body:
        content: dict[str, Any] = {kind: {"schema": schema} for kind, schema in operation.body.items()}
        if operation.example is not None:
            content[JSON]["example"] = operation.example
        told["requestBody"] = {"required": True, "content": content}
    return told


def _errors(route: Route, operation: Operation) -> set[int]:
    of_model = OF_MODELS if isinstance(route, Infer) else ()
    of_path = (404,) if _CAPTURE.search(route.path) else ()
    of_body = OF_BODIES if operation.body or set(route.methods) & {"PUT", "DELETE"} else ()
    return {405, *of_model, *of_path, *of_body, *operation.errors}


def _error_content(protocol: str, route: Route, status: int) -> dict[str, Any]:
    if status == 405 and not route.path.startswith("/models"):  # noqa: PLR2004  before any protocol is known
        return {JSON: {"schema": {"type": "object"}}}
    if status == 415 and protocol == "mlflow":  # noqa: PLR2004  as MLflow says it
        return {TEXT: {"schema": {"type": "string"}}}
    if status == 503 and not isinstance(route, Infer):  # noqa: PLR2004  readiness has no error's form
        return {TEXT: {"schema": {"type": "string"}}, JSON: {"schema": {"type": "object"}}}
    name = protocol if protocol in ERRORS else "rest"
    return {JSON: {"schema": {"$ref": f"#/components/schemas/error-{name}"}}}


def _captures(route: Route, model: ModelDescription) -> list[dict[str, Any]]:
    known = {"version": [model.model_version or "1", model.deployment], "label": [model.deployment]}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"enum": known[name]} if name in known else {"type": "string", "pattern": "^[a-z0-9-]{1,50}$"},
            "example": known[name][0] if name in known else model.endpoint,
        }
        for name in _CAPTURE.findall(route.path)
    ]


def _headers(route: Route) -> list[dict[str, Any]]:
    if not isinstance(route, Infer):
        return []
    return [
        {"name": name, "in": "header", "description": about, "schema": {"type": "string"}}
        for name, about in _HEADERS.items()
    ]


def _identifier(method: str, path: str) -> str:
    return method.lower() + re.sub(r"\W+", "_", path).rstrip("_")
