"""Who somebody is: one name for a person, whether git or a forge says it.

>>> who("1234+Ada@users.noreply.github.com"), who("Bob@Example.org")
('ada', 'bob@example.org')
"""

import re
from collections.abc import Mapping
from typing import Final

from mlflow_deploy_plugin.manifests.trailers import one_line

_NOREPLY: Final = re.compile(r"(?:\d+\+)?([^@]+)@users\.noreply\.github\.com")
ACTOR: Final = "GITHUB_ACTOR"
"""Who started a workflow; the commits of its runner all have the runner's own author."""


def who(said: str) -> str:
    """The name of a person, by which two words of the same one are the same."""
    text = one_line(said).strip().lower()
    forge = _NOREPLY.fullmatch(text)
    return forge[1] if forge else text


def acting(environment: Mapping[str, str]) -> str:
    """Who runs this program, where the environment knows better than git; else empty."""
    return who(environment.get(ACTOR, ""))
