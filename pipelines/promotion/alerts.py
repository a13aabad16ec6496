r"""Alerts as Alertmanager's webhook sends them, and what one asks for. Pure.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config. Only an alert whose rule says
``remedy: rollback`` asks for anything. Alertmanager repeats itself: an alert is known by its fingerprint and by when it
began to fire, and what it asks for is done once.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.manifests.trailers import one_line

REMEDY: Final = "remedy"
ROLLBACK: Final = "rollback"
KIND: Final = "modelserve.io/alert.v1"
MAX_ALERTS: Final = 1000
_LONGEST: Final = 500
"""Characters of a label or an annotation that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert of a notification."""

    fingerprint: str
    starts: str
    """RFC 3339, as Prometheus wrote it."""
    is_firing: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def name(self) -> str:
        """Of its rule."""
        return self.labels.get("alertname", "alert")

    @property
    def deployment(self) -> str:
        """Whom it accuses; empty: nobody."""
        return self.labels.get("deployment") or self.labels.get("model_version", "")

    @property
    def asks_for_rollback(self) -> bool:
        """Whether its rule names a rollback as the remedy."""
        return self.is_firing and self.labels.get(REMEDY) == ROLLBACK

    @property
    def began(self) -> datetime:
        """When it began to fire."""
        return _moment(self.starts)

    @property
    def cause(self) -> str:
        """The same however often it is sent, and another one when it fires anew."""
        return f"alert {self.fingerprint} {self.starts}"

    @property
    def reason(self) -> str:
        """What a commit says."""
        return one_line(f"alert {self.name}: {self.annotations.get('summary') or self.deployment}", limit=_LONGEST)

    def evidence(self) -> str:
        """What is committed beside the rollback. Addresses of the monitoring system stay out of it."""
        known = {
            "kind": KIND,
            "fingerprint": self.fingerprint,
            "starts": self.starts,
            "labels": dict(sorted(self.labels.items())),
            "annotations": dict(sorted(self.annotations.items())),
        }
        return json.dumps(known, indent=1, ensure_ascii=False) + "\n"


def parse(body: bytes) -> tuple[Alert, ...]:
    """The alerts of one notification.

    >>> parse(b'{"version": "4", "alerts": []}')
    ()

    Raises:
        ConfigError: it is no notification of Alertmanager.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the body is no JSON ({error}); send what Alertmanager's webhook sends") from error
    listed = document.get("alerts") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ConfigError("the body has no list 'alerts'; send what Alertmanager's webhook sends, version 4")
    if len(listed) > MAX_ALERTS:
        raise ConfigError(f"{len(listed)} alerts come at once; at most {MAX_ALERTS} are looked at")
    return tuple(_alert(one) for one in listed)


def _alert(one: Any) -> Alert:  # noqa: ANN401  whatever JSON gave
    if not isinstance(one, dict):
        raise ConfigError(f"an alert is an object, not {type(one).__name__}")
    fingerprint, starts = one.get("fingerprint"), one.get("startsAt")
    if not (isinstance(fingerprint, str) and fingerprint and isinstance(starts, str) and starts):
        raise ConfigError("an alert has no 'fingerprint' or no 'startsAt'; Alertmanager 0.19 and later send both")
    try:
        _moment(starts)
    except ValueError as error:
        raise ConfigError(f"'startsAt' {starts!r} of an alert is no time; Alertmanager writes RFC 3339") from error
    return Alert(
        fingerprint=one_line(fingerprint, limit=_LONGEST),
        starts=one_line(starts, limit=_LONGEST),
        is_firing=one.get("status") == "firing",
        labels=_texts(one.get("labels")),
        annotations=_texts(one.get("annotations")),
    )


def _moment(text: str) -> datetime:
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _texts(given: Any) -> dict[str, str]:  # noqa: ANN401
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ConfigError(f"labels and annotations are objects, not {type(given).__name__}")
    return {one_line(str(key), limit=_LONGEST): one_line(str(text), limit=_LONGEST) for key, text in given.items()}
