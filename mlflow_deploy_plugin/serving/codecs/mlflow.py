"""MLflow's scoring protocol: ``/ping /health /version /invocations``, as MLflow 3 speaks it.

Common bodies are read by the fast way of :mod:`.mlflow_fast`, which answers only where it is provably MLflow's own
reading; every other body is read by MLflow's own functions (:mod:`.mlflow_exact`). Where we differ on purpose:

- NaN and infinity in an answer are ``null``: MLflow writes ``NaN``, which is not JSON.
- A request without Content-Type is read as JSON: MLflow fails on it with 500.
- A body that makes MLflow's parser fail with 500 (nested too deep, say) is the client's error: 400.
- Errors of the server itself (429, 503, 504, …) have MLflow's JSON form; MLflow's 504 is bare text called JSON.
- ``predict_stream`` is reachable: ``Accept: text/event-stream``, or ``"stream": true`` in an LLM-style body.
"""

from __future__ import annotations

import traceback
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import orjson

from mlflow_deploy_plugin.serving import json_text
from mlflow_deploy_plugin.serving.codecs import mlflow_exact, mlflow_fast
from mlflow_deploy_plugin.serving.codecs.base import JSON, Answer, Call, Explain, Infer, Reply
from mlflow_deploy_plugin.serving.codecs.json_body import retry_headers
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.payloads import plain
from mlflow_deploy_plugin.serving.request import Raw, Request, Response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow_deploy_plugin.attribution.explanation import Explanation
    from mlflow_deploy_plugin.serving.codecs.base import Host, Route

SSE: Final = b"text/event-stream"
_PLAIN: Final = b"text/plain; charset=utf-8"
_CODES: Final = {
    Fault.MALFORMED: "BAD_REQUEST",
    Fault.INVALID: "INVALID_PARAMETER_VALUE",
    Fault.UNKNOWN_PATH: "ENDPOINT_NOT_FOUND",
    Fault.WRONG_METHOD: "ENDPOINT_NOT_FOUND",
    Fault.SLOW_BODY: "BAD_REQUEST",
    Fault.TOO_LARGE: "BAD_REQUEST",
    Fault.UNSUPPORTED_TYPE: "BAD_REQUEST",
    Fault.OVERLOADED: "RESOURCE_EXHAUSTED",
    Fault.CLIENT_GONE: "CANCELLED",
    Fault.MODEL_FAILED: "INTERNAL_ERROR",
    Fault.NOT_OFFERED: "NOT_IMPLEMENTED",
    Fault.UNAVAILABLE: "TEMPORARILY_UNAVAILABLE",
    Fault.TIMED_OUT: "DEADLINE_EXCEEDED",
}
_OF_THE_MODEL: Final = frozenset({Fault.MALFORMED, Fault.INVALID, Fault.MODEL_FAILED})
"""What MLflow's server meets too while it asks the model; a lack of room or time is said as such."""
MODEL_RAISED: Final = (
    "Encountered an unexpected error while evaluating the model. Verify that the serialized input Dataframe is"
    " compatible with the model for inference."
)
"""MLflow's words for a model that raises; a client may look for them."""


class MlflowCodec:
    """``/invocations`` and its company."""

    name = "mlflow"
    stream_type = SSE

    def __init__(self, host: Host) -> None:
        self._model = host.model
        self._fast = mlflow_fast.Reader(host.model.signature)
        self._exact = mlflow_exact.Reader(host.model.folder)
        self._version = _mlflow_version()

    def routes(self) -> Sequence[Route]:
        """MLflow's four, and ours for ``mlflow deployments explain``."""
        return (
            Infer(path="/invocations"),
            Explain(path="/explain"),
            Answer(path="/ping", answer=self._ping),
            Answer(path="/health", answer=self._ping),
            Answer(path="/version", answer=self._say_version),
        )

    def decode(self, call: Call) -> Request:
        """Read a body of any shape that MLflow reads.

        Raises:
            AsleepError: MLflow must read it, and is not imported yet.
        """
        kind = mlflow_exact.media_type(call.headers.get(b"content-type"))
        request = self._fast.read(call.body) if kind == mlflow_exact.JSON_TYPE else None
        if request is None:
            mlflow_exact.require_awake()
            read = self._exact.read(call.body, kind)
            request = Request(payload=read.payload, params=read.params, echo=read.is_llm)
        asks = self._model.is_streamable and _asks_for_stream(request)
        if not asks and SSE not in call.headers.get(b"accept", b""):
            return request
        if not self._model.is_streamable:
            raise RequestError(Fault.INVALID, "This model does not support predict_stream method.")
        return request._replace(is_stream=True)

    def encode(self, response: Response, request: Request, call: Call) -> Reply:  # noqa: ARG002  every answer is alike
        """``{"predictions": …}``; an LLM-style body is answered without the wrapping."""
        predictions = json_text.rows(response.prediction)
        try:
            return Reply(200, JSON, json_text.dumps(predictions if request.echo else {"predictions": predictions}))
        except (TypeError, ValueError, RecursionError) as error:
            raise RequestError(Fault.MODEL_FAILED, str(error)) from None  # 500, as MLflow; a cause means 400

    def encode_explanation(self, explanation: Explanation, request: Request, call: Call) -> Reply:  # noqa: ARG002
        """Attributions by row, as ``mlflow deployments explain`` tells them."""
        return Reply(200, JSON, json_text.dumps({"deployment": self._model.deployment, **explanation._asdict()}))

    def encode_error(self, error: RequestError, call: Call, request: Request | None = None) -> Reply:  # noqa: ARG002
        """MLflow's JSON; a wrong content type is refused in plain text, as MLflow does.

        Raises:
            AsleepError: MLflow must word it, and is not imported yet.
        """
        if error.fault is Fault.UNSUPPORTED_TYPE:
            return Reply(415, _PLAIN, error.message.encode())
        if request is not None and isinstance(error.__cause__, Exception) and error.fault in _OF_THE_MODEL:
            mlflow_exact.require_awake()
            return mlflow_exact.refusal(_model_error(error, error.__cause__, request))
        if mlflow_exact.is_mlflow_error(error.__cause__):
            return mlflow_exact.refusal(error.__cause__)
        body = orjson.dumps({"error_code": _CODES[error.fault], "message": error.message})
        status = 400 if error.fault is Fault.INVALID else error.fault.value
        return Reply(status, JSON, body, retry_headers(error))

    def encode_chunk(self, chunk: Any) -> bytes:  # noqa: ANN401  a model may yield anything
        """One server-sent event."""
        return b"data: " + json_text.dumps(json_text.rows(chunk)) + b"\n\n"

    def encode_stream_error(self, error: RequestError) -> bytes:
        """The error as the last event."""
        body = orjson.dumps({"error_code": _CODES[error.fault], "message": error.message})
        return b"event: error\ndata: " + body + b"\n\n"

    def encode_end(self) -> bytes:
        """What clients of OpenAI's and Databricks' streams wait for."""
        return b"data: [DONE]\n\n"

    def _ping(self, call: Call) -> Reply:  # noqa: ARG002  a ping is a ping
        return Reply(200, JSON, b"\n")

    def _say_version(self, call: Call) -> Reply:  # noqa: ARG002
        return Reply(200, JSON, self._version.encode())


def _model_error(error: RequestError, cause: Exception, request: Request) -> Exception:
    """What MLflow's server would have raised for this failure of the model."""
    if mlflow_exact.is_mlflow_error(cause):
        return mlflow_exact.with_data(cause, plain(request.payload))
    if error.fault is not Fault.MODEL_FAILED:
        return mlflow_exact.error(error.message, "BAD_REQUEST")
    trace = "".join(traceback.format_exception(cause))
    return mlflow_exact.error(MODEL_RAISED, "BAD_REQUEST", stack_trace=trace)


def _asks_for_stream(request: Request) -> bool:
    return bool(request.echo) and isinstance(request.payload, Raw) and bool(request.payload.value.get("stream"))


def _mlflow_version() -> str:
    for name in ("mlflow", "mlflow-skinny"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"
