"""Codecs without an engine: a call goes through router and codec to a function that stands for the model."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin.attribution.explanation import Explanation
from mlflow_deploy_plugin.serving.codecs.base import Call, Factory, Host, ModelDescription, Reply, Totals
from mlflow_deploy_plugin.serving.explaining.tables import table_of
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.request import Caller, Payload, Request, Response
from mlflow_deploy_plugin.serving.router import AnswerMatch, ExplainMatch, NoRoute, Router
from mlflow_deploy_plugin.serving.signature import Column, Signature

Model = Callable[[Payload], Any]

AGE_INCOME = Signature(
    inputs=(Column(name="age", type="double"), Column(name="income", type="double")),
    outputs=(Column(name="", type="long"),),
)


def describe(**changes: Any) -> ModelDescription:
    plain = ModelDescription(
        endpoint="churn",
        deployment="churn-v4",
        model_name="churn",
        model_version="4",
        flavor="sklearn",
        folder=Path(),
        signature=AGE_INCOME,
    )
    return replace(plain, **changes)


def explain(request: Request) -> Explanation:
    """Everything by the first column."""
    table = table_of(request.payload)
    count = len(table.rows)
    return Explanation(
        method="made-up",
        unit="output",
        columns=table.columns,
        outputs=[None] * count,
        base=[0.0] * count,
        attributions=[[row[0], *[0.0] * (len(row) - 1)] for row in table.rows.tolist()],
        predictions=table.rows[:, 0].tolist(),
    )


@dataclass(kw_only=True)
class Loopback:
    """One codec, one model."""

    factory: Factory
    model: Model
    description: ModelDescription = field(default_factory=describe)
    probability: Any = None
    is_ready: bool = True
    totals: Totals = Totals()  # noqa: RUF009  it cannot be changed
    seen: list[Request] = field(default_factory=list)

    def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        host = Host(model=self.description, is_ready=lambda: self.is_ready, totals=lambda: self.totals)
        codec = self.factory(host)
        found = Router([codec]).match(method, path)
        if isinstance(found, NoRoute):
            return Reply(405 if found.allowed else 404, b"text/plain", b"")
        named = {name.lower().encode(): value.encode() for name, value in (headers or {}).items()}
        call = Call(method, found.route, found.captures, named, b"", body, Caller(request_id="r1"))
        request = None
        try:
            if isinstance(found, AnswerMatch):
                return found.route.answer(call)
            request = codec.decode(call)
            self.seen.append(request)
            if isinstance(found, ExplainMatch):
                return found.codec.encode_explanation(explain(request), request, call)
            return codec.encode(self._answer(request), request, call)
        except RequestError as error:
            return codec.encode_error(error, call, request)

    def _answer(self, request: Request) -> Response:
        try:
            prediction = self.model(request.payload)
        except RequestError:
            raise
        except Exception as error:
            raise RequestError(Fault.MODEL_FAILED, str(error)) from error
        probability = self.probability if request.wants == "probability" else None
        return Response(prediction=prediction, probability=probability)

    def post(self, path: str, document: Any, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        reply = self.ask("POST", path, json.dumps(document).encode(), headers)
        return reply.status, json.loads(reply.body)

    def get(self, path: str) -> tuple[int, Any]:
        reply = self.ask("GET", path)
        return reply.status, json.loads(reply.body)

    @property
    def payload(self) -> Payload:
        return self.seen[-1].payload


@pytest.fixture
def loopback() -> type[Loopback]:
    return Loopback


@pytest.fixture
def description() -> Callable[..., ModelDescription]:
    return describe
