"""Which requests are logged: decided by the request id alone, so that every worker and every replay agrees."""

from __future__ import annotations

from hashlib import blake2b

_RANGE = 2**64


def is_sampled(request_id: str, share: float) -> bool:
    """Whether the request is among the logged ``share`` (0 to 1).

    >>> is_sampled("a", 1.0), is_sampled("a", 0.0)
    (True, False)
    >>> sum(is_sampled(str(number), 0.1) for number in range(10_000))
    1029
    """
    if share >= 1.0:
        return True
    digest = blake2b(request_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * _RANGE
