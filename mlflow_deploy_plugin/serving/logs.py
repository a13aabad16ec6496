"""Where our log lines go: stderr, from our own loggers alone, so that no library's chatter comes with them."""

from __future__ import annotations

import logging
import sys
from typing import Final

NAME: Final = "modelserve"
FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure() -> None:
    """Log to stderr from INFO up; again, it changes nothing."""
    logger = logging.getLogger(NAME)
    logger.setLevel(logging.INFO)
    if logger.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT))
    logger.addHandler(handler)
    logger.propagate = False
