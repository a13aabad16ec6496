"""The one door to model servers: builds MLflow payloads, sends them over HTTP, reads the answers.

Knows addresses and payloads; knows nothing of git, of the agent or of what should be deployed. Its rules:

- a request is retried only where no connection was made, because a model may act on what it reads;
- everything that leaves or enters is strict JSON: a missing value is ``null``, never ``NaN``;
- what MLflow's command line did to an input file is undone (:mod:`.rebuild`) or refused, never guessed at.
"""

from mlflow_deploy_plugin.scoring.client import Address, HttpScorer, Scorer, Timeouts
from mlflow_deploy_plugin.scoring.fake import FakeScorer
from mlflow_deploy_plugin.scoring.payload import build_payload, wrapped
from mlflow_deploy_plugin.scoring.plain import strict_json, to_plain
from mlflow_deploy_plugin.scoring.signature import NO_SIGNATURE, Column, Signature

__all__ = [
    "NO_SIGNATURE",
    "Address",
    "Column",
    "FakeScorer",
    "HttpScorer",
    "Scorer",
    "Signature",
    "Timeouts",
    "build_payload",
    "strict_json",
    "to_plain",
    "wrapped",
]
