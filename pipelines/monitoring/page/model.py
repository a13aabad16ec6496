"""What the page shows. Values only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pipelines.monitoring.accuracy import Accuracy

Role = Literal["stable", "canary", "shadow", "beside", "gone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One commit that touched the endpoint."""

    time: datetime
    commit: str
    author: str
    subject: str
    action: str
    """By its trailers; ``edit`` where a person or another program made it."""
    weights: Mapping[str, int]
    """The split afterwards, of 1000; empty where the endpoint could not be read."""
    reason: str = ""
    evidence: str = ""
    """Text of the file that was committed beside it; empty: none was."""
    evidence_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Attempts of the gateway at one deployment in one stretch of time."""

    deployment: str
    began: datetime
    attempts: int
    failed: int
    median_ms: float | None = None
    p99_ms: float | None = None
    """Of attempts that did not fail; None without any."""

    @property
    def failed_share(self) -> float:
        """Of the attempts, 0 to 1."""
        return self.failed / self.attempts if self.attempts else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRun:
    """One look of the drift job."""

    time: datetime
    headline: str
    reasons: Sequence[str]
    scores: Mapping[tuple[str, str], float]
    """Deployment and feature to effect against the training sample, 0 to 1."""
    links: Sequence[str] = ()
    """Reports that were drawn, as addresses relative to the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One deployment as it stands now, and what the window says of it."""

    name: str
    role: Role
    weight: int
    """Of 1000."""
    model: str
    users: int = 0
    whole: Traffic | None = None
    """Its traffic of the whole window; ``None``: it had none."""
    accuracy: Accuracy | None = None
    """Of the whole window; ``None``: no label has arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Everything."""

    endpoint: str
    stage: str
    made: datetime
    begin: datetime
    """Of the window; it ends when the page was made."""
    commit: str
    phase: str
    hold: str
    """Why a version is held; empty: none is."""
    versions: Sequence[Version]
    changes: Sequence[Change]
    """Newest first; those of the window and the one before it."""
    traffic: Sequence[Traffic] = ()
    accuracies: Sequence[Accuracy] = ()
    every: str = ""
    """Length of one stretch of traffic and accuracy, in words."""
    drift: Sequence[DriftRun] = ()
    """Newest first."""
    notes: Sequence[str] = field(default_factory=tuple)
    """What is missing or could not be read."""
