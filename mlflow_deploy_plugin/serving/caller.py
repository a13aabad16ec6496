"""Who asks, as the headers of HTTP or the metadata of gRPC say. Pure but for the ids that it makes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.serving.request import Caller
from mlflow_deploy_plugin.serving.trace import read_trace

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ID: Final = 256
"""Characters of a request id that is echoed and logged; a longer one is replaced."""


def read_caller(headers: Mapping[bytes, bytes]) -> Caller:
    """The caller; one without a request id is given one.

    >>> read_caller({b"x-request-id": b"r1", b"x-user-id": b"ada"})
    Caller(request_id='r1', user_id='ada', assigned='', trace=None)
    """
    given = headers.get(b"x-request-id")
    request_id = given.decode("latin-1") if given and len(given) <= MAX_ID else _new_id()
    return Caller(
        request_id=request_id,
        user_id=headers.get(b"x-user-id", b"").decode("utf-8", "replace"),
        assigned=headers.get(b"x-model-assigned", b"").decode("latin-1"),
        trace=read_trace(headers),
    )


def _new_id() -> str:
    return f"{random.getrandbits(128):032x}"
