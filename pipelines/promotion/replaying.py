"""Replays a recorded decision of either kind: a drift report's or a promotion's. Pure."""

import json

from pipelines.promotion import codec, record
from pipelines.promotion.drift import record as drift_record
from pipelines.promotion.drift.record import DriftRecord
from pipelines.promotion.record import PromotionRecord


def replay(text: str) -> tuple[DriftRecord | PromotionRecord, bool]:
    """The record that today's code makes, and whether it is the same byte for byte.

    Raises:
        ConfigError: the text is no record.
    """
    if _kind(text).startswith("modelserve.io/promotion"):
        return record.replay(text)
    return drift_record.replay(text)


def is_record(text: str) -> bool:
    """Whether it says of itself that it is a record of ours; that it is a sound one, :func:`read` says.

    >>> is_record('{"kind": "modelserve.io/drift-decision.v2"}'), is_record("[]")
    (True, False)
    """
    return _kind(text).startswith(("modelserve.io/promotion-decision", "modelserve.io/drift-decision"))


def read(text: str) -> DriftRecord | PromotionRecord:
    """The record that was written.

    Raises:
        ConfigError: the text is no record.
    """
    if _kind(text).startswith("modelserve.io/promotion"):
        return codec.decode(PromotionRecord, text)
    return drift_record.read(text)


def _kind(text: str) -> str:
    try:
        written = json.loads(text)
    except ValueError:  # the decoder below says what is wrong with it
        return ""
    return str(written.get("kind", "")) if isinstance(written, dict) else ""
