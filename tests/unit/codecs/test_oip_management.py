"""What Triton's clients ask beside the protocol: statistics, configuration, loading; and tensors of text."""

from typing import Any

import pytest

from mlflow_deploy_plugin.serving.codecs.base import Totals
from mlflow_deploy_plugin.serving.codecs.oip import OipCodec
from mlflow_deploy_plugin.serving.signature import Signature, TensorSpec

INFER = "/v2/models/churn/infer"


@pytest.fixture
def table(loopback: Any) -> Any:
    return loopback(factory=OipCodec, model=len)


def test_triton_is_told_what_was_counted(loopback: Any) -> None:
    totals = Totals(requests=3, requests_s=1.5, errors=1, errors_s=0.25, queue_s=0.5, batches=2, compute_s=1.0, rows=9)
    model = loopback(factory=OipCodec, model=len, totals=totals)
    told = {
        "version": "4",
        "inference_count": 9,
        "execution_count": 2,
        "inference_stats": {
            "success": {"count": 3, "ns": 1_500_000_000},
            "fail": {"count": 1, "ns": 250_000_000},
            "queue": {"count": 3, "ns": 500_000_000},
            "compute_infer": {"count": 2, "ns": 1_000_000_000},
        },
    }
    assert model.get("/v2/models/any/versions/4/stats") == (200, {"model_stats": [{"name": "any", **told}]})
    assert model.get("/v2/models/stats") == (200, {"model_stats": [{"name": "churn", **told}]})
    assert model.get("/v2/models/churn/versions/9/stats")[0] == 404


def test_the_configuration_is_the_metadata_in_tritons_words(table: Any) -> None:
    status, told = table.get("/v2/models/churn/config")
    assert (status, told["max_batch_size"], told["backend"]) == (200, 0, "mlflow")
    assert told["input"][0] == {"name": "age", "data_type": "TYPE_FP64", "dims": [-1, 1]}
    assert told["output"] == [{"name": "output-0", "data_type": "TYPE_INT64", "dims": [-1]}]


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_loading_is_refused_with_the_way_out(table: Any, verb: str) -> None:
    status, answer = table.post(f"/v2/repository/models/churn/{verb}", {})
    assert status == 405
    assert "mlflow deployments update -t modelserve --name churn-v4" in answer["error"]


@pytest.mark.parametrize(("dtype", "kind"), [("str", "U"), ("object", "O"), ("bytes", "S")])
def test_tensors_of_text_have_the_kind_that_mlflow_enforces(
    loopback: Any, description: Any, dtype: str, kind: str
) -> None:
    signature = Signature(inputs=(TensorSpec(name="text", dtype=dtype, shape=(-1, 1)),))
    model = loopback(
        factory=OipCodec, model=lambda payload: payload.arrays, description=description(signature=signature)
    )
    text = {"name": "text", "datatype": "BYTES", "shape": [2, 1], "data": ["é", "long"]}
    status, answer = model.post(INFER, {"inputs": [text]})
    assert (status, answer["outputs"][0]["data"]) == (200, ["é", "long"])
    assert model.payload.arrays["text"].dtype.kind == kind
