"""Counting what a message of protobuf holds, on the wire."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_deploy_plugin.serving.codecs import oip_messages, tensorflow_messages, wire

REQUEST = oip_messages.MESSAGES["ModelInferRequest"]
PREDICT = tensorflow_messages.MESSAGES["PredictRequest"]
ENOUGH = 10**9

parameters = st.dictionaries(st.text(max_size=3), st.builds(dict, int64_param=st.integers(-5, 5)), max_size=3)
inputs = st.fixed_dictionaries(
    {
        "name": st.text(max_size=200),
        "datatype": st.sampled_from(["", "FP32"]),
        "shape": st.lists(st.integers(-1, 2**40), max_size=4),
        "parameters": parameters,
        "contents": st.fixed_dictionaries({"fp32_contents": st.lists(st.floats(width=32), max_size=40)}),
    }
)
requests = st.fixed_dictionaries(
    {
        "model_name": st.text(max_size=5),
        "parameters": parameters,
        "inputs": st.lists(inputs, max_size=4),
        "raw_input_contents": st.lists(st.binary(max_size=300), max_size=4),
    }
)
predictions = st.fixed_dictionaries(
    {
        "inputs": st.dictionaries(
            st.text(max_size=3),
            st.builds(
                dict,
                dtype=st.integers(-1, 300),
                tensor_shape=st.builds(lambda sizes: {"dim": [{"size": size} for size in sizes]}, st.lists(st.just(3))),
                string_val=st.lists(st.binary(max_size=200), max_size=20),
                double_val=st.lists(st.floats(), max_size=20),
            ),
            max_size=3,
        ),
        "output_filter": st.lists(st.text(max_size=3)),
    }
)


def values(message: Any) -> int:
    """What is to be counted, by the message itself once it is read."""
    count = 0
    for field, value in message.ListFields():
        entry = field.message_type if field.message_type and field.message_type.GetOptions().map_entry else None
        if entry is not None:
            count += sum(wire.MESSAGE_VALUES + 1 + of_entry(value[key], entry) for key in value)
        elif field.message_type is not None:
            parts = [value] if hasattr(value, "ListFields") else value
            count += sum(wire.MESSAGE_VALUES + within(part) for part in parts)
        elif isinstance(value, (str, bytes)) or not hasattr(value, "__len__"):
            count += 1
        else:
            count += len(value) if isinstance(value[0], (str, bytes)) else 1  # numbers are packed
    return count


def within(message: Any) -> int:
    return values(message) if any(field.message_type for field in message.DESCRIPTOR.fields) else 0


def of_entry(value: Any, entry: Any) -> int:
    assert entry.fields_by_name["value"].message_type is not None
    return wire.MESSAGE_VALUES + within(value)


@given(requests)
def test_an_inference_request_is_counted_as_it_is_read(fields: dict[str, Any]) -> None:
    message = REQUEST(**fields)
    body = message.SerializeToString()
    assert wire.values_in(body, wire.level_of(REQUEST.DESCRIPTOR), enough=ENOUGH) == values(message)


@given(predictions)
def test_a_request_of_tensorflow_is_counted_as_it_is_read(fields: dict[str, Any]) -> None:
    message = PREDICT(**fields)
    body = message.SerializeToString()
    assert wire.values_in(body, wire.level_of(PREDICT.DESCRIPTOR), enough=ENOUGH) == values(message)


@given(st.binary(max_size=60), st.integers(0, 20))
def test_any_bytes_are_counted_to_an_end(body: bytes, enough: int) -> None:
    assert 0 <= wire.values_in(body, wire.level_of(REQUEST.DESCRIPTOR), enough=enough) <= enough + wire.MESSAGE_VALUES


@pytest.mark.parametrize("enough", [0, 100])
def test_the_count_ends_with_what_is_too_much(enough: int) -> None:
    found = wire.values_in(b"\x2a\x00" * 10**6, wire.level_of(REQUEST.DESCRIPTOR), enough=enough)
    assert enough < found <= enough + wire.MESSAGE_VALUES
