"""Signed commits by SSH keys: whose key signs, and who signed.

A key comes from the user's git configuration (``commit.gpgSign``) or from ``MODELSERVE_SIGNING_KEY``: the path of a
private key, or the key itself, as a CI system holds it. Signatures are checked against a text in the form of
OpenSSH's ``allowed_signers`` and against nothing else: a GPG key that this machine happens to trust counts for nothing.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.repository.git import GitDoor

VARIABLE: Final = "MODELSERVE_SIGNING_KEY"

_BEGIN: Final = "-----BEGIN "
_ONLY_SSH: Final = tuple(
    part
    for setting in (
        "gpg.ssh.program=ssh-keygen",
        "gpg.program=false",
        "gpg.openpgp.program=false",
        "gpg.x509.program=false",
    )
    for part in ("-c", setting)
)
_REASONS: Final = {
    "N": "it is not signed",
    "U": "its key belongs to none of them",
    "B": "its signature does not fit its content",
    "X": "its signature has expired",
    "Y": "its key has expired",
    "R": "its key was revoked",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What is known of a commit's signature."""

    signer: str = ""
    """Who signed it, as the list of signers calls them; empty: none of them did."""
    reason: str = ""
    """Why it does not count; empty: it does."""

    @property
    def is_good(self) -> bool:
        """Whether one of the signers made it."""
        return not self.reason


@contextlib.contextmanager
def signing_options(key: str, *, scratch: Path) -> Iterator[tuple[str, ...]]:
    """The options before ``commit-tree`` that make it sign with ``key``; none where it is empty.

    Raises:
        ConfigError: it is neither a key nor a file.
    """
    if not key:
        yield ()
        return
    with _key_file(key, scratch) as path:
        yield ("-c", "gpg.format=ssh", "-c", f"user.signingKey={path}")


@contextlib.contextmanager
def _key_file(key: str, scratch: Path) -> Iterator[str]:
    """A file that holds ``key``, gone afterwards where it was not there before."""
    if not key.lstrip().startswith(_BEGIN):
        path = Path(key).expanduser().absolute()
        if not path.is_file():
            raise ConfigError(f"{VARIABLE} is neither a file nor a private key; give the path of an SSH key")
        yield str(path)
        return
    with tempfile.TemporaryDirectory(dir=scratch, prefix="modelserve-key-") as folder:
        path = Path(folder, "key")
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(key.strip().replace("\r\n", "\n") + "\n")  # ssh-keygen wants the last line end
        yield str(path)


def verify(git: GitDoor, folder: Path, sha: str, allowed_signers: str) -> Signature:
    """Who of ``allowed_signers`` signed the commit ``sha`` of the repository in ``folder``."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="modelserve-") as scratch:
        listed = Path(scratch, "signers")
        listed.write_text(allowed_signers, encoding="utf-8", errors="surrogateescape")
        completed = git.run(
            folder,
            [
                "-c", f"gpg.ssh.allowedSignersFile={listed}", *_ONLY_SSH,
                "log", "-1", "--no-color", "--no-show-signature", "--format=%G?%x00%GS", sha, "--",
            ],
        )  # fmt: skip
    status, _, signer = completed.text.partition("\0")
    if completed.status == 0 and status == "G" and signer:
        return Signature(signer=signer)
    return Signature(reason=_REASONS.get(status, "its signature cannot be checked"))
