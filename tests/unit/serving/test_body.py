"""Limits of a body: bytes, values, and what is no text."""

import zlib
from typing import Any

import pytest

from mlflow_deploy_plugin.serving.body import LEAST_VALUES, BodyLimits
from mlflow_deploy_plugin.serving.faults import Fault, RequestError

MANY = b"[" + b"1," * (LEAST_VALUES + 1) + b"1]"
FEW = b"[" + b"1234567890123," * LEAST_VALUES + b"1]"
MEGABYTES = 2_000_000


def read(body: bytes, max_bytes: int = 200_000, *, has_tail: bool = True, **headers: str) -> bytes:
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return BodyLimits(max_bytes=max_bytes, timeout_s=1).plain(body, named, has_tail=has_tail)


def form(*parts: bytes) -> bytes:
    named = [b'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\n' + part + b"\r\n" for part in parts]
    return b"".join(named) + b"--b--"


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "application/json"},
        {"content_type": "text/csv; charset=utf-8"},
        {"content_type": "application/x-www-form-urlencoded"},
        {},
        {"content_type": "application/octet-stream", "inference_header_content_length": str(len(MANY))},
    ],
)
def test_a_text_of_too_many_values_is_too_large(headers: dict[str, str]) -> None:
    with pytest.raises(RequestError, match=f"has {LEAST_VALUES + 1} values; at most {LEAST_VALUES}") as refused:
        read(MANY + b" " * 10, max_bytes=300_000, **headers)
    assert refused.value.fault is Fault.TOO_LARGE


def test_what_is_compressed_is_counted_as_it_is_read() -> None:
    with pytest.raises(RequestError, match="values"):
        read(zlib.compress(MANY), max_bytes=300_000, content_encoding="deflate")


@pytest.mark.parametrize("kind", ["application/octet-stream", "IMAGE/png ; x=1", "multipart/form-data; boundary=b"])
@pytest.mark.parametrize("blanks", [b"", b" \t\r\n" * 50])
def test_json_is_a_text_whatever_its_content_type(kind: str, blanks: bytes) -> None:
    for body in (blanks + MANY, blanks + b'{"features":' + MANY + b"}"):
        with pytest.raises(RequestError, match="values"):
            read(body, max_bytes=300_000, content_type=kind)


@pytest.mark.parametrize("blanks", [b"", b" \r\n\r\n "])
def test_json_in_a_part_of_a_form_is_a_text(blanks: bytes) -> None:
    with pytest.raises(RequestError, match="values"):
        read(form(b"\x89PNG", blanks + MANY), max_bytes=300_000, content_type="multipart/form-data; boundary=b")


ANSWERED_BY_JSON = (
    "/predict_batch",
    "/v1/models/m:predict",
    "/v2/models/m/infer",
    "/predictions/m",
    "/endpoints/c/explain",
)


@pytest.mark.parametrize("path", ANSWERED_BY_JSON)
@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "image/png"},
        {"content-type": "application/octet-stream"},
        {"content-type": "multipart/mixed; boundary=b"},
        {"content-type": "application/json", "inference-header-content-length": "2"},
    ],
    ids=lambda headers: "; ".join(headers.values()),
)
def test_no_header_gets_more_values_past_the_limit(talk: Any, serving: Any, path: str, headers: dict[str, str]) -> None:
    served = serving.application(max_body_bytes=300_000)

    async def ask(client: Any) -> Any:
        return await client.post(path, content=b'{"features":' + MANY + b"}", headers=headers)

    answer = talk(served, ask)
    is_split = (
        path.startswith("/v2") and len(headers) > 1
    )  # there it says that two bytes are JSON: and so they are read
    assert answer.status_code == (400 if is_split else 413), answer.text
    assert is_split or "values; at most" in answer.text


def test_commas_of_tensors_behind_a_text_are_only_bytes() -> None:
    body = b'{"inputs":[]}' + b"," * (LEAST_VALUES + 1)
    assert read(body, content_type="application/octet-stream", inference_header_content_length="13") == body
    with pytest.raises(RequestError, match="values"):
        read(body, has_tail=False, content_type="application/octet-stream", inference_header_content_length="13")


@pytest.mark.parametrize("kind", ["application/octet-stream", "image/png", "application/vnd.apache.parquet"])
def test_commas_of_what_is_no_text_are_only_bytes(kind: str) -> None:
    assert read(b"," * MEGABYTES, max_bytes=MEGABYTES, content_type=kind)
    assert read(form(b"," * MEGABYTES), max_bytes=2 * MEGABYTES, content_type="multipart/form-data; boundary=b")


def test_longer_values_and_larger_limits_leave_room() -> None:
    assert read(FEW, max_bytes=MEGABYTES) == FEW
    assert read(MANY, max_bytes=10 * MEGABYTES) == MANY


@pytest.mark.parametrize("length", ["-1", "x", "9" * 30])
def test_a_length_that_is_none_leaves_the_whole_body_text(length: str) -> None:
    with pytest.raises(RequestError, match="values"):
        read(MANY, max_bytes=300_000, inference_header_content_length=length)
