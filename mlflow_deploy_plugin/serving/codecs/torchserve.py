"""TorchServe's inference API and the reading side of its management API.

``POST /predictions/NAME[/VERSION]`` takes one item or an array of items as JSON, alone or under ``data``, ``body`` or
``instances``; the answer is one prediction or an array of them. A model whose only input is binary takes the bytes of
a file, in the body or as parts ``data`` of a form. Management shows what this worker process is; what would change it
is refused with the way out, because git decides what is served. ``/ping`` is MLflow's here, with the same status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from mlflow_deploy_plugin.serving import json_text
from mlflow_deploy_plugin.serving.codecs.base import JSON, Answer, Call, Explain, Infer, Reply
from mlflow_deploy_plugin.serving.codecs.blame import status_of
from mlflow_deploy_plugin.serving.codecs.json_body import loads, retry_headers
from mlflow_deploy_plugin.serving.codecs.rows import RowReader
from mlflow_deploy_plugin.serving.codecs.torchserve_body import form_files, item_rows, media_type
from mlflow_deploy_plugin.serving.codecs.torchserve_worker import this_worker
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.request import Frame, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlflow_deploy_plugin.attribution.explanation import Explanation
    from mlflow_deploy_plugin.serving.codecs.base import Host, Route
    from mlflow_deploy_plugin.serving.request import Payload

_TYPES: Final = {
    400: "BadRequestException",
    404: "ModelNotFoundException",
    405: "MethodNotAllowedException",
    408: "RequestTimeoutException",
    413: "TooLongFrameException",
    429: "ServiceUnavailableException",
    501: "NotImplementedException",
    503: "ServiceUnavailableException",
    504: "WorkerTimeoutException",
}


class TorchserveCodec:
    """``/predictions``, ``/explanations`` and ``/models``."""

    name = "torchserve"

    def __init__(self, host: Host, worker: Callable[[], Mapping[str, Any]] = this_worker) -> None:
        self._model = host.model
        self._is_ready = host.is_ready
        self._reader = RowReader(host.model.signature)
        self._version = host.model.model_version or "1"
        self._worker = worker
        columns = host.model.signature.columns
        self._binary = columns[0].name if len(columns) == 1 and columns[0].type == "binary" else None

    def routes(self) -> Sequence[Route]:
        """Inference, and management by what may only be read and what is refused."""
        whole: list[Route] = []
        for suffix in ("/{model}", "/{model}/{version}"):
            whole.append(Infer(path=f"/predictions{suffix}", methods=("POST", "PUT"), verb="predictions"))
            whole.append(Explain(path=f"/explanations{suffix}", methods=("POST", "PUT"), verb="explanations"))
            whole.append(Answer(path=f"/models{suffix}", answer=self._describe))
            whole.append(Answer(path=f"/models{suffix}", methods=("PUT",), answer=self._refuse_scaling))
            whole.append(Answer(path=f"/models{suffix}", methods=("DELETE",), answer=self._refuse_removal))
        whole.append(
            Answer(path="/models/{model}/{version}/set-default", methods=("PUT",), answer=self._refuse_default)
        )
        whole.append(Answer(path="/models", methods=("POST",), answer=self._refuse_registration))
        whole.append(Answer(path="/models", answer=self._list))
        return whole

    def decode(self, call: Call) -> Request:
        """Read one item or several."""
        self._check_version(call)
        kind = media_type(call.headers)
        if kind == "multipart/form-data":
            files = form_files(call.headers, call.body)
            return Request(payload=self._files(files), echo=len(files) > 1)
        if self._binary is not None and kind != "application/json":
            return Request(payload=self._files([call.body]), echo=False)
        rows, is_many = item_rows(loads(call.body), self._model.signature)
        return Request(payload=self._reader.read(rows), echo=is_many)

    def encode(self, response: Response, request: Request, call: Call) -> Reply:  # noqa: ARG002  one form for all
        """The prediction, or an array of them."""
        predictions = json_text.records(json_text.rows(response.prediction))
        is_single = not request.echo and isinstance(predictions, list) and len(predictions) == 1
        try:
            return Reply(200, JSON, json_text.dumps(predictions[0] if is_single else predictions))
        except (TypeError, ValueError, RecursionError) as error:
            raise RequestError(Fault.MODEL_FAILED, str(error)) from None

    def encode_explanation(self, explanation: Explanation, request: Request, call: Call) -> Reply:  # noqa: ARG002
        """For each item what moved its prediction, column by column."""
        rows = zip(
            explanation.outputs, explanation.base, explanation.attributions, explanation.predictions, strict=True
        )
        items = [
            {
                "attributions": dict(zip(explanation.columns, attributions, strict=True)),
                "base": base,
                "prediction": prediction,
                "output": output,
                "method": explanation.method,
                "unit": explanation.unit,
            }
            for output, base, attributions, prediction in rows
        ]
        return Reply(200, JSON, json_text.dumps(items if request.echo else items[0]))

    def encode_error(self, error: RequestError, call: Call, request: Request | None = None) -> Reply:  # noqa: ARG002
        """``{"code", "type", "message"}``."""
        status = status_of(error, request, self._model.signature)
        return _error(status, error.message, retry_headers(error))

    def _files(self, files: list[bytes]) -> Payload:
        if self._binary is None:
            return self._reader.read(
                [row for file in files for row in item_rows(loads(file), self._model.signature)[0]]
            )
        import pandas as pd  # noqa: PLC0415  bytes in a named column are a frame

        return Frame(frame=pd.DataFrame({self._binary: files}, dtype=object))

    def _check_version(self, call: Call) -> None:
        version = call.captures.get("version", self._version)
        if version not in {self._version, self._model.deployment}:
            raise RequestError(
                Fault.UNKNOWN_PATH,
                f"Model version: {version} does not exist for model: {call.captures['model']}; this is {self._version}."
                " Leave it out, or name a deployment in the header x-model-version",
            )

    def _list(self, call: Call) -> Reply:  # noqa: ARG002
        model = {"modelName": self._model.endpoint or self._model.model_name, "modelUrl": self._url()}
        return _reply({"models": [model]})

    def _describe(self, call: Call) -> Reply:
        if call.captures.get("version") != "all":
            self._check_version(call)
        worker = {**self._worker(), "status": "READY" if self._is_ready() else "UNLOADING"}
        described = {
            "modelName": call.captures["model"],
            "modelVersion": self._version,
            "modelUrl": self._url(),
            "runtime": "python",
            "deployment": self._model.deployment,
            "flavor": self._model.flavor,
            "workers": [worker],
        }
        return _reply([described])

    def _url(self) -> str:
        version = f"/{self._model.model_version}" if self._model.model_version else ""
        return f"models:/{self._model.model_name}{version}"

    def _refuse_scaling(self, call: Call) -> Reply:  # noqa: ARG002
        return self._refusal(f"mlflow deployments update -t modelserve --name {self._model.deployment} -C workers=N")

    def _refuse_removal(self, call: Call) -> Reply:  # noqa: ARG002
        return self._refusal(f"mlflow deployments delete -t modelserve --name {self._model.deployment}")

    def _refuse_registration(self, call: Call) -> Reply:  # noqa: ARG002
        return self._refusal("mlflow deployments create -t modelserve --name NAME -m models:/NAME/VERSION")

    def _refuse_default(self, call: Call) -> Reply:  # noqa: ARG002
        way = f"mlflow deployments update-endpoint -t modelserve --endpoint {self._model.endpoint} -C traffic=NAME=100"
        return self._refusal(way)

    def _refusal(self, way: str) -> Reply:
        return _error(405, f"git decides what is served, so this server cannot be changed by a request; use: {way}")


def _reply(document: Any) -> Reply:  # noqa: ANN401
    return Reply(200, JSON, orjson.dumps(document))


def _error(status: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Reply:
    kind = _TYPES.get(status, "InternalServerException")
    return Reply(status, JSON, orjson.dumps({"code": status, "type": kind, "message": message}), headers)
