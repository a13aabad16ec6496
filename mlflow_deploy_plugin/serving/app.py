"""The ASGI application of one worker: routes, bodies, headers and the life of the engine. No framework in between.

Every answer carries ``x-model-version`` (who answered) and ``x-request-id`` (echoed, or made), and echoes
``x-model-assigned``. Unknown paths are 404 and wrong methods 405, as FastAPI words them, since MLflow's server is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING, Any, Final, assert_never

import orjson

from mlflow_deploy_plugin.errors import ModelserveError
from mlflow_deploy_plugin.serving import exposition, loading
from mlflow_deploy_plugin.serving.batching import Batcher
from mlflow_deploy_plugin.serving.body import BodyLimits
from mlflow_deploy_plugin.serving.books import Books
from mlflow_deploy_plugin.serving.caller import read_caller
from mlflow_deploy_plugin.serving.codecs import make_codecs, make_grpc_codecs
from mlflow_deploy_plugin.serving.codecs.base import Call, Host, Reply
from mlflow_deploy_plugin.serving.engine import Engine
from mlflow_deploy_plugin.serving.events import open_labels, open_recorder
from mlflow_deploy_plugin.serving.explaining.desk import Desk
from mlflow_deploy_plugin.serving.explaining.tables import table_of
from mlflow_deploy_plugin.serving.faults import AsleepError, RequestError
from mlflow_deploy_plugin.serving.gpus import open_reader
from mlflow_deploy_plugin.serving.lifecycle import Lifecycle
from mlflow_deploy_plugin.serving.metrics import Metrics, RouteKey
from mlflow_deploy_plugin.serving.own_routes import OwnRoutes
from mlflow_deploy_plugin.serving.predictors import samples
from mlflow_deploy_plugin.serving.replies import no_route, send_stream, send_whole
from mlflow_deploy_plugin.serving.request import Caller
from mlflow_deploy_plugin.serving.router import AnswerMatch, ExplainMatch, InferMatch, NoRoute, Router
from mlflow_deploy_plugin.serving.scheduler import Job, Scheduler
from mlflow_deploy_plugin.serving.streams import StreamReply, Streams
from mlflow_deploy_plugin.serving.thread import ModelThread
from mlflow_deploy_plugin.serving.transport import Connection
from mlflow_deploy_plugin.serving.worker_series import WorkerSeries

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping
    from pathlib import Path

    from mlflow_deploy_plugin.serving.codecs.base import Codec
    from mlflow_deploy_plugin.serving.gpus import GpuReader
    from mlflow_deploy_plugin.serving.grpc_server import GrpcServer
    from mlflow_deploy_plugin.serving.record import LabelSink, Recorder
    from mlflow_deploy_plugin.serving.request import Request
    from mlflow_deploy_plugin.spec.settings import ServingSettings

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

_logger = logging.getLogger("modelserve.app")

BODY_TIMEOUT_S: Final = 30.0
CLOSING: Final = frozenset({408, 413})
"""Statuses after which the rest of the body is not worth reading."""


def create_app(
    bento_src: Path, settings: ServingSettings, *, worker: int = 0, shared: exposition.Shared | None = None
) -> Application:
    """The application that serves the model of a Bento; ``shared`` where several workers have one address.

    Raises:
        ModelError: the model cannot be loaded.
        ConfigError: a setting cannot be met.
    """
    model = loading.load(bento_src, settings, worker=worker)
    metrics = Metrics(model.loaded.classes)
    recorder = open_recorder(
        settings,
        signature=model.description.signature,
        model_digest=model.spec.model_digest,
        on_drop=metrics.dropped,
    )
    labels = open_labels(settings, on_drop=metrics.dropped)
    return Application(model, settings, metrics=metrics, recorder=recorder, labels=labels, shared=shared)


class Application:
    """One model behind all protocols."""

    def __init__(  # noqa: PLR0913  its parts, each by name
        self,
        model: loading.ServedModel,
        settings: ServingSettings,
        *,
        metrics: Metrics,
        recorder: Recorder,
        labels: LabelSink,
        shared: exposition.Shared | None = None,
        gpus: GpuReader | None = None,
        end_process: Callable[[int], None] = os._exit,
    ) -> None:
        self.lifecycle = Lifecycle()
        self._model = model
        self._settings = settings
        self._metrics = metrics
        self._recorder = recorder
        self._labels = labels
        self._shared = shared
        self._gpus = gpus or open_reader(os.environ)
        self._end_process = end_process
        description = model.description
        self._limits = BodyLimits(max_bytes=settings.max_body_bytes, timeout_s=min(settings.timeout_s, BODY_TIMEOUT_S))
        labels_of_all = exposition.Labels(model_version=description.deployment, endpoint=description.endpoint)
        self._series = WorkerSeries(metrics, labels_of_all, gauges=self._gauges, shared=shared)
        self._host = Host(
            model=description,
            is_ready=lambda: self.lifecycle.is_ready,
            totals=self._series.totals,
            max_values=self._limits.max_values,
        )
        self._codecs = make_codecs(self._host)
        own = OwnRoutes(description, self.lifecycle, labels, self.scrape)
        self._router = Router(self._codecs, [(own, route) for route in own.routes(self._codecs)])
        self._version_header = (b"x-model-version", description.deployment.encode("latin-1", "replace"))
        self._engine: Engine | None = None
        self._warm_up: asyncio.Task[None] | None = None
        self._thread: ModelThread | None = None
        self._desk = Desk(model.source, timeout_s=settings.timeout_s)
        self._grpc: GrpcServer | None = None
        self.grpc_port: int | None = None
        """Where gRPC is served; known once the worker is ready."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Speak ASGI. No coroutine itself: one more around every request would cost a microsecond."""
        if scope["type"] == "http":
            return self._http(scope, receive, send)
        if scope["type"] == "lifespan":
            return self._lifespan(receive, send)
        return send({"type": "websocket.close", "code": 1000})  # nothing here speaks it

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    def start(self) -> Engine:
        """Start the engine on the running loop, and the warm-up beside it; again, it changes nothing."""
        if self._engine is not None:
            return self._engine
        settings, loaded = self._settings, self._model.loaded
        self._thread = ModelThread(asyncio.get_running_loop())
        batcher: Batcher[Job] = Batcher(
            max_rows=settings.max_batch_size,
            max_waiting=settings.max_queue,
            latency_s=settings.max_latency_ms / 1000,
            is_joining=settings.batching == "on" and loaded.can_batch,
        )
        books = Books(self._metrics, self._recorder)
        self._engine = Engine(
            scheduler=Scheduler(loaded.predictor, batcher, self._thread, books, may_run_inline=loaded.may_run_inline),
            streams=Streams(loaded.predictor, settings.timeout_s),
            books=books,
            lifecycle=self.lifecycle,
            timeout_s=settings.timeout_s,
            end_process=self._end_process,
        )
        self._warm_up = asyncio.get_running_loop().create_task(self._warm(self._engine))
        self._series.start()
        return self._engine

    async def _warm(self, engine: Engine) -> None:
        """Answer one request before the first client's: lazy imports and caches are paid for here."""
        description = self._model.description
        examples = [description.example, samples.warm_up(description.signature)]
        match = self._router.match("POST", "/invocations")
        error: RequestError | None = AsleepError(lambda: None)  # what is asleep needs no warm-up: take the next
        for example in examples:
            if example is not None and isinstance(match, InferMatch) and isinstance(error, AsleepError):
                call = Call("POST", match.route, {}, {}, b"", orjson.dumps(example), Caller(request_id="warm-up"))
                error = await engine.warm_up(match.codec, call, may_wake=not self._model.loaded.is_lean)
        if isinstance(error, AsleepError):
            _logger.info("no warm-up: the model has neither an input example nor a signature that makes one")
        elif error is not None:
            _logger.warning("the warm-up request was answered with an error: %s", error.message)
        await self._open_grpc(engine)
        self.lifecycle.warmed_up()
        _logger.info("ready")

    async def _open_grpc(self, engine: Engine) -> None:
        """Serve gRPC, where an address is set; a worker that cannot have its address ends, to be started anew."""
        address = self._settings.grpc_address
        if not address:
            return
        try:
            from mlflow_deploy_plugin.serving.grpc_server import GrpcServer  # noqa: PLC0415  time and memory of its own

            codecs = make_grpc_codecs(self._host)
        except ImportError as error:
            _logger.warning("gRPC is not served: %s; install grpcio and protobuf beside the model", error)
            return
        deployment = self._model.description.deployment
        self._grpc = GrpcServer(codecs, engine=engine, metrics=self._metrics, deployment=deployment)
        limit = self._settings.max_body_bytes
        try:
            self.grpc_port = await self._grpc.start(address, max_body_bytes=limit, is_shared=self._shared is not None)
        except ModelserveError as error:
            _logger.critical("%s", error)
            self._end_process(error.exit_code)

    async def stop(self) -> None:
        """Finish what is in flight, then flush the log."""
        self.lifecycle.drain()
        await self._desk.stop()
        if self._grpc is not None:
            await self._grpc.stop(self._settings.timeout_s)
        if self._engine is not None:
            await self._engine.drain()
            self._engine.stop()
        if self._warm_up is not None:
            self._warm_up.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._warm_up
        if self._thread is not None:
            self._thread.stop()
        self._series.stop()
        await asyncio.to_thread(self._recorder.close)
        await asyncio.to_thread(self._labels.close)

    def serves(self, path: str) -> bool:
        """Whether a path is ours, by any method."""
        match = self._router.match("POST", path)
        return not isinstance(match, NoRoute) or bool(match.allowed)

    def scrape(self) -> bytes:
        """Prometheus' text, for all workers of this address."""
        return self._series.text()

    def _gauges(self) -> exposition.Gauges:
        engine = self._engine
        return exposition.Gauges(
            in_flight=0 if engine is None else engine.in_flight,
            waiting_rows=0 if engine is None else engine.waiting_rows,
            is_ready=self.lifecycle.is_ready,
            gpus=self._gpus.read(),
        )

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        match = self._router.match(scope["method"], scope["path"])
        headers: dict[bytes, bytes] = dict(scope["headers"])
        caller = read_caller(headers)
        reply: Reply | StreamReply
        if isinstance(match, InferMatch):
            reply = await self._infer(match, scope, headers, caller, receive)
        elif isinstance(match, AnswerMatch):
            reply = await self._answer(match, scope, headers, caller, receive)
        elif isinstance(match, ExplainMatch):
            reply = await self._explain(match, scope, headers, caller, receive)
        elif isinstance(match, NoRoute):
            reply = no_route(match, scope["method"], scope["path"], headers, caller)
        else:
            assert_never(match)
        extra = self._headers(caller, reply)
        if isinstance(reply, Reply):
            await send_whole(reply, extra, send)
        else:
            await send_stream(reply, extra, send)

    def _headers(self, caller: Caller, reply: Reply | StreamReply) -> list[tuple[bytes, bytes]]:
        """What every answer carries."""
        extra = [self._version_header, (b"x-request-id", caller.request_id.encode("latin-1"))]
        if caller.assigned:
            extra.append((b"x-model-assigned", caller.assigned.encode("latin-1")))
        if caller.trace is not None:
            extra.extend((name.encode(), value.encode("latin-1")) for name, value in caller.trace.headers())
        if self.lifecycle.is_leaving or (isinstance(reply, Reply) and reply.status in CLOSING):
            extra.append((b"connection", b"close"))
        return extra

    async def _infer(
        self, match: InferMatch, scope: Scope, headers: dict[bytes, bytes], caller: Caller, receive: Receive
    ) -> Reply | StreamReply:
        connection = Connection(receive)
        call = Call(scope["method"], match.route, match.captures, headers, scope["query_string"], b"", caller)
        try:
            body = await self._body(receive, headers, connection, has_tail=match.route.has_tail)
        except RequestError as error:
            return self._refuse(match, call, error)
        engine = self._engine or self.start()
        return await engine.answer(match.codec, call._replace(body=body), connection.is_gone)

    def infers(self, path: str) -> InferMatch | None:
        """The route of a POST to ``path``, where it runs the model."""
        match = self._router.match("POST", path)
        return match if isinstance(match, InferMatch) else None

    def begin(
        self,
        match: InferMatch,
        headers: Mapping[bytes, bytes],
        body: bytes,
        is_gone: Callable[[], bool],
        say: Callable[[Reply | StreamReply, list[tuple[bytes, bytes]]], None],
    ) -> None:
        """Answer a POST that has arrived whole, by one call of ``say`` with the headers of every answer.

        The short way of :mod:`.http_protocol`; what :meth:`__call__` does for it, without a task.
        """
        caller = read_caller(headers)
        call = Call("POST", match.route, match.captures, headers, b"", body, caller)
        try:
            plain = self._limits.plain(body, headers, has_tail=match.route.has_tail)
        except RequestError as error:
            reply = self._refuse(match, call._replace(body=b""), error)
            say(reply, self._headers(caller, reply))
            return
        engine = self._engine or self.start()
        engine.begin(
            match.codec,
            call if plain is body else call._replace(body=plain),
            is_gone,
            lambda reply: say(reply, self._headers(caller, reply)),
        )

    async def _answer(
        self, match: AnswerMatch, scope: Scope, headers: dict[bytes, bytes], caller: Caller, receive: Receive
    ) -> Reply:
        call = Call(scope["method"], match.route, match.captures, headers, scope["query_string"], b"", caller)
        try:
            is_bare = scope["method"] in {"GET", "HEAD"}
            body = b"" if is_bare else await self._body(receive, headers, Connection(receive))
            reply = match.route.answer(call._replace(body=body))
        except RequestError as error:
            return self._refuse(match, call, error)
        self._metrics.requests[RouteKey(match.speaker.name, match.route.path, reply.status)] += 1
        return reply

    async def _body(
        self, receive: Receive, headers: dict[bytes, bytes], connection: Connection, *, has_tail: bool = False
    ) -> bytes:
        body = connection.whole_body()
        if body is None:
            return await self._limits.read(receive, headers, has_tail=has_tail)
        return self._limits.plain(body, headers, has_tail=has_tail)

    async def _explain(
        self, match: ExplainMatch, scope: Scope, headers: dict[bytes, bytes], caller: Caller, receive: Receive
    ) -> Reply:
        """Outside the predict path, and outside its error rate."""
        codec, call = match.codec, Call(scope["method"], match.route, match.captures, headers, b"", b"", caller)
        request: Request | None = None
        try:
            body = await self._body(receive, headers, Connection(receive))
            call = call._replace(body=body, query=scope["query_string"])
            request = await self._decode(codec, call)
            explanation = await self._desk.explain(table_of(request.payload))
            reply = codec.encode_explanation(explanation, request, call)
        except RequestError as error:
            reply = codec.encode_error(error, call, request)
            self._metrics.rejected[error.fault.name.lower()] += 1
        self._metrics.requests[RouteKey(codec.name, match.route.path, reply.status)] += 1
        return reply

    async def _decode(self, codec: Codec, call: Call) -> Request:
        """What the call asks, once what reading it needs is there."""
        try:
            return await asyncio.to_thread(codec.decode, call)
        except AsleepError as asleep:
            if (failure := await self.start().wake(asleep)) is not None:
                raise failure from asleep
            return await asyncio.to_thread(codec.decode, call)

    def _refuse(self, match: InferMatch | AnswerMatch, call: Call, error: RequestError) -> Reply:
        """A call that did not even arrive whole."""
        speaker = match.codec if isinstance(match, InferMatch) else match.speaker
        reply = speaker.encode_error(error, call)
        key = RouteKey(speaker.name, match.route.path, reply.status)
        self._metrics.failed(key, error.fault, latency_s=0.0)
        return reply
