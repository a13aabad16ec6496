"""Git's objects as values: trees to texts, texts to trees, commits. Reads and writes one bare repository.

Never a checkout: a tree is written through an index file of its own. Two processes read a whole tree, whatever its
size.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from mlflow_deploy_plugin.errors import GitError
from mlflow_deploy_plugin.manifests.model import Files
from mlflow_deploy_plugin.repository.git import Completed, Git, GitDoor, failure
from mlflow_deploy_plugin.repository.model import Commit
from mlflow_deploy_plugin.repository.signing import signing_options

MAX_BLOB_BYTES: Final = 4 * 1024 * 1024
"""A larger file is no text of the tree; it is left alone and not read."""
_TEXT_MODES: Final = frozenset({"100644", "100755"})
_NEW_MODE: Final = "100644"
FALLBACK_EMAIL: Final = "modelserve@localhost"
_FALLBACK: Final = ("-c", "user.name=modelserve", "-c", f"user.email={FALLBACK_EMAIL}")
"""Who commits where the user has configured no identity."""
_TRUE: Final = frozenset({"true", "yes", "on", "1", ""})
_LOG_FORMAT: Final = "%H%x00%P%x00%an%x00%ae%x00%cI%x00%B"
_LOG_FIELDS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """One file of a tree."""

    path: str
    mode: str
    name: str
    """Name of the object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """The objects of one bare repository."""

    git: GitDoor
    folder: Path
    signing_key: str = field(default="", repr=False)
    """An SSH key, or its path, that commits are signed with; empty: as the user's configuration says."""

    def run(self, *arguments: str, feed: bytes = b"", variables: Mapping[str, str] | None = None) -> Completed:
        """A command on this machine that must not fail.

        Raises:
            GitError: it did.
        """
        completed = self.git.run(self.folder, arguments, feed=feed, variables=variables)
        if completed.status:
            raise failure(completed, doing=str(self.folder))
        return completed

    def blobs(self, sha: str, *paths: str) -> tuple[Blob, ...]:
        """The text files of a commit, or those of its ``paths``; links, submodules and very large files are none."""
        listing = self.run("ls-tree", "-r", "-z", "-l", "--full-tree", sha, "--", *paths)
        entries = (entry.split(b"\t", 1) for entry in listing.out.split(b"\0") if entry)
        fields = ((*head.decode().split(), _text(path)) for head, path in entries)
        return tuple(
            Blob(path=path, mode=mode, name=name)
            for mode, _, name, size, path in fields
            if mode in _TEXT_MODES and int(size) <= MAX_BLOB_BYTES
        )

    def texts(self, blobs: tuple[Blob, ...]) -> Files:
        """The text of each blob, by path; bytes that are no UTF-8 survive as surrogates."""
        feed = "".join(f"{blob.name}\n" for blob in blobs).encode()
        answer = self.run("cat-file", "--batch", feed=feed).out if blobs else b""
        return dict(zip((blob.path for blob in blobs), _batch(answer), strict=True))

    def write_tree(self, parent: str, changes: Mapping[str, str | None]) -> str:
        """Name of the tree of ``parent`` (empty: of nothing) with ``changes``; ``None`` removes a path."""
        modes = {blob.path: blob.mode for blob in self.blobs(parent, *changes)} if parent else {}
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="modelserve-") as scratch:
            names = self._write_blobs([text for text in changes.values() if text is not None], Path(scratch))
            lines = [_index_line(path, text, modes, names) for path, text in changes.items()]
            index = {"GIT_INDEX_FILE": str(Path(scratch, "index"))}
            if parent:
                self.run("read-tree", parent, variables=index)
            self.run("update-index", "-z", "--index-info", feed=b"".join(lines), variables=index)
            return self.run("write-tree", variables=index).text

    def _write_blobs(self, texts: list[str], scratch: Path) -> Mapping[str, str]:
        """Object name of each text: one process for all of them."""
        distinct = list(dict.fromkeys(texts))
        paths = [scratch / str(index) for index in range(len(distinct))]
        for path, text in zip(paths, distinct, strict=True):
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
        feed = "".join(f"{path}\n" for path in paths).encode()
        names = self.run("hash-object", "-w", "--no-filters", "--stdin-paths", feed=feed).text.split() if paths else []
        return dict(zip(distinct, names, strict=True))

    def commit(self, tree: str, parent: str, message: str) -> str:
        """Name of a new commit; signed where there is a key, or the user's configuration says that commits are."""
        settings = self._settings()
        signed = ["-S"] if self.signing_key or settings.get("commit.gpgsign") in _TRUE else []
        parents = ["-p", parent] if parent else []
        identity = () if settings.keys() & {"user.email", "author.email"} else _FALLBACK
        with signing_options(self.signing_key, scratch=self.folder) as key:
            command = (*identity, *key, "commit-tree", *signed, *parents, "-F", "-", tree)
            return self.run(*command, feed=message.encode()).text

    def _settings(self) -> Mapping[str, str]:
        """What the user has configured about committing, by lower-case key."""
        keys = r"^(user|author)\.email$|^commit\.gpgsign$"
        answer = self.git.run(self.folder, ["config", "-z", "--get-regexp", keys]).text
        entries = (entry.partition("\n") for entry in answer.split("\0") if entry)
        return {key.lower(): value for key, _, value in entries}

    def log(self, *arguments: str) -> tuple[Commit, ...]:
        """The commits that ``git log`` with ``arguments`` names."""
        answer = self.run(
            "log", "-z", "--no-color", "--no-show-signature", f"--format=tformat:{_LOG_FORMAT}", *arguments
        )
        fields = answer.out.decode("utf-8", "replace").split("\0")
        rows = (fields[start : start + _LOG_FIELDS] for start in range(0, len(fields) - 1, _LOG_FIELDS))
        return tuple(_commit(row) for row in rows)

    def resolve(self, reference: str) -> str:
        """The commit that a reference names; empty where there is none."""
        return self.git.run(self.folder, ["rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}"]).text


def configured_author(git: GitDoor | None = None) -> str:
    """The address that commits of this user carry, by git's own configuration."""
    found = (git or Git()).run(Path(os.devnull), ["config", "--get-regexp", r"^(user|author)\.email$"]).text
    said = dict(line.split(" ", 1) for line in found.splitlines() if " " in line)
    return said.get("author.email") or said.get("user.email") or FALLBACK_EMAIL


def _commit(row: list[str]) -> Commit:
    sha, parents, author, email, time, message = row
    return Commit(
        sha=sha,
        parents=tuple(parents.split()),
        author=author,
        email=email,
        time=datetime.fromisoformat(time),
        message=message.strip("\n"),
    )


def _batch(answer: bytes) -> Iterator[str]:
    """The contents in an answer of ``cat-file --batch``: a header line, as many bytes as it says, a line end."""
    position = 0
    while position < len(answer):
        end = answer.index(b"\n", position)
        header = answer[position:end].split()
        if header[-1] == b"missing":
            raise GitError(
                f"object {header[0].decode()} is missing from the repository; remove the clone and try again"
            )
        size = int(header[2])
        yield _text(answer[end + 1 : end + 1 + size])
        position = end + size + 2


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _index_line(path: str, text: str | None, modes: Mapping[str, str], names: Mapping[str, str]) -> bytes:
    name = "0" * 40 if text is None else names[text]
    mode = "0" if text is None else modes.get(path, _NEW_MODE)
    return f"{mode} {name}\t{path}\0".encode("utf-8", "surrogateescape")
