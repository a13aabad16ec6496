"""Requests and answers of each protocol, against the codecs that serve them."""

import numpy as np
import orjson
import pytest

from pipelines.benchmark import wires

ROW = np.arange(3, dtype="float32") / 4
ANSWER = [0.5, -1.25]


def test_plain_json() -> None:
    assert orjson.loads(wires.PLAIN.sent(ROW).body) == {"features": [[0.0, 0.25, 0.5]]}
    assert wires.PLAIN.read(b'{"prediction": [[0.5, -1.25]]}').tolist() == ANSWER


def test_mlflow_names_the_columns_of_a_table_and_not_those_of_a_tensor() -> None:
    assert orjson.loads(wires.MLFLOW_TABLE.sent(ROW).body) == {
        "dataframe_split": {"columns": ["x0", "x1", "x2"], "data": [[0.0, 0.25, 0.5]]}
    }
    assert orjson.loads(wires.MLFLOW_TENSOR.sent(ROW).body) == {"inputs": [[0.0, 0.25, 0.5]]}


def test_open_inference_protocol_in_json() -> None:
    (tensor,) = orjson.loads(wires.OIP_JSON.sent(ROW).body)["inputs"]
    assert (tensor["datatype"], tensor["shape"], tensor["data"]) == ("FP32", [1, 3], [0.0, 0.25, 0.5])
    answer = {"outputs": [{"name": "o", "datatype": "FP32", "shape": [1, 2], "data": ANSWER}]}
    assert wires.OIP_JSON.read(orjson.dumps(answer)).tolist() == ANSWER


def test_open_inference_protocol_in_binary_ends_its_head_where_its_data_begins() -> None:
    sent = wires.OIP_BINARY.sent(ROW)
    length = int(sent.headers["inference-header-content-length"])
    assert np.frombuffer(sent.body[length:], dtype="<f4").tolist() == ROW.tolist()
    data = np.array(ANSWER, dtype="<f4").tobytes() + b"}"  # another output's bytes, which may look like anything
    output = {"datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
    assert wires.OIP_BINARY.read(orjson.dumps({"outputs": [output]}) + data).tolist() == ANSWER


def test_a_binary_answer_without_a_head_is_none() -> None:
    with pytest.raises(ValueError, match="head"):
        wires.OIP_BINARY.read(b"\0\1\2")
