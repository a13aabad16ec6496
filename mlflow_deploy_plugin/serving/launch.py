"""The lean launcher: one process, one worker, uvicorn and nothing around it.

``python -m mlflow_deploy_plugin.serving.launch --bento DIR/src --port N`` (or ``--fd N``, ``--uds PATH``). The model is
loaded before the port is opened. SIGTERM drains: no new connections, what is in flight is finished, the log is
flushed, exit 0. A model that does not load is one line on stderr and exit 2; a model that hangs ends the process with
70 (see :mod:`.engine`), even where it holds the interpreter's lock.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.errors import EXIT_DONE, EXIT_PROGRAM, ModelserveError
from mlflow_deploy_plugin.serving import logs
from mlflow_deploy_plugin.serving.slow_heads import SlowHeads
from mlflow_deploy_plugin.spec.settings import ServingSettings
from mlflow_deploy_plugin.spec.sockets import SOCKET, abstract

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow_deploy_plugin.serving.app import Application

KEEP_ALIVE_S: Final = 3660
"""Longer than Envoy keeps an idle connection (1 h), so that never we close one that it is about to use."""
WATCHDOG_S: Final = 30.0
"""Seconds beyond ``timeout_s`` that the event loop may stand still before the process is ended from outside it."""
GC_THRESHOLD: Final = 10_000
"""Objects made before the collector looks at the young ones. A request makes few that outlive it and no cycles; with
the default of 700 the collector would run every dozen requests."""
SWITCH_S: Final = 0.001
"""The interpreter's switch interval: with the default of 5 ms the model's thread waits that long for a busy loop."""

_logger = logging.getLogger("modelserve.launch")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; the exit code."""
    options = _parse(arguments)
    logs.configure()
    try:
        settings = ServingSettings.from_environment(os.environ)
        listeners = [_listen(options), *_beside(os.environ)]
        from mlflow_deploy_plugin.serving.app import create_app  # noqa: PLC0415  after the cheap refusals

        app = create_app(options.bento, settings, worker=_worker_index())
    except ModelserveError as error:
        _logger.error("%s", error)  # noqa: TRY400  one line; the traceback is the cause's
        return error.exit_code
    except OSError as error:
        _logger.error("cannot listen: %s", error)  # noqa: TRY400
        return EXIT_PROGRAM
    gc.collect()
    gc.freeze()  # what is loaded by now lives as long as the process: the collector need not look at it again
    gc.set_threshold(GC_THRESHOLD, 10, 10)
    sys.setswitchinterval(SWITCH_S)
    return EXIT_DONE if _run(app, listeners, settings) else EXIT_PROGRAM


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="modelserve-launch", description="Serve the model of one Bento.")
    parser.add_argument("--bento", type=Path, required=True, help="the Bento's src folder")
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default 127.0.0.1)")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=int, help="port to bind; 0 takes a free one, and the log says which")
    where.add_argument("--fd", type=int, help="an inherited listening socket")
    where.add_argument("--uds", type=Path, help="path of a Unix socket")
    return parser.parse_args(arguments)


def _listen(options: argparse.Namespace) -> socket.socket:
    """Bind early, so that a taken port is known before a model is loaded for nothing; uvicorn listens later."""
    if options.fd is not None:
        return socket.socket(fileno=options.fd)
    if options.uds is not None:
        options.uds.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(options.uds))
        return listener
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((options.host, options.port))
    return listener


def _beside(environment: Mapping[str, str]) -> list[socket.socket]:
    """The socket beside the port, where the agent named one."""
    if not (name := environment.get(SOCKET, "")):
        return []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(abstract(name))
    return [listener]


def _worker_index() -> int:
    text = os.environ.get("MODELSERVE_WORKER_INDEX", "0")
    return int(text) if text.isdigit() else 0


def _run(app: Application, listeners: list[socket.socket], settings: ServingSettings) -> bool:
    """Serve until the end; whether it had begun."""
    import uvicorn  # noqa: PLC0415
    import uvloop  # noqa: PLC0415

    from mlflow_deploy_plugin.serving.http_protocol import protocol  # noqa: PLC0415

    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol(app),
        proxy_headers=False,  # nobody asks who the client is
        interface="asgi3",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.timeout_s) + 1,
        backlog=2048,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # uvicorn raises the signal again at its end; we end with 0
    uvloop.run(_serve(server, app, listeners, settings))
    return bool(server.started)


async def _serve(
    server: Any,  # noqa: ANN401  uvicorn has no types
    app: Application,
    listeners: list[socket.socket],
    settings: ServingSettings,
) -> None:
    loop = asyncio.get_running_loop()

    def leave() -> None:
        app.lifecycle.drain()
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave)
    _watch(loop, settings.timeout_s + WATCHDOG_S)
    SlowHeads(loop, lambda: tuple(server.server_state.connections)).watch()
    _logger.info("listening on %s", " and ".join(map(_address, listeners)))
    await server.serve(sockets=listeners)
    faulthandler.cancel_dump_traceback_later()


def _watch(loop: asyncio.AbstractEventLoop, limit_s: float) -> None:
    """End the process if the loop stands still; set anew while it turns.

    A model in C may hang with the interpreter's lock held, and then no Python runs to notice. faulthandler's timer is a
    thread of C that needs no lock.
    """
    faulthandler.dump_traceback_later(limit_s, exit=True)
    loop.call_later(limit_s / 4, _watch, loop, limit_s)


def _address(listener: socket.socket) -> str:
    name = listener.getsockname()
    if isinstance(name, tuple):
        return f"http://{name[0]}:{name[1]}"
    return f"unix:@{name[1:].decode()}" if isinstance(name, bytes) else f"unix:{name}"


if __name__ == "__main__":
    sys.exit(main())
