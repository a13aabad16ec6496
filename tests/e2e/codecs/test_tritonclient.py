"""NVIDIA's own client, unchanged, against our server."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

Run = Callable[[str, str], Any]

HEALTH = """
import json, sys
from tritonclient.http import InferenceServerClient
with InferenceServerClient(sys.argv[1]) as client:
    print(json.dumps({
        "live": client.is_server_live(), "ready": client.is_server_ready(), "model": client.is_model_ready("churn"),
        "pinned": client.is_model_ready("churn", "4"), "other": client.is_model_ready("churn", "9"),
        "server": client.get_server_metadata(), "metadata": client.get_model_metadata("churn"),
        "index": client.get_model_repository_index(),
    }))
"""


def test_health_and_metadata(table_server: Any, run_client: Run) -> None:
    said = run_client(HEALTH, table_server.address)
    assert [said[key] for key in ("live", "ready", "model", "pinned", "other")] == [True, True, True, True, False]
    assert "binary_tensor_data" in said["server"]["extensions"]
    assert [tensor["name"] for tensor in said["metadata"]["inputs"]] == ["age", "income"]
    assert said["index"][0]["name"] == "churn"


def test_the_same_under_the_endpoints_address(table_server: Any, run_client: Run) -> None:
    assert run_client(HEALTH, f"{table_server.address}/endpoints/churn")["ready"]


PREDICT = """
import json, sys
import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
answers = []
with InferenceServerClient(sys.argv[1]) as client:
    for is_binary_in in (True, False):
        for is_binary_out in (True, False):
            for compression in (None, "gzip", "deflate"):
                inputs = [InferInput("age", [2, 1], "FP64"), InferInput("income", [2, 1], "FP64")]
                inputs[0].set_data_from_numpy(np.array([[25.0], [65.0]]), binary_data=is_binary_in)
                inputs[1].set_data_from_numpy(np.array([[1.0], [6.0]]), binary_data=is_binary_in)
                wanted = [InferRequestedOutput(name, binary_data=is_binary_out) for name in ("output-0", "probability")]
                found = client.infer(
                    "churn", inputs, outputs=wanted, request_id="7", request_compression_algorithm=compression
                )
                assert found.get_response()["id"] == "7"
                answers.append([found.as_numpy("output-0").tolist(), found.as_numpy("probability").argmax(1).tolist()])
    inputs = [InferInput("x", [2, 2], "FP32")]
    inputs[0].set_data_from_numpy(np.array([[25.0, 1.0], [65.0, 6.0]], dtype=np.float32))
    matrix = client.infer("churn", inputs).as_numpy("output-0").tolist()
print(json.dumps({"answers": answers, "matrix": matrix}))
"""


def test_every_way_to_send_a_table_gives_one_answer(table_server: Any, run_client: Run) -> None:
    said = run_client(PREDICT, table_server.address)
    assert said == {"answers": [[[0, 1], [0, 1]]] * 12, "matrix": [0, 1]}


ECHO = """
import json, sys
import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import np_to_triton_dtype
arrays = [np.array([[0, 1], [1, 0]], dtype=kind) for kind in
          ("bool", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")]
arrays.append(np.array([["a", "öé"], ["", "x" * 1000]], dtype=object))
arrays.append(np.array([[b"a", b"\\xc3\\xb6"]], dtype=object))
same = {}
with InferenceServerClient(sys.argv[1]) as client:
    for number, array in enumerate(arrays):
        kind = np_to_triton_dtype(array.dtype)
        for is_binary_in, is_binary_out in ((True, True), (False, False), (True, False), (False, True)):
            if kind == "FP16" and not is_binary_in:
                continue  # the client itself refuses halves in JSON
            one = InferInput("x", list(array.shape), kind)
            one.set_data_from_numpy(array, binary_data=is_binary_in)
            wanted = [InferRequestedOutput("output-0", binary_data=is_binary_out)]
            found = client.infer("churn", [one], outputs=wanted).as_numpy("output-0")
            def plain(values):
                return [v.decode() if isinstance(v, bytes) else v for v in values.reshape(-1).tolist()]
            same[f"{number} {kind} {is_binary_in} {is_binary_out}"] = (
                plain(found) == plain(array) and found.shape == array.shape
                and (kind == "BYTES" or found.dtype == array.dtype)
            )
print(json.dumps(same))
"""


def test_every_datatype_survives_the_way_there_and_back(echo_server: Any, run_client: Run) -> None:
    said = run_client(ECHO, echo_server.address)
    assert len(said) == 14 * 4 - 2
    assert [name for name, is_same in said.items() if not is_same] == []


BAD = """
import json, sys
import numpy as np
from tritonclient.http import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException
def attempt(*inputs, name="churn", version=""):
    try:
        client.infer(name, list(inputs), model_version=version)
    except InferenceServerException as error:
        return [error.status(), error.message()]
    return ["200", ""]
def one(name, array, kind):
    tensor = InferInput(name, list(array.shape), kind)
    tensor.set_data_from_numpy(array)
    return tensor
doubles = np.array([[1.0], [2.0]])
with InferenceServerClient(sys.argv[1]) as client:
    print(json.dumps([
        attempt(one("age", doubles, "FP64")),
        attempt(one("age", doubles, "FP64"), one("income", np.array([["a"], ["b"]], dtype=object), "BYTES")),
        attempt(one("age", doubles, "FP64"), one("income", doubles[:1], "FP64")),
        attempt(one("age", doubles, "FP64"), one("income", doubles, "FP64"), version="9"),
    ]))
"""


def test_bad_input_is_the_clients_error_in_the_clients_words(table_server: Any, run_client: Run) -> None:
    missing, text, ragged, version = run_client(BAD, table_server.address)
    assert (missing[0], text[0], ragged[0], version[0]) == ("400", "400", "400", "404")
    assert "'income' is missing" in missing[1]
    assert "is text" in text[1]
    assert "different numbers of rows" in ragged[1]
