"""Takes requests for explanations on the event loop and has a process of its own answer them, one after the other.

Predictions are not touched: the process is another one, of low priority and without a GPU. At most :data:`WAITING`
requests wait, the next is refused; one whose time is up is answered so, and the process that is at it is ended. It
starts with the first request and ends after :data:`IDLE_S` without one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson

from mlflow_deploy_plugin.attribution.explanation import Explanation
from mlflow_deploy_plugin.serving.faults import Fault, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow_deploy_plugin.attribution.table import Table

MAX_ROWS: Final = 32
"""Rows of one request; each costs hundreds of answers of the model."""
WAITING: Final = 4
"""Requests that wait or are answered."""
IDLE_S: Final = 600.0
LINE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of one answer of the process."""
CHILD: Final = "mlflow_deploy_plugin.serving.explaining.child"
_RETRY_S: Final = 5.0

T = TypeVar("T")


class Desk:
    """The explanations of one worker. Belongs to the event loop's thread."""

    def __init__(self, bento_src: Path, *, timeout_s: float, module: str = CHILD) -> None:
        self._bento_src = bento_src
        self._timeout_s = timeout_s
        self._module = module
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._process: asyncio.subprocess.Process | None = None
        self._is_ready = False
        self._idle: asyncio.TimerHandle | None = None

    async def explain(self, table: Table) -> Explanation:
        """Explain each row.

        Raises:
            RequestError: INVALID, OVERLOADED, TIMED_OUT, NOT_OFFERED where SHAP is missing, or the model's own failure.
        """
        if not 1 <= len(table.rows) <= MAX_ROWS:
            raise RequestError(
                Fault.INVALID, f"{len(table.rows)} rows cannot be explained at once; send 1 to {MAX_ROWS}"
            )
        if self._waiting >= WAITING:
            words = f"{self._waiting} explanations wait already; try again later"
            raise RequestError(Fault.OVERLOADED, words, retry_after_s=_RETRY_S)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._timeout_s), self._turn:
                return await self._ask(table)
        except TimeoutError:
            words = f"no explanation within {self._timeout_s:g} s (timeout_s); send fewer rows, or the first one again"
            raise RequestError(Fault.TIMED_OUT, words, retry_after_s=_RETRY_S) from None  # no failure of the model's
        finally:
            self._waiting -= 1
            self._rest()  # also where its time was up before the process was ready, which nobody may ask for again

    async def stop(self) -> None:
        """End the process."""
        if self._idle is not None:
            self._idle.cancel()
        process, self._process, self._is_ready = self._process, None, False
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _ask(self, table: Table) -> Explanation:
        process = await self._ready()
        try:
            _pipe(process.stdin).write(asking(table))
            answer = await self._line(process)
        except BaseException:  # also when its time is up or the client has gone: it is at work for nobody
            await self.stop()
            raise
        return Explanation.from_document(_checked(answer))

    async def _ready(self) -> asyncio.subprocess.Process:
        """The process, once it has loaded the model; a start that takes longer than a request goes on for the next."""
        if self._process is None or self._process.returncode is not None:
            self._is_ready = False
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self._module, "--bento", str(self._bento_src)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LINE_LIMIT,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": _path()},
            )
        if not self._is_ready:
            told = await self._line(self._process)
            if "fault" in told:
                await self.stop()
            _checked(told)
            self._is_ready = True
        return self._process

    async def _line(self, process: asyncio.subprocess.Process) -> Mapping[str, Any]:
        line = await _pipe(process.stdout).readline()
        if not line:
            await self.stop()
            raise RequestError(Fault.MODEL_FAILED, "the process that explains has ended; the server's log says why")
        document: Mapping[str, Any] = orjson.loads(line)
        return document

    def _rest(self) -> None:
        """Count the time without a request anew."""
        if self._process is None:
            return
        loop = asyncio.get_running_loop()
        if self._idle is not None:
            self._idle.cancel()
        self._idle = loop.call_later(IDLE_S, lambda: loop.create_task(self._end_idle()))

    async def _end_idle(self) -> None:
        if not self._waiting:
            await self.stop()


def asking(table: Table) -> bytes:
    r"""One line that asks for ``table``. Numbers without end stay themselves: as null they would be missing ones.

    >>> from mlflow_deploy_plugin.attribution.table import table_of_values
    >>> asking(table_of_values(["a"], [[float("inf")], [None]]))
    b'{"columns": ["a"], "values": [[Infinity], [NaN]]}\n'
    """
    document = {"columns": table.columns, "values": table.rows.tolist()}
    return json.dumps(document, default=lambda number: number.item()).encode() + b"\n"  # NumPy's, in a table of text


def _pipe(stream: T | None) -> T:
    """A stream of a process that was started with pipes."""
    if stream is None:
        raise RuntimeError("the process that explains has no pipes")
    return stream


def _path() -> str:
    """The copy of this code that the worker runs, before whatever else is on the path."""
    own = str(Path(__file__).resolve().parents[3])
    return os.pathsep.join(filter(None, (own, os.environ.get("PYTHONPATH", ""))))


def _checked(document: Mapping[str, Any]) -> Mapping[str, Any]:
    if "fault" in document:
        raise RequestError(Fault[document["fault"]], document["message"])
    return document
