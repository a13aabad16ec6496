"""Whose fault a failed prediction is, and bodies that would cost far more than they weigh."""

import contextlib
import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlflow_deploy_plugin.serving.codecs import mlflow_exact
from mlflow_deploy_plugin.serving.codecs.arrays import ArrayReader
from mlflow_deploy_plugin.serving.codecs.blame import status_of
from mlflow_deploy_plugin.serving.codecs.fields import FieldError, check
from mlflow_deploy_plugin.serving.codecs.tables import check_density
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.request import Raw, Request
from mlflow_deploy_plugin.serving.signature import Column, Signature

SIGNED = Signature(inputs=(Column(name="a", type="double"),))
UNSIGNED = Signature()
ASKED = Request(payload=Raw(value=1))


def failed(cause: Exception | None) -> RequestError:
    error = RequestError(Fault.MODEL_FAILED, "the model raised")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "signature", "status"),
    [
        (failed(ValueError("Input X contains NaN")), SIGNED, 400),
        (failed(TypeError("a bug")), SIGNED, 500),
        (failed(TypeError("len() of a number")), UNSIGNED, 400),
        (failed(None), UNSIGNED, 500),
        (RequestError(Fault.INVALID, "no"), SIGNED, 400),
        (RequestError(Fault.TIMED_OUT, "late"), UNSIGNED, 504),
    ],
)
def test_a_refused_value_is_the_clients_to_mend_and_a_bug_is_not(
    error: RequestError, signature: Signature, status: int
) -> None:
    assert status_of(error, ASKED, signature) == status


def test_what_was_never_read_blames_nobody_for_the_model() -> None:
    assert status_of(failed(ValueError("x")), None, SIGNED) == 500


def test_rows_that_share_no_names_are_refused_before_they_fill_the_memory() -> None:
    check_density([{f"c{n}": 1 for n in range(3000)}] * 1000)
    check_density([{str(n): 1} for n in range(900)])
    with pytest.raises(RequestError, match="3000 different names"):
        check_density([{str(n): 1} for n in range(3000)])


@pytest.mark.parametrize(
    "document",
    [
        {"dataframe_records": [{str(n): 1} for n in range(3000)]},
        {"inputs": {str(n): [1] for n in range(mlflow_exact.MOST_INPUTS + 1)}},
        {"dataframe_split": {"columns": ["a"] * 1000, "data": [[1] * 1000]}},
        {"dataframe_split": {"columns": [str(n) for n in range(2001)], "data": []}},
    ],
)
def test_mlflow_is_not_given_bodies_that_it_would_take_minutes_to_refuse(document: Any) -> None:
    with pytest.raises(RequestError) as told:
        mlflow_exact._document(json.dumps(document).encode(), 2000)
    assert told.value.fault is Fault.MALFORMED


@pytest.mark.parametrize(
    ("text", "most", "is_read"),
    [
        ("a,b\n1,2\n", 2, True),
        ("\n\n  \na,b,c\n", 2, False),
        ("a" + ",a" * 400, 1000, True),
        ("a" + ",a" * 600, 1000, False),
        ("", 1, True),
    ],
)
def test_a_header_of_csv_is_counted_before_it_is_read(text: str, most: int, *, is_read: bool) -> None:
    with contextlib.nullcontext() if is_read else pytest.raises(RequestError, match="the table has"):
        mlflow_exact._check_names(mlflow_exact._header(text), most)


def test_a_parquet_file_that_is_far_larger_than_it_weighs_is_refused() -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"a": pa.nulls(mlflow_exact.MOST_CELLS + 1, pa.int8())}), file)
    assert len(file.getvalue()) < 10**5
    with pytest.raises(RequestError, match="33554433 rows of 1 columns"):
        mlflow_exact._check_cells(file.getvalue())
    mlflow_exact._check_cells(b"PAR1 and nothing more")


def test_a_refusal_quotes_the_beginning_of_a_long_input() -> None:
    assert mlflow_exact._quoted([1, 2]) == "[1, 2]"
    assert mlflow_exact._quoted(list(range(5000))).endswith("999] and 4000 more")
    assert mlflow_exact._quoted({str(n): n for n in range(1001)}).endswith(" and 1 more")


@pytest.mark.parametrize("text", ["0026-01-02T03:04:05", "9999-01-01"])
def test_times_that_64_bits_of_nanoseconds_cannot_hold_are_refused_and_never_wrapped(text: str) -> None:
    when = Column(name="when", type="datetime")
    with pytest.raises(FieldError, match="1678 to 2261"):
        check(when, text)
    with pytest.raises(RequestError, match="1678 to 2261"):
        ArrayReader(Signature(inputs=(when,))).read({"when": np.array([text], dtype=object)})
