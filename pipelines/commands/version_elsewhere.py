"""The version before where it still answers: behind a gateway, or at any address of MLflow's or the Open Inference way.

Asks, and starts nothing. That the address serves the version before is the word of who names it, but for a gateway of
ours, which is asked for that deployment by name and answers by no other.
"""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from mlflow_deploy_plugin.errors import ConfigError, ScoringError
from mlflow_deploy_plugin.manifests.model import Deployment
from mlflow_deploy_plugin.scoring import Address, build_payload

if TYPE_CHECKING:
    import pandas as pd

    from mlflow_deploy_plugin.scoring.plain import Plain

ROWS_OF_A_REQUEST: Final = 200
BAD_ANSWER: Final = 502
_OIP_TYPES: Final = {"f": "FP64", "i": "INT64", "u": "UINT64", "b": "BOOL"}


class Asks(Protocol):
    """What is needed of :class:`mlflow_deploy_plugin.scoring.HttpScorer`."""

    def invoke(self, address: Address, body: dict[str, Any]) -> "Plain":
        """Predictions of a deployment behind a gateway."""
        ...

    def ask(self, url: str, body: dict[str, Any]) -> "Plain":
        """What a server answers at a whole address."""
        ...


def check(url: str) -> str:
    """``url``, where somebody can be asked.

    >>> check("http://old.example:8080")
    'http://old.example:8080'

    Raises:
        ConfigError: it is none.
    """
    parts = urlsplit(url)
    if parts.scheme in {"http", "https"} and parts.hostname:
        return url
    raise ConfigError(
        f"{url!r} is no address; give a gateway's such as http://HOST:8080, or a model's that ends in /invocations or"
        " /v2/models/NAME/infer"
    )


def check_gateway(url: str) -> str:
    """``url``, where any endpoint's version can be asked for by name: a model's address is no other endpoint's.

    Raises:
        ConfigError: it is no address, or that of one model.
    """
    if _path(check(url)):
        raise ConfigError(
            f"{url!r} is the address of one model, and all endpoints are looked at; name the --endpoint that it belongs"
            " to, or give a gateway's address such as http://HOST:8080"
        )
    return url


def score(url: str, deployment: Deployment, rows: "pd.DataFrame", *, scorer: Asks) -> Sequence[Any]:
    """Answers of the version before to every row.

    Args:
        url: a gateway without a path, else the whole address of MLflow's ``/invocations`` or of a v2 ``/infer``.
        deployment: the version before; a gateway is asked for it by name.
        rows: the inputs.
        scorer: who asks.

    Raises:
        ScoringError: it refuses the inputs, or does not give one answer a row.
        RetryLaterError: nothing answers there.
    """
    answers: list[Any] = []
    for part in _parts(rows):
        told = _asked(url, deployment, part, scorer)
        if len(told) != len(part):
            words = f"{url} gave {len(told)} answers to {len(part)} rows; name the address of one prediction a row"
            raise ScoringError(words, status=BAD_ANSWER)
        answers += told
    return answers


def _parts(rows: "pd.DataFrame") -> "Iterator[pd.DataFrame]":
    for number in range(math.ceil(len(rows) / ROWS_OF_A_REQUEST)):
        yield rows.iloc[number * ROWS_OF_A_REQUEST : (number + 1) * ROWS_OF_A_REQUEST].reset_index(drop=True)


def _asked(url: str, deployment: Deployment, rows: "pd.DataFrame", scorer: Asks) -> list[Any]:
    path = _path(url)
    if not path:
        address = Address(gateway=url.rstrip("/"), endpoint=deployment.endpoint, deployment=deployment.name)
        return _predictions(scorer.invoke(address, build_payload(rows)), url)
    if path.endswith("/infer"):
        return _first_output(scorer.ask(url, _tensors(rows)), url)
    return _predictions(scorer.ask(url, build_payload(rows)), url)


def _path(url: str) -> str:
    """Empty for a gateway's address."""
    return urlsplit(url).path.rstrip("/")


def _predictions(said: "Plain", url: str) -> list[Any]:
    found = said.get("predictions") if isinstance(said, dict) else said
    if isinstance(found, list):
        return found
    raise ScoringError(f"{url} answered without a list of predictions; is it a model of MLflow's?", status=BAD_ANSWER)


def _tensors(rows: "pd.DataFrame") -> dict[str, Any]:
    """Every column as a tensor of its own, as MLServer and Triton take tables."""
    inputs = [
        {
            "name": str(name),
            "shape": [len(rows)],
            "datatype": _OIP_TYPES.get(rows[name].dtype.kind, "BYTES"),
            "data": rows[name].tolist(),
        }
        for name in rows.columns
    ]
    return {"parameters": {"content_type": "pd"}, "inputs": inputs}


def _first_output(said: "Plain", url: str) -> list[Any]:
    outputs = said.get("outputs") if isinstance(said, dict) else None
    data = outputs[0].get("data") if isinstance(outputs, list) and outputs and isinstance(outputs[0], dict) else None
    if isinstance(data, list):
        return data
    raise ScoringError(f"{url} answered without outputs; is it an Open Inference server?", status=BAD_ANSWER)
