"""The control where all users have one version: the version before scores the logged inputs of the present one.

It is asked at the address that somebody named (:mod:`.version_elsewhere`), else its Bento is started on this machine,
without a log, for as long as it is asked, and ended whatever happens.
"""

import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.errors import AgentError, ModelserveError, NotFoundError
from mlflow_deploy_plugin.manifests.model import Deployment
from pipelines.analysis.checks import LARGEST
from pipelines.commands import endpoints
from pipelines.commands.endpoints import Standing
from pipelines.monitoring import before, validity
from pipelines.monitoring.event_labels import LabelCut
from pipelines.monitoring.event_summaries import Window
from pipelines.promotion.drift.evidence import Shadow
from pipelines.promotion.drift.policy import DriftPolicy
from pipelines.promotion.rollback import Why

if TYPE_CHECKING:
    import pandas as pd

    from mlflow_deploy_plugin.config.home import Home
    from pipelines.commands.doors import Doors
    from pipelines.monitoring.events import EventStore

MAX_USERS: Final = 5000
"""Users whose first labelled input is scored again: the first since the present version took over."""
ROWS_OF_A_REQUEST: Final = 200
READY_S: Final = 180.0
STOP_S: Final = 10.0
POLL_S: Final = 0.2


def found(
    standing: Standing, store: "EventStore", doors: "Doors", *, maturity: timedelta | None, at: str = ""
) -> Shadow | None:
    """What the version before says of the labelled inputs; ``None`` where that cannot be known, which is told.

    ``at`` is an address where it answers; empty: it is started here.
    """
    since = endpoints.stable_since(standing)
    before_it = _before(standing) if since is not None else None
    if since is None or before_it is None:
        return None
    rows = _labelled(standing, store, since, doors.now(), maturity)
    if len(rows) < DriftPolicy().min_labelled_users:
        doors.warn(
            f"labels have come for {len(rows)} users of {standing.stable.name}: too few to ask the version before"
        )
        return None
    rows, inputs = rows.iloc[:, : len(before.LOGGED)], rows.iloc[:, len(before.LOGGED) :]  # names may come twice
    inputs = inputs.dropna(axis="columns", how="all")
    try:
        answers = doors.score_at(at, before_it, inputs) if at else doors.score(before_it, inputs)
    except ModelserveError as error:
        way = "" if at else "; where it still answers elsewhere, give --before-at URL"
        doors.warn(f"{before_it.name}, the version before, could not be asked: {error}{way}; this look can only alert")
        return None
    both = before.compared(rows, answers, deployment=before_it.name, model_digest=before_it.model.digest)
    return both if not (lost := len(rows) - both.users) else _without(lost, both, doors)


def _without(lost: int, both: Shadow, doors: "Doors") -> Shadow | None:
    """``both`` versions without the users that cannot be compared; ``None`` where those are too many."""
    users = lost + both.users
    told = (
        f"{lost} of {users} users are left out beside {both.deployment}: an answer or a label is of another kind, not"
        f" finite or beyond {LARGEST:g}"
    )
    if both.differences is not None and validity.are_too_many(lost, users):
        doors.warn(f"{told}; the others do not stand for them: this look can only alert")
        return None
    doors.warn(told)
    return both


def _before(standing: Standing) -> Deployment | None:
    """What a rollback of the present version would go back to."""
    try:
        good = endpoints.rollback(standing, [standing.stable.name], Why(reason="")).good
    except NotFoundError:
        return None
    return good.models.get(good.stable) or standing.endpoint.deployments[good.stable]


def _labelled(
    standing: Standing, store: "EventStore", since: datetime, now: datetime, maturity: timedelta | None
) -> "pd.DataFrame":
    route, end = standing.endpoint.route, now + timedelta(seconds=1)
    window = Window(stage=route.stage, endpoint=route.endpoint, begin=min(since, now), end=end)
    cut = LabelCut(as_of=end, maturity=maturity)
    return store.labelled_inputs(window, cut, deployment=standing.stable.name, limit=MAX_USERS).frame


def score(deployment: Deployment, rows: "pd.DataFrame", *, home: "Home") -> Sequence[Any]:
    """Answers of ``deployment`` to every row, by a process of its own.

    Raises:
        AgentError: its Bento is not on this machine, or does not start.
        ScoringError, RetryLaterError: it refuses the inputs, or does not answer.
    """
    from mlflow_deploy_plugin.scoring import Address, HttpScorer, build_payload  # noqa: PLC0415

    scorer, answers = HttpScorer(), list[Any]()
    with _serving(deployment, home) as address:
        for number in range(math.ceil(len(rows) / ROWS_OF_A_REQUEST)):
            part = rows.iloc[number * ROWS_OF_A_REQUEST : (number + 1) * ROWS_OF_A_REQUEST].reset_index(drop=True)
            said = scorer.invoke(Address(gateway=address, endpoint=deployment.endpoint), build_payload(part))
            answers += said["predictions"]
    return answers


@contextmanager
def _serving(deployment: Deployment, home: "Home") -> Iterator[str]:
    """The address of a process that serves ``deployment`` and logs nothing."""
    from mlflow_deploy_plugin.agent.launch import BentoLauncher, Place  # noqa: PLC0415
    from mlflow_deploy_plugin.agent.units import Unit  # noqa: PLC0415

    port = _free_port()
    launch = BentoLauncher(home=home)(Unit.of(deployment), Place(slot=0, port=port, record={}))
    process = subprocess.Popen(
        launch.command,
        cwd=launch.cwd,
        env=_unlogged(launch.environment),
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
    )
    try:
        yield _ready(process, f"http://127.0.0.1:{port}", deployment.name)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _unlogged(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: text for name, text in environment.items() if name not in {"MODELSERVE_EVENTS_DIR", "MODELSERVE_LOG"}}
    return {**kept, "MODELSERVE_LOG": "off", "HOME": environment.get("HOME", os.environ.get("HOME", ""))}


def _ready(process: "subprocess.Popen[bytes]", address: str, name: str) -> str:
    import httpx  # noqa: PLC0415

    until = time.monotonic() + READY_S
    with httpx.Client(trust_env=False, timeout=5.0) as client:
        while process.poll() is None and time.monotonic() < until:
            try:
                if client.get(f"{address}/readyz").is_success:
                    return address
            except httpx.TransportError:
                pass
            time.sleep(POLL_S)
    raise AgentError(f"{name} did not start within {READY_S:g} s (status {process.poll()}); its words are above")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
