"""Reading a request's body within its limits: bytes and values (413), time (408), what it is compressed with (415)."""

from __future__ import annotations

import asyncio
import re
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.serving.faults import Fault, RequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    Receive = Callable[[], Awaitable[dict[str, Any]]]

WINDOWS: Final = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
"""zlib's window for each Content-Encoding that is understood."""
BYTES_PER_VALUE: Final = 8
"""One value of a text is read for each so many of ``max_bytes``: what a double weighs as a binary tensor."""
LEAST_VALUES: Final = 100_000
"""Values that are read however small ``max_bytes`` is: some ten megabytes of memory."""
BINARY_KINDS: Final = (b"application/octet-stream", b"application/vnd.apache.parquet", b"image/", b"multipart/")
"""Content types in which a comma is any byte, unless JSON comes under their name: not every protocol looks at it."""
HEADER_LENGTH: Final = b"inference-header-content-length"
"""Says where the text of an Open Inference body ends, and its binary tensors begin."""


_TEXT: Final = re.compile(rb"\s*[\[{]")
"""How a JSON text of several values begins."""
_PART: Final = re.compile(rb"(?:\A|\s)[\[{]")
"""What a form has, one part of which is such a text."""


def _is_binary(kind: bytes, body: bytes) -> bool:
    """Whether a body is what its content type says, and that is no text; no codec reads JSON from it then."""
    kind = kind.partition(b";")[0].strip().lower()
    if not kind.startswith(BINARY_KINDS):
        return False
    return (_PART.search(body) if kind.startswith(b"multipart/") else _TEXT.match(body)) is None


def _text_length(header: bytes | None, size: int) -> int:
    """How much of a body is text; a header that is none of the protocol's is its codec's to refuse."""
    is_length = header is not None and header.isdigit() and len(header) < len(str(2**63))
    return min(int(header), size) if header is not None and is_length else size


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """How much of a body is taken, and for how long."""

    max_bytes: int
    timeout_s: float
    max_values: int = field(init=False)
    """Commas of a text, about the values that it holds, as :data:`BYTES_PER_VALUE` allows. A value of one digit
    weighs two bytes on the wire and a hundred times that once it is read, with the interpreter's lock held."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_values", max(LEAST_VALUES, self.max_bytes // BYTES_PER_VALUE))

    def plain(self, body: bytes, headers: Mapping[bytes, bytes], *, has_tail: bool = False) -> bytes:
        """A body that has arrived whole, decompressed; ``has_tail``: its route takes binary tensors after the text.

        Raises:
            RequestError: TOO_LARGE, UNSUPPORTED_TYPE or MALFORMED.
        """
        self._check_size(len(body))
        return self._counted(body, headers, has_tail=has_tail)

    async def read(self, receive: Receive, headers: Mapping[bytes, bytes], *, has_tail: bool = False) -> bytes:
        """The whole body, decompressed, as it arrives.

        Raises:
            RequestError: TOO_LARGE, SLOW_BODY, CLIENT_GONE, UNSUPPORTED_TYPE or MALFORMED.
        """
        self._check_length(headers.get(b"content-length"))
        return self._counted(await self._read_in_time(receive), headers, has_tail=has_tail)

    def _counted(self, body: bytes, headers: Mapping[bytes, bytes], *, has_tail: bool) -> bytes:
        """The plain body, unless it is a text of too many values."""
        plain = self._inflated(body, headers)
        if len(plain) <= self.max_values:  # it cannot have so many
            return plain
        text = _text_length(headers.get(HEADER_LENGTH), len(plain)) if has_tail else len(plain)
        values = plain.count(b",", 0, text)
        if values > self.max_values and not _is_binary(headers.get(b"content-type", b""), plain):
            raise RequestError(
                Fault.TOO_LARGE,
                f"the body has {values} values; at most {self.max_values} are read at once (one for each"
                f" {BYTES_PER_VALUE} bytes of max_body_bytes): send it in parts, or as binary tensors or Parquet",
            )
        return plain

    def _inflated(self, body: bytes, headers: Mapping[bytes, bytes]) -> bytes:
        encoding = headers.get(b"content-encoding")
        return body if encoding is None else self._decompress(body, encoding)

    async def _read_in_time(self, receive: Receive) -> bytes:
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._read(receive)
        except TimeoutError as error:
            raise RequestError(Fault.SLOW_BODY, f"the body did not arrive within {self.timeout_s:g} s") from error

    async def _read(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size, is_more = 0, True
        while is_more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RequestError(Fault.CLIENT_GONE, "the client has gone")
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            self._check_size(size)
            is_more = message.get("more_body", False)
        return b"".join(chunks)

    def _check_length(self, header: bytes | None) -> None:
        if header is not None and header.isdigit():
            self._check_size(int(header))

    def _check_size(self, size: int) -> None:
        if size > self.max_bytes:
            raise RequestError(Fault.TOO_LARGE, f"the body is larger than {self.max_bytes} bytes (max_body_bytes)")

    def _decompress(self, body: bytes, encoding: bytes) -> bytes:
        if encoding in {b"", b"identity"}:
            return body
        if encoding not in WINDOWS:
            raise RequestError(
                Fault.UNSUPPORTED_TYPE,
                f"Content-Encoding {encoding.decode('latin-1')!r} is not known; use gzip or none",
            )
        inflater = zlib.decompressobj(WINDOWS[encoding])
        try:
            plain = inflater.decompress(body, self.max_bytes + 1)
        except zlib.error as error:
            raise RequestError(Fault.MALFORMED, f"the body is not {encoding.decode()}: {error}") from error
        self._check_size(len(plain))
        if not inflater.eof:
            raise RequestError(Fault.MALFORMED, f"the {encoding.decode()} body is truncated")
        return plain
