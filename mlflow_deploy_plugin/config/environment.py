"""The variables of a person's shell that steer this machine's agent."""

from collections.abc import Mapping
from typing import Final

from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.spec.names import require_label

PORT_VARIABLE: Final = "MODELSERVE_PORT"
METRICS_PORT_VARIABLE: Final = "MODELSERVE_METRICS_PORT"
STAGE_VARIABLE: Final = "MODELSERVE_STAGE"
EVENTS_DAYS_VARIABLE: Final = "MODELSERVE_EVENTS_DAYS"
EVENTS_BYTES_VARIABLE: Final = "MODELSERVE_EVENTS_MAX_BYTES"
EVENTS_URL_VARIABLE: Final = "MODELSERVE_EVENTS_URL"
DEFAULT_EVENTS_DAYS: Final = 90
DEFAULT_PORT: Final = 8080
DEFAULT_METRICS_PORT: Final = 9464
"""Where exporters of OpenTelemetry answer too; no other well-known exporter does."""
DEFAULT_STAGE: Final = "production"
MAX_PORT: Final = 65535


def gateway_port(environment: Mapping[str, str]) -> int:
    """Port of this machine's gateway.

    >>> gateway_port({}), gateway_port({"MODELSERVE_PORT": "9090"})
    (8080, 9090)

    Raises:
        ConfigError: the variable is no port.
    """
    text = environment.get(PORT_VARIABLE, "").strip()
    if not text:
        return DEFAULT_PORT
    if text.isdecimal() and 1 <= int(text) <= MAX_PORT:
        return int(text)
    raise ConfigError(f"{PORT_VARIABLE}={text!r} is not a port (1 to {MAX_PORT}); unset it for {DEFAULT_PORT}")


def metrics_port(environment: Mapping[str, str]) -> int:
    """Port of the agent's metrics; 0: any free one.

    >>> metrics_port({}), metrics_port({"MODELSERVE_METRICS_PORT": "0"})
    (9464, 0)

    Raises:
        ConfigError: the variable is no port.
    """
    text = environment.get(METRICS_PORT_VARIABLE, "").strip()
    if not text:
        return DEFAULT_METRICS_PORT
    if text.isdecimal() and int(text) <= MAX_PORT:
        return int(text)
    raise ConfigError(
        f"{METRICS_PORT_VARIABLE}={text!r} is not a port (0 to {MAX_PORT}); unset it for {DEFAULT_METRICS_PORT}"
    )


def events_days(environment: Mapping[str, str]) -> int:
    """Days that this machine's event store keeps; 0: for ever.

    >>> events_days({}), events_days({"MODELSERVE_EVENTS_DAYS": "7"})
    (90, 7)

    Raises:
        ConfigError: the variable is no whole number.
    """
    return _count(environment, EVENTS_DAYS_VARIABLE, DEFAULT_EVENTS_DAYS, "days, 0 for ever")


def events_max_bytes(environment: Mapping[str, str]) -> int:
    """Bytes that this machine's event store may take; 0: no bound.

    >>> events_max_bytes({}), events_max_bytes({"MODELSERVE_EVENTS_MAX_BYTES": "1000000000"})
    (0, 1000000000)

    Raises:
        ConfigError: the variable is no whole number.
    """
    return _count(environment, EVENTS_BYTES_VARIABLE, 0, "bytes, 0 for no bound")


def events_url(environment: Mapping[str, str]) -> str:
    """Where closed files of the event store are moved to, such as ``s3://bucket/events``; empty: nowhere.

    >>> events_url({})
    ''

    Raises:
        ConfigError: the variable is no URL.
    """
    url = environment.get(EVENTS_URL_VARIABLE, "").strip()
    if url and "://" not in url:
        raise ConfigError(f"{EVENTS_URL_VARIABLE}={url!r} is no URL; write one such as s3://bucket/events, or unset it")
    return url


def _count(environment: Mapping[str, str], variable: str, default: int, unit: str) -> int:
    text = environment.get(variable, "").strip()
    if not text:
        return default
    if text.isascii() and text.isdecimal():
        return int(text)
    raise ConfigError(f"{variable}={text!r} is not a whole number of {unit}; unset it for {default}")


def agent_stage(environment: Mapping[str, str]) -> str:
    """Stage that this machine's agent serves.

    >>> agent_stage({})
    'production'

    Raises:
        ConfigError: the variable is no DNS label.
    """
    return require_label(environment.get(STAGE_VARIABLE, "").strip() or DEFAULT_STAGE, what=f"{STAGE_VARIABLE}: stage")
