import json

import pytest

from mlflow_deploy_plugin.errors import ModelError
from mlflow_deploy_plugin.scoring import Column, Signature


def mlmodel(inputs: object, params: object = None, **more: object) -> str:
    signature = {"inputs": json.dumps(inputs), "outputs": None, "params": json.dumps(params) if params else None}
    return json.dumps({"flavors": {}, "signature": signature, **more})


def test_columns_are_read_from_an_mlmodel_file() -> None:
    text = mlmodel(
        [{"type": "string", "name": "zip", "required": True}, {"type": "double", "name": "x", "required": False}],
        [{"name": "k", "type": "long", "default": 1, "shape": None}],
    )
    signature = Signature.from_mlmodel(text)
    assert signature.columns == (Column(name="zip", kind="string"), Column(name="x", kind="double"))
    assert signature.params == (Column(name="k", kind="long"),)
    assert (signature.kind("zip"), signature.kind("other"), signature.is_tensor) == ("string", "", False)


def test_a_tensor_is_a_tensor() -> None:
    text = mlmodel([{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}])
    signature = Signature.from_mlmodel(text)
    assert (signature.is_tensor, signature.names) == (True, ())


def test_a_model_made_from_type_hints_is_known() -> None:
    assert Signature.from_mlmodel(mlmodel([{"type": "string"}], is_signature_from_type_hint=True)).is_from_type_hint


@pytest.mark.parametrize("text", ["flavors: {}\n", "signature: null\n"])
def test_a_model_without_a_signature_has_none(text: str) -> None:
    assert Signature.from_mlmodel(text) == Signature()


@pytest.mark.parametrize("text", ["", "[", "signature:\n  inputs: 'no json'\n", "- a\n"])
def test_what_is_no_mlmodel_file_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="MLmodel"):
        Signature.from_mlmodel(text)


def test_columns_are_told_from_v2_metadata() -> None:
    signature = Signature.from_v2_metadata(
        {
            "inputs": [
                {"name": "zip", "datatype": "BYTES", "shape": [-1, 1]},
                {"name": "n", "datatype": "INT64", "shape": [-1]},
                {"name": "image", "datatype": "FP32", "shape": [-1, 8, 8]},
            ]
        }
    )
    assert [column.kind for column in signature.columns] == ["string", "long", "tensor"]
