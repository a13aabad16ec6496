"""W3C Trace Context: continued in the answer and in the log; what is not whole is ignored, as the standard demands."""

from typing import Any

import httpx
import pytest

from mlflow_deploy_plugin.serving.trace import read_trace

Serving = Any  # of conftest.py, which is no module

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ROW = {"features": [1.5, 2]}


def test_a_trace_is_continued_in_the_answer_and_in_the_log(talk: Any, serving: Serving) -> None:
    served = serving.application()
    sent = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=x,other=y"}

    async def conversation(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.post("/predict", json=ROW, headers=sent), await client.post("/predict", json=ROW)]

    traced, plain = talk(served, conversation)
    version, trace_id, span_id, flags = traced.headers["traceparent"].split("-")
    assert (version, trace_id, flags) == ("00", TRACE, "01")
    assert span_id != SPAN
    assert traced.headers["tracestate"] == "vendor=x,other=y"
    assert "traceparent" not in plain.headers
    first, second = (kept.caller.trace for kept in served.recorder.predictions)
    assert (first.trace_id, first.parent_id, first.span_id, second) == (TRACE, SPAN, span_id, None)


@pytest.mark.parametrize(
    ("parent", "is_read"),
    [
        (f"00-{TRACE}-{SPAN}-00", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be", True),
        (f"00-{TRACE}-{SPAN}-01-more", False),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        (f"00-{TRACE[:-1]}-{SPAN}-01", False),
        (f"00-{TRACE}-{SPAN}", False),
        ("", False),
        ("\xff" * 55, False),
    ],
)
def test_a_context_that_is_not_whole_is_ignored(parent: str, *, is_read: bool) -> None:
    trace = read_trace({b"traceparent": parent.encode("latin-1"), b"tracestate": b"a=b"})
    assert (trace is not None) == is_read


def test_a_state_beyond_what_must_be_passed_on_is_left_out() -> None:
    trace = read_trace({b"traceparent": f"00-{TRACE}-{SPAN}-01".encode(), b"tracestate": b"a=" + b"b" * 600})
    assert trace is not None
    assert [name for name, _ in trace.headers()] == ["traceparent"]
