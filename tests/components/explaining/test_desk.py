"""Who waits for an explanation, who is refused, and what becomes of a process that hangs or dies."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlflow_deploy_plugin.attribution.explanation import Explanation
from mlflow_deploy_plugin.attribution.table import Table, table_of_values
from mlflow_deploy_plugin.serving.explaining import desk
from mlflow_deploy_plugin.serving.explaining.desk import MAX_ROWS, WAITING, Desk, asking
from mlflow_deploy_plugin.serving.explaining.tables import table_of
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.request import Matrix, Raw, Tensor, Tensors


def rows(first: float, count: int = 1) -> Table:
    return Table(("a", "b"), np.array([[first, 0.0]] * count))


def run(module: str, work: Callable[[Desk], Awaitable[Any]], timeout_s: float = 30.0) -> Any:
    async def whole() -> Any:
        desk = Desk(Path(), timeout_s=timeout_s, module=module)
        try:
            return await work(desk)
        finally:
            await desk.stop()

    return asyncio.run(whole())


async def fault(desk: Desk, first: float, count: int = 1) -> Fault:
    with pytest.raises(RequestError) as told:
        await desk.explain(rows(first, count))
    return told.value.fault


def test_one_process_answers_one_after_the_other(module: str) -> None:
    async def work(desk: Desk) -> list[Explanation]:
        return list(await asyncio.gather(*(desk.explain(rows(first)) for first in (3, 1, 2))))

    told = run(module, work)
    assert [one.predictions for one in told] == [[3.0], [1.0], [2.0]]
    assert len({one.method for one in told}) == 1


def test_more_than_may_wait_are_refused(module: str) -> None:
    async def work(desk: Desk) -> list[Any]:
        asked = (desk.explain(rows(200)) for _ in range(WAITING + 2))
        return await asyncio.gather(*asked, return_exceptions=True)

    refused = [one for one in run(module, work) if isinstance(one, RequestError)]
    assert [one.fault for one in refused] == [Fault.OVERLOADED] * 2
    assert refused[0].retry_after_s


def test_one_that_hangs_is_given_up_and_the_next_is_answered_by_another_process(module: str) -> None:
    async def work(desk: Desk) -> tuple[str, Fault, str]:
        before = (await desk.explain(rows(1))).method
        return before, await fault(desk, -2), (await desk.explain(rows(1))).method

    before, told, after = run(module, work, timeout_s=5.0)
    assert told is Fault.TIMED_OUT
    assert before != after


def test_a_process_that_dies_fails_its_request_and_no_other(module: str) -> None:
    async def work(desk: Desk) -> tuple[Fault, list[float]]:
        return await fault(desk, -1), list((await desk.explain(rows(1))).predictions)

    assert run(module, work) == (Fault.MODEL_FAILED, [1.0])


def test_a_refusal_is_passed_on_and_costs_no_process(module: str) -> None:
    async def work(desk: Desk) -> tuple[str, Fault, str]:
        before = (await desk.explain(rows(1))).method
        return before, await fault(desk, -3), (await desk.explain(rows(1))).method

    before, told, after = run(module, work)
    assert (told, before) == (Fault.INVALID, after)


def test_a_number_without_end_is_asked_for_as_itself_and_not_as_a_missing_one() -> None:
    table = Table(("a", "b", "c"), np.array([[math.inf, -math.inf, math.nan]]))
    asked = json.loads(asking(table))
    np.testing.assert_array_equal(table_of_values(asked["columns"], asked["values"]).rows, table.rows)


def test_numbers_of_numpy_and_odd_text_reach_the_process() -> None:
    rows = np.array([["\ud800", np.int64(1), np.bool_(True), None]], dtype=object)  # noqa: FBT003  a value of a cell
    asked = json.loads(asking(Table(("a", "b", "c", "d"), rows)))
    assert asked["values"] == [["\ud800", 1, True, None]]


def test_a_process_that_nobody_waited_for_until_it_was_ready_ends_too(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "IDLE_S", 0.2)
    slow = Path("slow")
    slow.touch()

    def lives() -> bool:
        return (Path("/proc") / slow.read_text()).is_dir()

    async def work(idle: Desk) -> tuple[Fault, bool, bool]:
        told, before = await fault(idle, 1), lives()
        await asyncio.sleep(1.0)
        return told, before, lives()

    assert run(module, work, timeout_s=1.5) == (Fault.TIMED_OUT, True, False)


def test_without_shap_every_request_is_told_so(module: str) -> None:
    Path("broken").touch()

    async def work(desk: Desk) -> list[Fault]:
        return [await fault(desk, 1), await fault(desk, 1)]

    assert run(module, work) == [Fault.NOT_OFFERED] * 2


def test_rows_are_counted_before_anything_is_started() -> None:
    async def work(desk: Desk) -> list[Fault]:
        return [await fault(desk, 1, count) for count in (0, MAX_ROWS + 1)]

    assert run("no_such_module", work) == [Fault.INVALID] * 2


def test_tables_are_read_from_every_payload_that_is_one() -> None:
    values = np.array([[1, 2]])
    assert table_of(Matrix(values=values, columns=("a", "b"))).columns == ("a", "b")
    assert table_of(Tensor(array=values)).columns == ("0", "1")
    assert table_of(Tensors(arrays={"x": values})).rows.tolist() == [[1.0, 2.0]]
    assert table_of(Tensors(arrays={"a": values[0], "b": values[0]})).columns == ("a", "b")
    others = Tensors(arrays={"a": values, "b": values[0]})
    for odd in (Raw(value="text"), Tensor(array=np.zeros((1, 2, 2))), others, Tensor(array=np.array([["x"]]))):
        with pytest.raises(RequestError, match="tables of numbers and text"):
            table_of(odd)
