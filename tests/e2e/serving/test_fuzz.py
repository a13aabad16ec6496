"""Bodies that nobody means: mutated valid ones in every REST protocol, always the same by their seed.

Each is answered in its protocol's own words by a 4xx, or with a prediction where it still means something; never by
5xx, and the next valid body is answered as ever. ``make fuzz`` sends 100,000 of them.
"""

import asyncio
import io
import json
import random
import struct
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlflow_deploy_plugin.serving.app import Application, create_app
from mlflow_deploy_plugin.spec.bento import MODEL_FOLDER, SPEC_FILE, BentoSpec
from mlflow_deploy_plugin.spec.settings import ServingSettings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of itself when it is imported
    import mlflow
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.pyfunc import PythonModel
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore"),  # MLflow's and pandas' own, on bodies that are wrong on purpose
]

REFUSED = {400, 404, 413, 415, 422}
HEALTHY_EVERY = 50
"""Bodies between two valid ones, whose answer must be the very first one's."""


class Length(PythonModel):
    """Answers the number of rows, whatever came."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002
        if isinstance(model_input, dict):
            model_input = next(iter(model_input.values()))
        return [len(model_input)] * len(model_input)


MIXED = Schema(
    [
        ColSpec(DataType.long, "n"),
        ColSpec(DataType.string, "s"),
        ColSpec(DataType.boolean, "flag"),
        ColSpec(DataType.datetime, "when", required=False),
    ]
)
TENSORS = Schema([TensorSpec(np.dtype("float32"), (-1, 2), "x"), TensorSpec(np.dtype("int64"), (-1,), "k")])
PARAMS = ParamSchema([ParamSpec("temperature", DataType.double, 0.5)])


def save_tabular(folder: Path) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 3)), columns=["a", "b", "c"])
    target = (frame["a"] + frame["b"] > 0).astype(int)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, target)
    signature = infer_signature(frame, model.predict(frame))
    options = {"serialization_format": "cloudpickle", "pip_requirements": ["scikit-learn"]}
    mlflow.sklearn.save_model(model, folder, signature=signature, **options)


def save_length(folder: Path, signature: ModelSignature | None) -> None:
    mlflow.pyfunc.save_model(folder, python_model=Length(), signature=signature, pip_requirements=["mlflow"])


SAVED: dict[str, Callable[[Path], None]] = {
    "tabular": save_tabular,
    "mixed": lambda folder: save_length(folder, ModelSignature(inputs=MIXED, params=PARAMS)),
    "tensors": lambda folder: save_length(folder, ModelSignature(inputs=TENSORS)),
    "unsigned": lambda folder: save_length(folder, None),
}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to ask: the protocol's path and content type, and a body that is answered 200."""

    protocol: str
    path: str
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


ROWS: dict[str, list[dict[str, Any]]] = {
    "tabular": [{"a": 0.5, "b": -1.5, "c": 2.25}, {"a": 1.5, "b": 2.0, "c": 3.5}],
    "mixed": [{"n": 3, "s": "é", "flag": True, "when": "2026-01-02T03:04:05"}],
    "tensors": [{"x": [1.5, 2], "k": 3}, {"x": [0, 1], "k": 4}],
    "unsigned": [{"a": 0.5, "b": "text"}, {"a": 1, "b": ""}],
}
DATATYPES = {"a": "FP64", "b": "FP64", "c": "FP64", "n": "INT64", "s": "BYTES", "flag": "BOOL", "when": "BYTES"}
DATATYPES |= {"x": "FP32", "k": "INT64"}


def kinds(name: str) -> list[Kind]:
    """Every way to ask one model."""
    rows = ROWS[name]
    columns = {column: [row[column] for row in rows] for column in rows[0]}
    split = {"columns": list(columns), "data": [list(row.values()) for row in rows]}
    mlflow_body = {"inputs": columns} if name == "tensors" else {"dataframe_split": split}
    torchserve = Kind(protocol="torchserve", path="/predictions/m", body=dump({"data": rows}))
    whole = [
        Kind(protocol="mlflow", path="/invocations", body=dump(mlflow_body)),
        Kind(protocol="rest", path="/predict", body=dump({"features": rows[0]})),
        Kind(protocol="rest", path="/predict_batch", body=dump({"features": rows, "params": {"temperature": 1}})),
        Kind(protocol="tensorflow", path="/v1/models/m:predict", body=dump({"instances": rows})),
        Kind(protocol="tensorflow", path="/v1/models/m:predict", body=dump({"inputs": columns})),
        torchserve,
        form(torchserve.body),
        Kind(protocol="rest", path="/feedback", body=dump([{"request_id": "r", "labels": [0, 1.5, "x"]}])),
    ]
    if name != "unsigned":
        whole += [oip(name, columns, is_binary=False), oip(name, columns, is_binary=True)]
    if name == "tabular":
        frame, parquet = pd.DataFrame(rows), io.BytesIO()
        frame.to_parquet(parquet)
        csv = frame.to_csv(index=False).encode()
        whole += [
            Kind(protocol="tensorflow", path="/v1/models/m:classify", body=dump({"examples": rows})),
            Kind(protocol="mlflow", path="/invocations", body=dump({"dataframe_records": rows, "params": {}})),
            Kind(protocol="mlflow", path="/invocations", body=csv, content_type="text/csv"),
            Kind(
                protocol="mlflow",
                path="/invocations",
                body=parquet.getvalue(),
                content_type="application/vnd.apache.parquet",
            ),
        ]
    return whole


def form(item: bytes) -> Kind:
    part = b'--cut\r\ncontent-disposition: form-data; name="data"\r\n\r\n' + item + b"\r\n--cut--\r\n"
    return Kind(
        protocol="torchserve", path="/predictions/m", body=part, content_type="multipart/form-data; boundary=cut"
    )


def oip(name: str, columns: dict[str, list[Any]], *, is_binary: bool) -> Kind:
    inputs, tail = [], b""
    for column, cells in columns.items():
        datatype = DATATYPES[column]
        shape = [len(cells), 2] if column == "x" else [len(cells)] if name == "tensors" else [len(cells), 1]
        described: dict[str, Any] = {"name": column, "datatype": datatype, "shape": shape}
        if is_binary:
            data = to_bytes(cells, datatype)
            tail += data
            inputs.append({**described, "parameters": {"binary_data_size": len(data)}})
        else:
            inputs.append({**described, "data": cells})
    head = dump({"id": "i", "inputs": inputs})
    length = ((b"inference-header-content-length", b"%d" % len(head)),) if is_binary else ()
    return Kind(protocol="oip", path="/v2/models/m/infer", body=head + tail, headers=length)


def to_bytes(cells: list[Any], datatype: str) -> bytes:
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(cell.encode())) + cell.encode() for cell in cells)
    return np.array(cells, dtype={"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "BOOL": "?"}[datatype]).tobytes()


def dump(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


ODD_TEXTS = [
    b"NaN", b"-Infinity", b"1e999", b"-0", b"0" * 40, b"9" * 400, b"9" * 5000, b"1e-400", b"null", b"true", b"[]",
    b"{}", b'""', b"\x00", b"\xff\xfe", b"\xed\xa0\x80", "😀".encode(), b'"\\ud800"', b'"\\u0000"', b"," * 20,
    b"[" * 300, b"[" * 1100 + b"]" * 1100, b'{"a":' * 900 + b"1" + b"}" * 900, b"[" * 900 + b"]" * 900,
    b"[" * 60 + b"1" + b"]" * 60, b"[" * 100_000, b'{"b64":1}', b'{"b64":"x"}', b'"2026-13-45"', b'"\xc3\x28"',
]  # fmt: skip
ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 1.5, 2**31, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400, 1e308, -1e-320, "", "x", "1.5",
    "\x00", "é" * 300, "😀", [], {}, [[]], [None], [1, "x"], [[1], [2, 3]], {"": 1}, {"b64": "AA=="}, {"b64": None},
    float("nan"), float("inf"),
]  # fmt: skip


@dataclass(kw_only=True)
class Mutator:
    """Spoils bodies, always the same way by its seed."""

    dice: random.Random
    counts: Counter[str] = field(default_factory=Counter)

    def __call__(self, kind: Kind) -> bytes:
        """One to three mutations of a valid body."""
        body = kind.body
        for _ in range(self.dice.choice((1, 1, 1, 2, 3))):
            ways = [self.flip, self.truncate, self.splice, self.repeat, self.retype, self.retype, self.rename]
            way = self.dice.choice(ways)
            self.counts[way.__name__] += 1
            body = way(body)
        return body

    def flip(self, body: bytes) -> bytes:
        flipped = bytearray(body)
        for _ in range(self.dice.choice((1, 1, 2, 8))):
            if flipped:
                flipped[self.dice.randrange(len(flipped))] = self.dice.choice((self.dice.randrange(256), 0x22, 0x30))
        return bytes(flipped)

    def truncate(self, body: bytes) -> bytes:
        cut = self.dice.randrange(len(body) + 1)
        return body[:cut] if self.dice.random() < 0.7 else body[cut:]

    def splice(self, body: bytes) -> bytes:
        at = self.dice.randrange(len(body) + 1)
        end = min(len(body), at + self.dice.choice((0, 0, 1, 4, 20)))
        return body[:at] + self.dice.choice(ODD_TEXTS) + body[end:]

    def repeat(self, body: bytes) -> bytes:
        start = self.dice.randrange(len(body) + 1)
        piece = body[start : start + self.dice.randrange(1, 40)]
        return body[:start] + piece * self.dice.choice((2, 3, 50)) + body[start:]

    def retype(self, body: bytes) -> bytes:
        """Another value at one place of the document, or one place fewer, or one more."""
        return self._at_one_place(body, lambda _: self.dice.choice(ODD_VALUES))

    def rename(self, body: bytes) -> bytes:
        """Something of the document wrapped, doubled or hidden."""
        ways: list[Callable[[Any], Any]] = [
            lambda value: [value],
            lambda value: {"x": value},
            lambda value: [value, value],
            str,
            lambda value: value * 2 if isinstance(value, (list, str)) else value,
            lambda value: nested(value, self.dice.choice((3, 40, 70, 400, 950))),
        ]
        return self._at_one_place(body, self.dice.choice(ways))

    def _at_one_place(self, body: bytes, change: Callable[[Any], Any]) -> bytes:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return self.flip(body)
        places = list(walk(document))
        if not places:
            return dump(change(document))
        holder, key = self.dice.choice(places)
        match self.dice.randrange(8):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[self.dice.choice(("", "x", str(key).upper(), "params", "inputs", "instances"))] = holder[key]
            case _:
                holder[key] = change(holder[key])
        try:
            return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
        except RecursionError:
            return b"[" * 500


def nested(value: Any, depth: int) -> Any:
    for level in range(depth):
        value = [value] if level % 2 else {"x": value}
    return value


def walk(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a document: its holder and its key."""
    stack = [document]
    while stack:
        holder = stack.pop()
        keys = holder.keys() if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            yield holder, key
            stack.append(holder[key])


@dataclass(kw_only=True)
class Asked:
    """What came back."""

    status: int
    content_type: str
    body: bytes


async def ask(app: Application, kind: Kind, body: bytes) -> Asked:
    """One request over ASGI, without a client between that would refuse what is sent."""
    headers = [(b"content-type", kind.content_type.encode()), *kind.headers]
    scope = {"type": "http", "method": "POST", "path": kind.path, "query_string": b"", "headers": headers}
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    found = dict(sent[0]["headers"])
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return Asked(status=sent[0]["status"], content_type=found[b"content-type"].decode(), body=content)


def is_own_refusal(kind: Kind, answer: Asked) -> bool:
    """Whether a refusal is in the words of its protocol."""
    if answer.status == 415 and kind.protocol == "mlflow":
        return answer.content_type.startswith("text/plain")
    told = orjson.loads(answer.body)
    match kind.protocol:
        case "mlflow":
            return {"error_code", "message"} <= told.keys() and bool(told["message"])
        case "rest":
            return set(told["error"]) == {"code", "message"} and bool(told["error"]["message"])
        case "torchserve":
            return told.keys() == {"code", "type", "message"} and told["code"] == answer.status
        case _:
            return told.keys() == {"error"} and bool(told["error"])


def judge(kind: Kind, answer: Asked) -> str:
    """What is wrong with an answer; empty: nothing."""
    if answer.status in {200, 202}:
        read = json.loads if kind.protocol == "tensorflow" else orjson.loads  # TensorFlow Serving says NaN
        read(answer.body)
        return ""
    if answer.status not in REFUSED:
        return f"status {answer.status}"
    return "" if is_own_refusal(kind, answer) else "not its protocol's words"


async def fuzz(app: Application, name: str, bodies: int, seed: int) -> Counter[int]:
    """Send spoiled bodies to one model, valid ones between; how often each status came."""
    app.start()
    while not app.lifecycle.is_ready:  # noqa: ASYNC110  the warm-up has no event for tests
        await asyncio.sleep(0.02)
    asking = kinds(name)
    expected = [await ask(app, kind, kind.body) for kind in asking]
    assert {answer.status for answer in expected} <= {200, 202}, [a.body[:300] for a in expected if a.status > 202]
    spoil = Mutator(dice=random.Random(seed))  # noqa: S311  spoiled bodies, always the same
    statuses: Counter[int] = Counter()
    for number in range(bodies):
        kind = asking[number % len(asking)]
        body = spoil(kind)
        answer = await ask(app, kind, body)
        statuses[answer.status] += 1
        wrong = judge(kind, answer)
        assert not wrong, f"{wrong}: {kind.path} {kind.content_type} {body[:3000]!r} → {answer.body[:2000]!r}"
        if number % HEALTHY_EVERY == 0:
            again = await ask(app, kind, kind.body)
            assert again.status == expected[number % len(asking)].status, (number, again.body)
    assert app.lifecycle.is_ready
    assert not any(count for key, count in app._metrics.rejected.items() if key in {"timed_out", "unavailable"})
    await app.stop()
    return statuses


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Application]:
    root = tmp_path_factory.mktemp("fuzzed")

    def made(name: str) -> Application:
        bento = root / name
        bento.mkdir()
        spec = BentoSpec(
            model_uri="models:/m/1",
            model_name="m",
            model_version="1",
            model_digest="sha256:m",
            serving_digest="sha256:s",
            environment_digest="sha256:e",
        )
        (bento / SPEC_FILE).write_text(spec.to_json())
        SAVED[name](bento / MODEL_FOLDER)
        return create_app(bento, ServingSettings(max_body_bytes=1_000_000))

    return made


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", list(SAVED))
def test_spoiled_bodies_are_refused_in_their_protocols_words(
    models: Callable[[str], Application], name: str, fuzz_bodies: int
) -> None:
    bodies = fuzz_bodies // len(SAVED)
    statuses = asyncio.run(fuzz(models(name), name, bodies, seed=20260101))
    print(f"{name}: {bodies} bodies:", dict(sorted(statuses.items())))  # noqa: T201  `make fuzz` shows it
    assert statuses[400] > bodies // 5, "the mutations spoil too little to prove anything"
    assert statuses[200] > bodies // 50, "the mutations spoil so much that nothing passes the door"
