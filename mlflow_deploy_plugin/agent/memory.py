"""What the agent must not forget: the last state of each endpoint that was brought to life.

A newest commit that is broken, or a history that was rewritten, must not keep an agent that starts anew from serving
what was good; so the state is kept itself and not the commit to read it from.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlflow_deploy_plugin.agent.atomic import replace_text
from mlflow_deploy_plugin.agent.codec import from_document, to_document
from mlflow_deploy_plugin.agent.envoy.routes import Served
from mlflow_deploy_plugin.errors import ConfigError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What was served, and by which commit of which repository."""

    repository: str
    stage: str
    commit: str = ""
    """Newest one that was served whole."""
    endpoints: Mapping[str, Served] = field(default_factory=dict)


def recall(path: Path, *, repository: str, stage: str) -> Memory:
    """What was written for this repository and stage; nothing where it was another, or cannot be read."""
    fresh = Memory(repository=repository, stage=stage)
    try:
        known = from_document(Memory, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return fresh
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        _log.warning("%s cannot be read (%s); what was served is forgotten", path, error)
        return fresh
    return known if (known.repository, known.stage) == (repository, stage) else fresh


def remember(path: Path, memory: Memory) -> None:
    """Write ``memory``. Raises ``OSError`` where the disk refuses."""
    replace_text(path, json.dumps(to_document(memory)))
