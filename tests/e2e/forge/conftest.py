"""A forge in one process: `git http-backend` behind Basic auth, with hooks, protected branches and lost answers."""

import base64
import importlib.util
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest

from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.repository import Repository

USER, PASSWORD = "robot", "s3cret-token"
OURS = "team/models.git"
Fault = Literal["lost answer", "cut answer", "never arrives"]
"""One that HTTP may repeat by itself; one that it may not, since some of the answer came; one that is not read."""


@dataclass
class Forge:
    """Repositories below ``root``, served at ``http://127.0.0.1:PORT/NAME``."""

    root: Path
    port: int
    faults: list[Fault] = field(default_factory=list)
    """What befalls the next pushes, one each."""
    rejections: list[str] = field(default_factory=list)
    """The words in which the next pushes are rejected, one each, as another writer wins in that moment."""
    pushes: int = 0

    def url(self, name: str = OURS, *, password: str = PASSWORD) -> str:
        return f"http://{USER}:{password}@127.0.0.1:{self.port}/{name}"

    def create(self, files: Mapping[str, str]) -> str:
        message = Message(subject="Begin", trailers=Trailers(operation="begin"))
        Repository.create_bare(self.root / OURS, dict(files), message)
        self.git("config", "http.receivepack", "true")
        self.git("config", "receive.autogc", "false")
        return self.url()

    def git(self, *arguments: str) -> str:
        command = ["git", f"--git-dir={self.root / OURS}", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def hook(self, kind: str, script: str) -> None:
        path = self.root / OURS / "hooks" / kind
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def protect(self, branch: str = "main") -> None:
        """Take no push to ``branch``, in GitHub's words."""
        self.hook(
            "update",
            f'if [ "$1" = refs/heads/{branch} ]; then\n'
            f'  echo "error: GH006: Protected branch update failed for refs/heads/{branch}." >&2\n'
            '  echo "error: Changes must be made through a pull request." >&2\n'
            "  exit 1\nfi",
        )

    def operations(self, branch: str = "main") -> list[str]:
        """The operations in the branch's history, newest first."""
        text = self.git("log", "--format=%(trailers:key=Modelserve-Operation,valueonly,separator=%x2C)", branch)
        return [line for line in text.splitlines() if line]

    def branches(self) -> list[str]:
        return self.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split()

    def text(self, path: str, branch: str = "main") -> str:
        return self.git("show", f"{branch}:{path}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    forge: Forge

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        body = self._body()
        path, _, query = self.path.partition("?")
        if not self._is_known():
            self._answer(401, [("WWW-Authenticate", 'Basic realm="forge"')], b"")
            return
        is_push = self.command == "POST" and path.endswith("/git-receive-pack")
        self.forge.pushes += is_push
        if is_push and self.forge.rejections:
            self._reject(self.forge.rejections.pop(0))
            return
        fault = self.forge.faults.pop(0) if is_push and self.forge.faults else None
        answer = b"" if fault == "never arrives" else self._backend(path, query, body)
        if fault == "cut answer":
            self.send_response(200)
            self.send_header("Content-Length", "4096")
            self.end_headers()
        if fault:
            self._hang_up()
            return
        head, _, content = answer.partition(b"\r\n\r\n")
        headers = [tuple(line.split(": ", 1)) for line in head.decode().split("\r\n")]
        status = next((int(value.split()[0]) for key, value in headers if key == "Status"), 200)
        self._answer(status, [(key, value) for key, value in headers if key != "Status"], content)

    def _reject(self, words: str) -> None:
        report = _packet(b"unpack ok\n") + _packet(f"ng refs/heads/main {words}\n".encode()) + b"0000"
        content = _packet(b"\x01" + report) + b"0000"
        self._answer(200, [("Content-Type", "application/x-git-receive-pack-result")], content)

    def _backend(self, path: str, query: str, body: bytes) -> bytes:
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.forge.root),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_PROJECT_ROOT": str(self.forge.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": USER,
            "REMOTE_ADDR": "127.0.0.1",
        }
        return subprocess.run(
            ["git", "http-backend"], input=body, env=variables, capture_output=True, check=True
        ).stdout

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _is_known(self) -> bool:
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return self.headers.get("Authorization") == f"Basic {expected}"

    def _answer(self, status: int, headers: list[tuple[str, ...]], content: bytes) -> None:
        self.send_response(status)
        for key, value in headers:
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()


def _packet(content: bytes) -> bytes:
    """A line of git's protocol: its length, then its content."""
    return f"{len(content) + 4:04x}".encode() + content


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: clients that are killed are what these tests are about."""


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    root = tmp_path / "forge"
    root.mkdir()
    server = _Server(("127.0.0.1", 0), _Handler)
    served = Forge(root=root, port=server.server_address[1])
    server.RequestHandlerClass = type("Handler", (_Handler,), {"forge": served})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def nobodys_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without the machine's git configuration."""
    home = tmp_path / "somebody"
    home.mkdir()
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return home


@pytest.fixture
def promote() -> Callable[..., Any]:
    """What a promoter in a process of its own does, here."""
    spec = importlib.util.spec_from_file_location("writer", Path(__file__).with_name("writer.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.promote  # type: ignore[no-any-return]
