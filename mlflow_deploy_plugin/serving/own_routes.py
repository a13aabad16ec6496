"""The routes that belong to no protocol: what this is, whether it lives and is ready, its metrics, its feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from mlflow_deploy_plugin.serving import exposition, feedback
from mlflow_deploy_plugin.serving.codecs.base import JSON, TEXT, Answer, Call, Reply
from mlflow_deploy_plugin.serving.codecs.json_body import error_reply
from mlflow_deploy_plugin.serving.openapi import document
from mlflow_deploy_plugin.serving.swagger import SwaggerPage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlflow_deploy_plugin.serving.codecs.base import Codec, ModelDescription
    from mlflow_deploy_plugin.serving.faults import RequestError
    from mlflow_deploy_plugin.serving.lifecycle import Lifecycle
    from mlflow_deploy_plugin.serving.record import LabelSink
    from mlflow_deploy_plugin.serving.request import Request

ACCEPTED: Final = 202


class OwnRoutes:
    """``/ /livez /readyz /metrics /feedback /openapi.json /docs``."""

    name = "modelserve"

    def __init__(
        self,
        model: ModelDescription,
        lifecycle: Lifecycle,
        labels: LabelSink,
        scrape: Callable[[], bytes],
    ) -> None:
        self._model = model
        self._lifecycle = lifecycle
        self._labels = labels
        self._scrape = scrape
        self._codecs: Sequence[Codec] = ()
        self._page = SwaggerPage(model.endpoint, self._document)

    def routes(self, codecs: Sequence[Codec]) -> tuple[Answer, ...]:
        """All of them; the description lists what ``codecs`` serve."""
        self._codecs = codecs
        return (*self._described(), *self._page.routes())

    def _described(self) -> tuple[Answer, ...]:
        return (
            Answer(path="/", answer=self._index),
            Answer(path="/livez", answer=self._livez),
            Answer(path="/readyz", answer=self._readyz),
            Answer(path="/metrics", answer=self._metrics),
            Answer(path="/openapi.json", answer=self._openapi),
            Answer(path="/feedback", answer=self._feedback, methods=("POST",)),
        )

    def encode_error(self, error: RequestError, call: Call, request: Request | None = None) -> Reply:  # noqa: ARG002
        """``{"error": {"code", "message"}}``."""
        return error_reply(error)

    def _index(self, call: Call) -> Reply:  # noqa: ARG002  answers do not depend on the call
        model = self._model
        body = {
            "endpoint": model.endpoint,
            "deployment": model.deployment,
            "model": model.model_name,
            "version": model.model_version,
            "flavor": model.flavor,
            "state": self._lifecycle.phase.value,
            "protocols": {codec.name: [route.path for route in codec.routes()] for codec in self._codecs},
            "documentation": ["/docs", "/openapi.json"],
        }
        return Reply(200, JSON, orjson.dumps(body))

    def _livez(self, call: Call) -> Reply:  # noqa: ARG002
        return Reply(200, TEXT, b"alive\n")

    def _readyz(self, call: Call) -> Reply:  # noqa: ARG002
        phase = self._lifecycle.phase.value.encode() + b"\n"
        return Reply(200 if self._lifecycle.is_ready else 503, TEXT, phase)

    def _metrics(self, call: Call) -> Reply:  # noqa: ARG002
        return Reply(200, exposition.CONTENT_TYPE, self._scrape())

    def _openapi(self, call: Call) -> Reply:  # noqa: ARG002
        return Reply(200, JSON, orjson.dumps(self._document()))

    def _document(self) -> Mapping[str, Any]:
        own = [*self._described(), self._page.routes()[0]]
        return document(self._model, [*((codec.name, codec.routes()) for codec in self._codecs), (self.name, own)])

    def _feedback(self, call: Call) -> Reply:
        labels = feedback.parse(call.body)
        self._labels.accept(labels)
        return Reply(ACCEPTED, JSON, orjson.dumps({"accepted": len(labels)}))
