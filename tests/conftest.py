"""What every test stands on: no telemetry, no colours, nobody's home but the test's own."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import settings

QUIET = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "NO_COLOR": "1",
}
OURS = ("MODELSERVE_", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_DEPLOYMENTS_TARGET")

os.environ.update(QUIET)  # before the first import of mlflow or bentoml, which read them once


settings.register_profile("same", derandomize=True)
settings.register_profile("new", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
"""Every run of a commit says the same; ``HYPOTHESIS_PROFILE=new make unit`` looks for examples that nobody has seen."""


def pytest_configure() -> None:
    """Hear Ctrl-C: a shell that starts tests in the background has them ignore it, and their children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-bodies", type=int, default=1600, help="spoiled bodies to send, over all models")


@pytest.fixture(scope="session")
def fuzz_bodies(pytestconfig: pytest.Config) -> int:
    return int(pytestconfig.getoption("--fuzz-bodies"))


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty MODELSERVE_HOME, and none of the caller's settings."""
    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("MODELSERVE_HOME", str(home))
    return home


@dataclass
class People:
    """Slack and GitHub, on one port of this machine; they know the token ``secret``."""

    url: str = ""
    heard: list[Any] = field(default_factory=list)
    issues: list[dict[str, Any]] = field(default_factory=list)
    status: int = 0
    """Of every answer; 0: as it should be."""

    def answer(self, method: str, path: str, body: Any, headers: Any) -> tuple[int, Any]:
        if self.status:
            return self.status, {"message": "no"}
        if path.startswith("/hook"):
            self.heard.append(body)
            return 200, "ok"
        split = urlsplit(path)
        if headers.get("Authorization") != "Bearer secret":
            return 401, {"message": "Bad credentials"}
        if split.path != "/repos/team/models/issues":
            return 404, {"message": "Not Found"}
        if method == "POST":
            number = len(self.issues) + 1
            issue = {**body, "number": number, "state": "open", "html_url": f"https://github.test/{number}"}
            self.issues.insert(0, issue)
            return 201, issue
        asked = parse_qs(split.query)
        page, size = int(asked["page"][0]), int(asked["per_page"][0])
        found = [
            one for one in self.issues if one["state"] == asked["state"][0] and asked["labels"][0] in one["labels"]
        ]
        return 200, found[(page - 1) * size : page * size]


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> Iterator[People]:
    there = People()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._do("POST")

        def do_GET(self) -> None:
            self._do("GET")

        def _do(self, method: str) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, answer = there.answer(method, self.path, body, self.headers)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    there.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield there
    server.shutdown()
    server.server_close()
    thread.join()
