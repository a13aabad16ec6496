"""Columns that the prediction log keeps from its readers: left out, or replaced by a keyed hash.

A hash of a value is the same on every worker and in both arms of a split, so that columns can still be compared with
each other and counted; without the key nobody can try out values against it (a plain hash of a postcode or an age is
undone by trying all of them). Imported by whoever opens the log; needs nothing heavy.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import orjson

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mlflow_deploy_plugin.spec.settings import ServingSettings

DIGEST_BYTES: Final = 10
MIN_KEY: Final = 16
"""Bytes of a key below which it could be guessed."""
_LOG: Final = logging.getLogger("modelserve.events")


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """Which columns, and how."""

    dropped: frozenset[str] = frozenset()
    hashed: frozenset[str] = frozenset()
    key: bytes = b""

    @classmethod
    def of(cls, settings: ServingSettings) -> Self:
        """What ``settings`` ask for. Columns to hash are left out, and that is told, where there is no key."""
        dropped, hashed = _names(settings.log_drop), _names(settings.log_hash)
        key = _key(settings.log_key_file) if hashed else b""
        if hashed and len(key) < MIN_KEY:
            _LOG.warning(
                "no key of %d bytes in %r, so columns %s are left out of the log and not hashed; name a file of random"
                " bytes by MODELSERVE_LOG_KEY_FILE",
                MIN_KEY, settings.log_key_file, ", ".join(sorted(hashed)),
            )  # fmt: skip
            return cls(dropped=dropped | hashed)
        return cls(dropped=dropped, hashed=hashed - dropped, key=key)

    def warn_of_strangers(self, known: Collection[str]) -> None:
        """Tell names that are none of a signature's: a mistyped one leaves its column in the log as it came."""
        if known and (strangers := sorted((self.dropped | self.hashed).difference(known))):
            _LOG.warning(
                "log_drop or log_hash names %s, of which the model's signature says nothing, so no such column is kept"
                " from the log unless clients send one; the signature has %s: correct the name if it means one of them",
                ", ".join(map(repr, strangers)), ", ".join(map(repr, sorted(known))),
            )  # fmt: skip

    @property
    def is_any(self) -> bool:
        """Whether a column is kept from readers, so that a body without columns cannot be logged."""
        return bool(self.dropped or self.hashed)

    def digests(self, values: Iterable[Any]) -> list[str | None]:
        """Hashes of a column's values; missing ones stay missing."""
        return [None if _is_missing(plain) else self._digest(plain) for plain in map(_plain, values)]

    def _digest(self, plain: Any) -> str:  # noqa: ANN401  a model takes anything
        return blake2b(_canonical(plain), key=self.key[:64], digest_size=DIGEST_BYTES).hexdigest()


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def _key(path: str) -> bytes:
    try:
        return Path(path).read_bytes() if path else b""
    except OSError:
        return b""


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Python's own value of one of numpy's: a NaN of 32 bits is a NaN as well."""
    return value.tolist() if hasattr(value, "tolist") else value


def _is_missing(plain: Any) -> bool:  # noqa: ANN401
    if plain is None or type(plain).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(plain, float) and plain != plain  # noqa: PLR0124  NaN alone differs from itself


def _canonical(plain: Any) -> bytes:  # noqa: ANN401
    """One text for one value, whatever type carried it: 3, 3.0 and numpy's 3 are the same."""
    if isinstance(plain, float) and plain.is_integer():
        plain = int(plain)
    return plain if isinstance(plain, bytes) else orjson.dumps(plain, default=str)
