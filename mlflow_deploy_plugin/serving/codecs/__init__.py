"""Wire protocols. Adding one: a module beside this one and a line in :func:`make_codecs`; no engine code changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow_deploy_plugin.serving.codecs.base import Codec, Factory, Host


def factories() -> tuple[Factory, ...]:
    """Every protocol, in the order in which their routes are tried; the first to claim a path has it."""
    return ()


def make_codecs(host: Host) -> tuple[Codec, ...]:
    """One codec of each protocol for one model."""
    return tuple(make(host) for make in factories())
