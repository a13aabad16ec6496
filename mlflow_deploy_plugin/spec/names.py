"""Names of endpoints, deployments and stages: DNS labels, because Kubernetes and Envoy use them unchanged.

>>> slug("My Model/v2")
'my-model-v2'
>>> require_label("churn-v4", what="deployment")
'churn-v4'
"""

import re
import unicodedata
from typing import Final

from mlflow_deploy_plugin.errors import ConfigError

MAX_LABEL: Final = 50  # leaves room under the 63 of RFC 1123 for the suffixes that Kubernetes appends
LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")

TOTAL_WEIGHT: Final = 1000
"""The weights of a route sum to this for ever: a changed total would deal the users anew."""


PRODUCTION: Final = "production"


def lets_clients_pick(stage: str) -> bool:
    """Whether a new endpoint of a shared repository's ``stage`` hears the header ``x-model-version``, unless told.

    >>> lets_clients_pick("staging"), lets_clients_pick("production")
    (True, False)
    """
    return stage != PRODUCTION


def slug(name: str) -> str:
    """The nearest DNS label to ``name``, or ``"model"`` where nothing of it can stay."""
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only.lower()).strip("-")[:MAX_LABEL].strip("-") or "model"


def is_label(name: str) -> bool:
    """Whether ``name`` may name an endpoint, a deployment or a stage."""
    return len(name) <= MAX_LABEL and LABEL.fullmatch(name) is not None


def require_label(name: str, *, what: str) -> str:
    """``name`` itself, where it is a DNS label of at most 50 characters.

    Raises:
        ConfigError: it is not; the message suggests the nearest name that is.
    """
    if is_label(name):
        return name
    raise ConfigError(
        f"{what} name {name!r} is not a DNS label (a-z, 0-9 and '-', at most {MAX_LABEL} characters);"
        f" use {slug(name)!r}"
    )
