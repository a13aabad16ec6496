"""Everything outside that a client needs, opened as late as possible; a test hands over fakes instead."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.scoring import HttpScorer, Scorer, Timeouts
from mlflow_deploy_plugin.targets.base import DeploymentTarget
from mlflow_deploy_plugin.targets.opening import open_target
from mlflow_deploy_plugin.targets.packager import BentoPackager, Packager

LOGGER: Final = logging.getLogger("mlflow.modelserve")
"""Below MLflow's own logger, whose handler writes to standard error: standard output belongs to the answers."""

USER_VARIABLE: Final = "MODELSERVE_USER_ID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What a client opens."""

    home: Home
    packager: Packager
    scorer: Scorer
    open_target: Callable[[str], DeploymentTarget]
    say: Callable[[str], None]
    """Takes what a person should read besides the answer."""
    user: str = ""
    """Who asks, for the split."""

    @classmethod
    def real(cls, environment: Mapping[str, str]) -> Self:
        """Those of this machine. Opens nothing yet.

        Raises:
            ConfigError: a variable is wrong.
        """
        home = Home.from_environment(environment)
        return cls(
            home=home,
            packager=BentoPackager(home=home, warn=LOGGER.warning),
            scorer=HttpScorer(timeouts=Timeouts.from_environment(environment)),
            open_target=lambda uri: open_target(uri, environment=environment, say=LOGGER.warning),
            say=LOGGER.info,
            user=environment.get(USER_VARIABLE, "").strip(),
        )
