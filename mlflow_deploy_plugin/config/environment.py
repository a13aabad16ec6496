"""The variables of a person's shell that steer this machine's agent."""

from collections.abc import Mapping
from typing import Final

from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.spec.names import require_label

PORT_VARIABLE: Final = "MODELSERVE_PORT"
METRICS_PORT_VARIABLE: Final = "MODELSERVE_METRICS_PORT"
STAGE_VARIABLE: Final = "MODELSERVE_STAGE"
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


def agent_stage(environment: Mapping[str, str]) -> str:
    """Stage that this machine's agent serves.

    >>> agent_stage({})
    'production'

    Raises:
        ConfigError: the variable is no DNS label.
    """
    return require_label(environment.get(STAGE_VARIABLE, "").strip() or DEFAULT_STAGE, what=f"{STAGE_VARIABLE}: stage")
