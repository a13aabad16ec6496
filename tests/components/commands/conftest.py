"""An endpoint with a canary, a repository in memory, and users whose inputs, failures and labels a test chooses."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.agent.parquet import arrow_schema
from mlflow_deploy_plugin.manifests.model import Deployment, Endpoint, ModelIdentity
from mlflow_deploy_plugin.manifests.split import assign
from mlflow_deploy_plugin.packaging.machine import Machine
from mlflow_deploy_plugin.repository.fake import FakeRepository
from mlflow_deploy_plugin.spec.events import (
    ATTEMPT_COLUMNS,
    LABEL_COLUMNS,
    PREDICTION_COLUMNS,
    Table,
    partition,
)
from mlflow_deploy_plugin.targets.ledger import Ledger
from mlflow_deploy_plugin.targets.remote import RemoteTarget
from pipelines.cli import main
from pipelines.commands.doors import Doors
from pipelines.monitoring.events import EventStore

BEGAN = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
COLUMNS = {"attempts": ATTEMPT_COLUMNS, "predictions": PREDICTION_COLUMNS, "labels": LABEL_COLUMNS}


def make_deployment(name: str, version: int) -> Deployment:
    digest = f"sha256:{version:064x}"
    return Deployment(
        name=name,
        endpoint="churn",
        stage="production",
        model=ModelIdentity(
            bento=f"churn:{version:016x}", uri=f"models:/churn/{version}", digest=digest, name="churn",
            version=str(version), run_id="" if version == 1 else f"run-{version}",
        ),
        image=f"modelserve.invalid/churn@{digest}",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearby(RemoteTarget):
    """A target that runs what it commits on a machine that a test describes; ``None``: elsewhere."""

    here: Machine | None = None

    def machine(self) -> Machine | None:
        """As given."""
        return self.here


@dataclass
class World:
    """One home, one repository, one endpoint ``churn`` with stable ``churn`` and canary ``churn-v2``."""

    root: Path
    said: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    now: datetime = NOW
    me: str = "ada@example.org"
    differing: float = 0.0
    """Share of the requests for which a shadow predicts something else."""
    probability: float = 0.0
    """What the model says of everybody, in place of a class; 0: it says classes."""
    scores: bool = False
    """Whether the model answers with a score for each of two classes."""
    truths: dict[float, float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    asked_with: list[str] = field(default_factory=list)
    """Columns of the rows that a version was asked about last."""
    asked_at: list[tuple[str, str]] = field(default_factory=list)
    before_is_wrong: float = 0.1
    """Share of wrong answers of a version that is started to be asked."""
    kept: list[Any] = field(default_factory=list)
    machine: Machine | None = None
    unlabelled: tuple[str, ...] = ()
    """Arms whose labels never come."""
    narrow: tuple[str, ...] = ()
    """Arms whose model takes numbers of 32 bits, as which they are logged."""
    served: str = ""
    """Commit that the gateway serves; empty: the newest."""
    endless: int = 0
    """Users, the first ones, whose label is a number too large to be added up."""

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(7)
        files = manifests.add_endpoint({}, make_deployment("churn", 1), salt="s1")
        self.repository = FakeRepository(files)
        self.home = self.root / "home"
        self._numbers = 0
        self.write_reference(self.people(1500))

    # -- the tree --------------------------------------------------------------------------------------------------

    def join(self, weight: int = 400, name: str = "churn-v2", version: int = 2) -> None:
        self.change(lambda files: manifests.add_deployment(files, make_deployment(name, version), weight=weight))

    def replace(self, name: str, version: int) -> None:
        self.change(lambda files: manifests.replace_deployment(files, make_deployment(name, version)))

    def split(self, **weights: int) -> None:
        named = {name.replace("_", "-"): weight for name, weight in weights.items()}
        self.change(lambda files: manifests.set_split(files, "production", "churn", named))

    def change(self, edit: Callable[[Any], Any]) -> str:
        return self.repository.push(edit(self.repository.files(self.head)), "a person's change")

    @property
    def head(self) -> str:
        commit = self.repository.head()
        assert commit is not None
        return commit.sha

    @property
    def endpoint(self) -> Endpoint:
        return manifests.parse_endpoint(self.repository.files(self.head), "production", "churn")

    @property
    def weights(self) -> dict[str, int]:
        return {name: weight for name, weight in self.endpoint.route.weights.items() if weight}

    # -- the events ------------------------------------------------------------------------------------------------

    def people(self, count: int, *, age: float = 40.0, plan: str = "abc") -> pd.DataFrame:
        return pd.DataFrame({"age": self.random.normal(age, 10, count), "plan": self.random.choice(list(plan), count)})

    def write_reference(self, frame: pd.DataFrame) -> None:
        folder = self.home / "bentoml" / "bentos" / "churn" / f"{1:016x}" / "src"
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(folder / "reference.parquet", index=False)

    def traffic(
        self,
        people: pd.DataFrame,
        *,
        prefix: str = "user",
        wrong: dict[str, float] | None = None,
        failing: dict[str, float] | None = None,
        canary_people: pd.DataFrame | None = None,
    ) -> None:
        """One request of each person; labels where ``wrong`` gives each arm's ratio of wrong predictions."""
        route = self.endpoint.route
        begin = BEGAN + timedelta(minutes=self._numbers)
        ours = people.to_dict(orient="records")
        theirs = ours if canary_people is None else canary_people.to_dict(orient="records")
        rows: dict[str, dict[str, list[dict[str, Any]]]] = {"attempts": {}, "predictions": {}, "labels": {"": []}}
        for index in range(len(people)):
            user, time = f"{prefix}-{index}", begin + timedelta(milliseconds=index)
            arm = assign(user, route)
            row = (ours if arm == route.stable else theirs)[index]
            common = {"request_id": f"{user}-r", "time": time, "user_id": user, "assigned": arm}
            has_failed = self.random.random() < (failing or {}).get(arm, 0.0)
            status = 503 if has_failed else 200
            attempt = {"override": "", "attempt": 1, "status": status, "flags": "", "latency_ms": 5.0}
            rows["attempts"].setdefault(arm, []).append(common | attempt | {"commit": self.served or self.head})
            truth = float(self.random.integers(0, 2))
            self.truths[row["age"]] = truth
            is_wrong = self.random.random() < (wrong or {}).get(arm, 0.0)
            predicted = {"row": 0, "model_digest": "d", "protocol": "mlflow", "status": "success", "latency_ms": 1.0}
            told = 1 - truth if is_wrong else truth
            predicted |= {"prediction": self.probability or told, "prediction_text": None}
            if self.scores:
                predicted |= {"prediction": None, "prediction_text": "[0.25,0.75]" if told else "[0.75,0.25]"}
            features = {f"feature_{name}": value for name, value in row.items()}
            rows["predictions"].setdefault(arm, []).append(common | predicted | features)
            if route.mirror and self.random.random() < route.mirror.share / 1000:
                other = {"prediction": 7.0} if self.random.random() < self.differing else {}
                copies = rows["predictions"].setdefault(route.mirror.deployment, [])
                copies.append(common | predicted | other | features)
            if wrong is not None and arm not in self.unlabelled:
                true = 1e308 if index < self.endless else truth
                label = {"request_id": f"{user}-r", "row": 0, "time": time + timedelta(seconds=1), "label": true}
                rows["labels"][""].append(label | {"label_text": None})
        for table, by_arm in rows.items():
            for arm, found in by_arm.items():
                if found:
                    self._file(table, found, arm)  # type: ignore[arg-type]
        self._numbers += 1

    def _file(self, table: Table, rows: list[dict[str, Any]], arm: str) -> None:
        place = partition(table, stage="production", endpoint="churn", day=rows[0]["time"], deployment=arm)
        folder = self.home / "events" / place
        folder.mkdir(parents=True, exist_ok=True)
        fixed = arrow_schema(COLUMNS[table])
        extra = [{n: v for n, v in row.items() if n not in fixed.names} for row in rows]
        features = list(pa.Table.from_pylist(extra).schema) if extra[0] else []
        if arm in self.narrow:
            features = [each.with_type(pa.float32()) if each.type == pa.float64() else each for each in features]
        written = pa.Table.from_pylist(rows, schema=pa.schema([*fixed, *features]))
        pq.write_table(written, folder / f"{self._numbers:06d}.parquet")

    # -- the command -----------------------------------------------------------------------------------------------

    @property
    def doors(self) -> Doors:
        ledger = Ledger(stage_name="production", open=lambda: self.repository)
        return Doors(
            environment={"MODELSERVE_HOME": str(self.home)},
            open_target=lambda uri: Nearby(uri=uri, ledger=ledger, here=self.machine),
            open_events=lambda root: EventStore(root, memory_mb=128, threads=1),
            now=lambda: self.now,
            identity=lambda: self.me,
            say=self.said.append,
            warn=self.warned.append,
            score=self.score,
            score_at=self.score_at,
            draw=draw,
            keep=self.kept.append,
        )

    def score(self, deployment: Deployment, rows: pd.DataFrame) -> list[float]:
        """A version that is started to be asked."""
        self.asked.append(deployment.name)
        self.asked_with = list(rows.columns)
        wrong = self.random.random(len(rows)) < self.before_is_wrong
        return [
            1 - self.truths[age] if is_wrong else self.truths[age]
            for age, is_wrong in zip(rows["age"], wrong, strict=True)
        ]

    def score_at(self, url: str, deployment: Deployment, rows: pd.DataFrame) -> list[float]:
        """A version that answers at an address."""
        self.asked_at.append((url, deployment.name))
        answers = self.score(deployment, rows)
        self.asked.pop()
        return answers

    def run(self, *arguments: str) -> int:
        self.said.clear()
        self.warned.clear()
        return main(list(arguments), doors=self.doors)

    def drift(self, *arguments: str) -> int:
        """``drift`` without waiting for Evidently."""
        out = str(self.root / "out")
        return self.run("drift", "--endpoint", "churn", "--no-report", "--out", out, *arguments)

    @property
    def text(self) -> str:
        return "\n".join(self.said)


def draw(_gathered: Any, _decided: Any, folder: Path) -> tuple[Path, ...]:
    """A report without Evidently."""
    (folder / "report.html").write_text("<html>")
    return (folder / "report.html",)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
