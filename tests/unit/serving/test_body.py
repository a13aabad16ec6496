"""Limits of a body: bytes, values, and what is no text."""

import zlib

import pytest

from mlflow_deploy_plugin.serving.body import LEAST_VALUES, BodyLimits
from mlflow_deploy_plugin.serving.faults import Fault, RequestError

MANY = b"[" + b"1," * (LEAST_VALUES + 1) + b"1]"
FEW = b"[" + b"1234567890123," * LEAST_VALUES + b"1]"
MEGABYTES = 2_000_000


def read(body: bytes, max_bytes: int = 200_000, **headers: str) -> bytes:
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return BodyLimits(max_bytes=max_bytes, timeout_s=1).plain(body, named)


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


@pytest.mark.parametrize("kind", ["application/octet-stream", "image/png", "application/vnd.apache.parquet"])
def test_commas_of_what_is_no_text_are_only_bytes(kind: str) -> None:
    assert read(b"," * MEGABYTES, max_bytes=MEGABYTES, content_type=kind)


def test_longer_values_and_larger_limits_leave_room() -> None:
    assert read(FEW, max_bytes=MEGABYTES) == FEW
    assert read(MANY, max_bytes=10 * MEGABYTES) == MANY


@pytest.mark.parametrize("length", ["-1", "x", "9" * 30])
def test_a_length_that_is_none_leaves_the_whole_body_text(length: str) -> None:
    with pytest.raises(RequestError, match="values"):
        read(MANY, max_bytes=300_000, inference_header_content_length=length)
