"""Answers that come piece by piece: a thread per stream feeds the event loop, as fast as the client reads."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.serving.faults import Fault, RequestError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mlflow_deploy_plugin.serving.codecs.base import StreamingCodec
    from mlflow_deploy_plugin.serving.predictors.base import Predictor
    from mlflow_deploy_plugin.serving.request import Request

MOST_STREAMS: Final = 16
BUFFER: Final = 8  # chunks ahead of the client

_END: Final = object()


@dataclass(frozen=True, slots=True)
class StreamReply:
    """A 200 whose body comes in pieces; the one who sends it must close ``chunks``."""

    content_type: bytes
    chunks: AsyncGenerator[bytes, None]


class Streams:
    """The open streams of one worker."""

    def __init__(self, predictor: Predictor, timeout_s: float) -> None:
        self._predictor = predictor
        self._timeout_s = timeout_s
        self._open = 0
        self._stopping = threading.Event()

    async def open(self, codec: StreamingCodec, request: Request) -> StreamReply:
        """The stream, once its first piece is known, so that a model that refuses is still answered by a status.

        Raises:
            RequestError: OVERLOADED, or what the model said.
        """
        if self._open >= MOST_STREAMS:
            raise RequestError(Fault.OVERLOADED, f"{MOST_STREAMS} streams are open already", retry_after_s=1)
        source = _Source(self._predictor, request, self._stopping, self._timeout_s)
        self._open += 1
        try:
            first = await source.next()
        except RequestError:
            self._open -= 1
            raise
        return StreamReply(codec.stream_type, self._encode(codec, source, first))

    async def _encode(self, codec: StreamingCodec, source: _Source, first: Any) -> AsyncGenerator[bytes, None]:  # noqa: ANN401
        chunk = first
        try:
            while chunk is not _END:
                yield codec.encode_chunk(chunk)
                chunk = await source.next()
            yield codec.encode_end()
        except RequestError as error:
            yield codec.encode_stream_error(error)
        except (TypeError, ValueError) as error:  # a piece that the protocol cannot say
            yield codec.encode_stream_error(RequestError(Fault.MODEL_FAILED, str(error)))
        finally:
            source.abandoned.set()
            self._open -= 1

    def stop(self) -> None:
        """Let every thread end after its current piece."""
        self._stopping.set()


class _Source:
    """The model's generator in a thread of its own."""

    def __init__(self, predictor: Predictor, request: Request, stopping: threading.Event, timeout_s: float) -> None:
        self.abandoned = threading.Event()
        self._predictor = predictor
        self._request = request
        self._stopping = stopping
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[Any] = asyncio.Queue(maxsize=BUFFER)
        threading.Thread(target=self._produce, name="stream", daemon=True).start()

    async def next(self) -> Any:  # noqa: ANN401  a model may yield anything
        """The next piece, or the end.

        Raises:
            RequestError: TIMED_OUT, or what the model said.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                chunk = await self._chunks.get()
        except TimeoutError as error:
            raise RequestError(Fault.TIMED_OUT, f"no piece came within {self._timeout_s:g} s") from error
        if isinstance(chunk, RequestError):
            raise chunk
        return chunk

    def _produce(self) -> None:
        try:
            for chunk in self._predictor.stream(self._request.payload, self._request.params):
                if not self._put(chunk):
                    return
            self._put(_END)
        except Exception as raised:  # noqa: BLE001  whatever the model says goes to its client
            error = RequestError(Fault.MODEL_FAILED, f"the model raised {type(raised).__name__}: {raised}")
            error.__cause__ = raised
            self._put(error)

    def _put(self, chunk: Any) -> bool:  # noqa: ANN401
        """Hand a piece over, waiting for the client to read; False: nobody will."""
        waiting = asyncio.run_coroutine_threadsafe(self._chunks.put(chunk), self._loop)
        while not self.abandoned.is_set() and not self._stopping.is_set():
            try:
                waiting.result(timeout=0.25)
            except TimeoutError:
                continue
            return True
        waiting.cancel()
        return False
