"""The OpenAPI document: every route is in it, and every example in it is answered by the model."""

import json
from typing import Any

import httpx
import numpy as np
import pytest

from mlflow_deploy_plugin.serving.openapi import schemas
from mlflow_deploy_plugin.serving.predictors import samples
from mlflow_deploy_plugin.serving.signature import Column, Param, Signature, TensorSpec, parse_signature
from mlflow_deploy_plugin.serving.swagger import SwaggerPage

Serving = Any  # of conftest.py, which is no module

SIGNATURES = {
    "doubles": Signature(inputs=(Column(name="a", type="double"), Column(name="b", type="double"))),
    "mixed": Signature(
        inputs=(
            Column(name="n", type="long"),
            Column(name="s", type="string"),
            Column(name="when", type="datetime", is_required=False),
        ),
        params=(Param(name="temperature", type="double", default=0.5),),
    ),
    "tensor": Signature(inputs=(TensorSpec(name="", dtype="float32", shape=(-1, 2)),)),
    "tensors": Signature(
        inputs=(TensorSpec(name="x", dtype="float32", shape=(-1, 2)), TensorSpec(name="k", dtype="int64", shape=(-1,)))
    ),
    "text": Signature(inputs=(TensorSpec(name="words", dtype="str", shape=(-1,)),)),
    "unnamed": Signature(inputs=(Column(name="", type="double"), Column(name="", type="double"))),
    "hinted": parse_signature({"is_signature_from_type_hint": True, "signature": {"inputs": '[{"type": "string"}]'}}),
    "unsigned": Signature(),
}
MESSAGE = {
    "type": "object",
    "properties": {"role": {"type": "string"}, "weight": {"type": "double", "required": False}},
}
NESTED = parse_signature(
    {
        "signature": {
            "inputs": json.dumps(
                [
                    {"name": "talk", "type": "array", "items": MESSAGE},
                    {"name": "scores", "type": "map", "values": {"type": "double"}, "required": False},
                ]
            )
        }
    }
)


def fetch(talk: Any, served: Any, path: str = "/openapi.json") -> httpx.Response:
    async def conversation(client: httpx.AsyncClient) -> httpx.Response:
        return await client.get(path)

    answer: httpx.Response = talk(served, conversation)
    return answer


@pytest.mark.parametrize("name", [name for name in SIGNATURES if name != "unsigned"])
def test_every_example_of_the_document_is_answered(talk: Any, serving: Serving, name: str) -> None:
    serving.signature = SIGNATURES[name]
    serving.predictor.answer = lambda column: [1.0] * len(np.atleast_1d(column))
    read_by_mlflow = {"mixed", "text", "unnamed", "hinted"}  # of a model, which is not here
    document = fetch(talk, serving.application()).json()

    async def conversation(client: httpx.AsyncClient) -> dict[str, int]:
        statuses = {}
        for path, item in document["paths"].items():
            example = item.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
            if "example" in example and (name not in read_by_mlflow or path != "/invocations"):
                filled = path.replace("{model}", "churn").replace("{version}", "4").replace("{label}", "churn-v4")
                answer = await client.post(document["servers"][0]["url"] + filled, json=example["example"])
                assert answer.status_code in {200, 202}, (path, example, answer.text)
                statuses[path] = answer.status_code
        return statuses

    asked = talk(serving.application(), conversation)
    assert {"/predict", "/predict_batch", "/feedback"} <= asked.keys()
    assert {"/v2/models/{model}/infer", "/v1/models/{model}:predict", "/predictions/{model}"} <= asked.keys()


def test_nested_types_are_described_and_have_an_example(talk: Any, serving: Serving) -> None:
    serving.signature = NESTED
    paths = fetch(talk, serving.application()).json()["paths"]
    content = {
        path: paths[path]["post"]["requestBody"]["content"]["application/json"] for path in paths_of_bodies(paths)
    }
    assert content["/predict"]["example"] == {"features": {"talk": [{"role": "text"}], "scores": {"key": 0.5}}}
    by_name = content["/predict"]["schema"]["properties"]["features"]["anyOf"][0]
    assert by_name["required"] == ["talk"]
    assert by_name["properties"]["talk"]["items"]["required"] == ["role"]
    assert by_name["properties"]["scores"] == {
        "type": ["object", "null"],
        "additionalProperties": {"type": "number"},
    }
    told = content["/v2/models/{model}/infer"]["example"]["inputs"][0]
    assert (told["datatype"], told["shape"], told["data"]) == ("BYTES", [1], ['[{"role":"text"}]'])
    assert "example" not in content["/v1/models/{model}:predict"]


def paths_of_bodies(paths: dict[str, Any]) -> list[str]:
    return [path for path, item in paths.items() if "requestBody" in item.get("post", {})]


def test_a_model_of_a_fixed_number_of_rows_is_shown_that_many(talk: Any, serving: Serving) -> None:
    serving.signature = Signature(inputs=(TensorSpec(name="", dtype="float32", shape=(3, 2)),))
    paths = fetch(talk, serving.application()).json()["paths"]

    def content(path: str) -> dict[str, Any]:
        told: dict[str, Any] = paths[path]["post"]["requestBody"]["content"]["application/json"]
        return told

    assert len(content("/predict_batch")["example"]["features"]) == 3
    assert "example" not in content("/predict")


def test_made_up_input_is_not_given_to_what_may_act_by_it() -> None:
    assert samples.warm_up(NESTED) is None
    assert samples.warm_up(SIGNATURES["hinted"]) is None
    assert samples.warm_up(SIGNATURES["text"]) == {"inputs": {"words": ["text"]}}


def test_every_route_is_in_the_document_with_its_errors(talk: Any, serving: Serving) -> None:
    served = serving.application()
    paths = fetch(talk, serving.application()).json()["paths"]
    listed = fetch(talk, served, "/").json()["protocols"]
    assert {path for routes in listed.values() for path in routes} <= paths.keys()
    for path in ("/predict", "/invocations", "/v2/models/{model}/infer"):
        assert {"200", "400", "405", "408", "413", "429", "500", "503", "504"} <= paths[path]["post"][
            "responses"
        ].keys()


def test_the_saved_example_is_the_documents_example(talk: Any, serving: Serving) -> None:
    saved = {"dataframe_split": {"columns": ["b", "a"], "data": [[7.5, 1.25], [8.5, 2.25], [9.5, 3.25]]}}
    serving.example = saved
    paths = fetch(talk, serving.application()).json()["paths"]

    def example(path: str) -> Any:
        return paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]

    assert example("/invocations") == saved
    assert example("/predict") == {"features": {"a": 1.25, "b": 7.5}}
    assert example("/predict_batch") == {"features": [{"a": 1.25, "b": 7.5}, {"a": 2.25, "b": 8.5}]}
    assert [t["data"] for t in example("/v2/models/{model}/infer")["inputs"]] == [[1.25, 2.25], [7.5, 8.5]]


def test_a_model_without_a_signature_is_described_without_examples(talk: Any, serving: Serving) -> None:
    serving.signature = Signature()
    paths = fetch(talk, serving.application()).json()["paths"]
    assert "example" not in paths["/predict"]["post"]["requestBody"]["content"]["application/json"]


def test_rows_are_described_by_name_and_in_order() -> None:
    by_name, in_order = schemas.row(SIGNATURES["mixed"])["anyOf"]
    assert by_name["required"] == ["n", "s"]
    assert by_name["properties"]["when"]["type"] == ["string", "null"]
    assert (in_order["minItems"], in_order["maxItems"]) == (3, 3)
    assert schemas.row(SIGNATURES["tensor"]) == {
        "type": "array",
        "items": {"type": "number"},
        "minItems": 2,
        "maxItems": 2,
    }


def test_the_page_loads_nothing_from_elsewhere(talk: Any, serving: Serving) -> None:
    page = fetch(talk, serving.application(), "/endpoints/churn/docs")
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert "//" not in page.text.replace("<!doctype html>", "")
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js", "favicon-32x32.png"):
        assert fetch(talk, serving.application(), f"/endpoints/churn/docs/{asset}").status_code == 200
    assert fetch(talk, serving.application(), "/docs/passwd").status_code == 404


def test_without_bentomls_assets_the_page_is_a_bare_list() -> None:
    def document() -> dict[str, Any]:
        return {"paths": {"/predict": {"post": {"summary": "Predict <one> row"}}}}

    page = SwaggerPage("churn", document)
    page._folder = None
    body = page.routes()[0].answer(None).body.decode()  # type: ignore[arg-type]
    assert "<code>POST /predict</code> Predict &lt;one&gt; row" in body
