"""What the drift and label jobs computed, left in the home for the agent: one file for each endpoint and job.

Computed once by a job over the whole log, never by a worker, which would see its own slice alone. A file replaces the
one before it in one step; one that cannot be read is passed over and named, and costs the scrape nothing else.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from mlflow_deploy_plugin.agent.atomic import replace_text
from mlflow_deploy_plugin.agent.metrics.families import OF_EVIDENCE, Sample
from mlflow_deploy_plugin.config.home import OWNER_ONLY
from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.spec.names import require_label

Source = Literal["drift", "labels"]
"""The job that left it."""

MAX_SAMPLES: Final = 500
"""Series of one family of one endpoint."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The samples of one endpoint, by family of :data:`~.families.OF_EVIDENCE`."""

    source: Source
    stage: str
    endpoint: str
    time: datetime
    samples: Mapping[str, Sequence[Sample]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.source not in get_args(Source):
            raise ConfigError(f"source {self.source!r} of evidence is none of {', '.join(get_args(Source))}")
        require_label(self.endpoint, what="endpoint")
        require_label(self.stage, what="stage")
        for name, samples in self.samples.items():
            labels = OF_EVIDENCE[name].labels if name in OF_EVIDENCE else ()
            if "model_version" not in labels or len(samples) > MAX_SAMPLES:
                raise ConfigError(
                    f"{len(samples)} samples of {name!r} are not evidence: at most {MAX_SAMPLES} of a known family"
                )
            if any(len(sample[0]) != len(labels) for sample in samples):
                raise ConfigError(f"samples of {name!r} need the labels {', '.join(labels)}")


def leave(folder: Path, evidence: Evidence) -> Path:
    """Write ``evidence`` for the agent of the home; the file.

    Raises:
        OSError: the disk refuses.
    """
    folder.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
    path = folder / f"{evidence.stage}.{evidence.endpoint}.{evidence.source}.json"
    replace_text(path, json.dumps(_document(evidence), indent=1) + "\n")
    return path


def found_in(folder: Path) -> list[Evidence]:
    """All that was left in ``folder``."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(_evidence(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
            _log.warning("evidence %s is passed over: %s", path, error)
    return found


def _document(evidence: Evidence) -> dict[str, Any]:
    return {
        "source": evidence.source,
        "stage": evidence.stage,
        "endpoint": evidence.endpoint,
        "time": evidence.time.isoformat(),
        "samples": {name: [[list(labels), value] for labels, value in s] for name, s in evidence.samples.items()},
    }


def _evidence(document: Mapping[str, Any]) -> Evidence:
    return Evidence(
        source=document["source"],
        stage=document["stage"],
        endpoint=document["endpoint"],
        time=datetime.fromisoformat(document["time"]),
        samples={
            name: [(tuple(map(str, labels)), float(value)) for labels, value in samples]
            for name, samples in document["samples"].items()
        },
    )
