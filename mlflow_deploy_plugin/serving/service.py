"""The BentoML service: ``bentoml serve``, ``containerize`` and BentoCloud run the same application as the launcher.

Requests do not pass BentoML's middlewares: its TimeoutMiddleware leaves a timer of every request behind for
``traffic.timeout`` seconds, and its metrics, access log and tracing cost more than a small model. The application
stands in front of them (:class:`Front`) and leaves to BentoML what it does not serve itself. Importing this module
loads no model, since ``bentoml build`` and the arbiter import it too.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.serving import logs
from mlflow_deploy_plugin.serving.exposition import Shared
from mlflow_deploy_plugin.spec.bento import SPEC_FILE, BentoSpec
from mlflow_deploy_plugin.spec.names import slug
from mlflow_deploy_plugin.spec.settings import GPUS, ServingSettings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # BentoML's own, of how it uses pathspec
    from bentoml import on_shutdown, on_startup, server_context, service

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from mlflow_deploy_plugin.serving.app import Application

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]
    AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

WORKERS: Final = "MODELSERVE_WORKERS"


def _bento_src() -> Path:
    """The folder that this copy of the code lies in; outside a Bento, where it was started."""
    folder = Path(__file__).resolve().parents[2]
    return folder if (folder / SPEC_FILE).is_file() else Path.cwd()


def _service_name() -> str:
    path = _bento_src() / SPEC_FILE
    return slug(BentoSpec.from_json(path.read_text(encoding="utf-8")).model_name) if path.is_file() else "modelserve"


def _workers() -> int:
    text = os.environ.get(WORKERS, "1")
    return int(text) if text.isdigit() and int(text) else 1


def _resources() -> dict[str, Any]:
    """What BentoML's allocator is asked for; each worker then takes a device of its own from what it is shown."""
    text = os.environ.get(GPUS, "0")
    return {"gpu": int(text)} if text.isdigit() and int(text) else {}


class Front:
    """Answers what the application serves, before BentoML's middlewares; hands them the rest."""

    def __init__(self, application: Application, behind: AsgiApp) -> None:
        self._application = application
        self._behind = behind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI."""
        if scope["type"] == "http" and self._application.serves(scope["path"]):
            await self._application(scope, receive, send)
        else:
            await self._behind(scope, receive, send)


class Installer:
    """A middleware of BentoML that puts :class:`Front` outside all middlewares once the service instance lives.

    Starlette names itself in the scope of the lifespan, and that is the only place where BentoML lets us see it.
    """

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Watch the lifespan go by."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        starlette = scope["app"]

        async def watch(message: dict[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete" and (instance := Model.current) is not None:
                starlette.middleware_stack = Front(instance.application, starlette.middleware_stack)
            await send(message)

        await self._app(scope, receive, watch)


class Model:
    """The model of this Bento, behind every protocol that it speaks."""

    current: Model | None = None
    """The instance of this process."""

    def __init__(self) -> None:
        from mlflow_deploy_plugin.serving.app import create_app  # noqa: PLC0415  loads the model; never at build time

        logs.configure()
        settings = ServingSettings.from_environment(os.environ)
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        shared = Shared(Path(folder)) if folder and _workers() > 1 else None
        self.application = create_app(_bento_src(), settings, worker=_worker_index(), shared=shared)
        Model.current = self

    @on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        """Start the engine and its warm-up on the server's loop."""
        self.application.start()

    @on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        """Finish what is in flight and flush the log."""
        await self.application.stop()


def _worker_index() -> int:
    """BentoML counts workers from 1."""
    return (server_context.worker_index or 1) - 1


ModelService: Any = service(
    name=_service_name(),
    workers=_workers(),
    resources=_resources(),
    metrics={"enabled": False},  # ours are richer, and counted without a middleware
    tracing={"sample_rate": 0.0},
)(Model)
ModelService.add_asgi_middleware(Installer)
