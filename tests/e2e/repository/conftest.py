"""Real git in a temporary folder: a bare repository, people with clones, and no configuration of anybody."""

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlflow_deploy_plugin.manifests.model import Files
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.repository import Intent, Repository
from mlflow_deploy_plugin.repository.git import LOCAL_TIMEOUT_S, Completed, Git

BEGIN = Message(subject="Begin", trailers=Trailers(operation="begin"))
FIRST = {"README.md": "hello\n", "stages/production/a/route.yaml": "weight: 1\n"}


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No identity, no configuration, no surrounding repository."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository and a clone of it, to be copied: git is slow to begin with."""
    folder = tmp_path_factory.mktemp("template")
    Repository.create_bare(folder / "remote.git", FIRST, BEGIN)
    git(folder, "clone", "--quiet", str(folder / "remote.git"), "person")
    return folder


@pytest.fixture
def bare(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template / "remote.git", tmp_path / "remote.git"))


@pytest.fixture
def repository(bare: Path, tmp_path: Path) -> Repository:
    return Repository.open(bare, clones=tmp_path / "clones")


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@dataclass(frozen=True)
class Person:
    """Somebody with a clone, who commits by hand."""

    folder: Path

    def push(self, path: str, text: str, message: str = "By hand") -> str:
        git(self.folder, "pull", "--quiet", "--rebase")
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        git(self.folder, "add", "--", path)
        git(self.folder, "commit", "--quiet", "-m", message)
        git(self.folder, "push", "--quiet")
        return git(self.folder, "rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        return git(self.folder, *arguments)


@pytest.fixture
def person(bare: Path, template: Path, tmp_path: Path) -> Person:
    someone = Person(Path(shutil.copytree(template / "person", tmp_path / "person", symlinks=True)))
    someone.git("remote", "set-url", "origin", str(bare))
    return someone


@pytest.fixture
def log(bare: Path) -> Callable[..., list[str]]:
    """Subjects in the bare repository, newest first."""
    return lambda *arguments: git(bare, "log", "--format=%s", *arguments, "main").splitlines()


def set_text(path: str, text: str, *, subject: str = "Set", **trailers: str) -> Intent:
    def intent(files: Files) -> tuple[Files, Message]:
        return {**files, path: text}, Message(subject=subject, trailers=Trailers(operation="", **trailers))

    return intent


@pytest.fixture
def setting() -> Callable[..., Intent]:
    """An intent that writes one file."""
    return set_text


@dataclass
class WatchedGit:
    """The real git, with something done around pushes."""

    before_push: list[Callable[[], None]] = field(default_factory=list)
    after_push: list[Callable[[Completed], Completed]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    def run(
        self,
        folder: Path,
        arguments: Sequence[str],
        *,
        feed: bytes = b"",
        variables: Mapping[str, str] | None = None,
        timeout_s: float = LOCAL_TIMEOUT_S,
    ) -> Completed:
        self.commands.append(" ".join(arguments))
        pushes = arguments[0] == "push"
        if pushes and self.before_push:
            self.before_push.pop(0)()
        done = Git().run(folder, arguments, feed=feed, variables=variables, timeout_s=timeout_s)
        return self.after_push.pop(0)(done) if pushes and self.after_push else done


@pytest.fixture
def watched() -> WatchedGit:
    return WatchedGit()
