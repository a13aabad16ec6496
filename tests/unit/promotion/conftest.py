"""Evidence with a valid default: a canary like its stable, and inputs like the training sample."""

from collections.abc import Callable
from typing import Any

import pytest

from pipelines.promotion.drift.evidence import (
    Arm,
    DriftEvidence,
    Performance,
    Reference,
    UserTally,
    Window,
)


def tally(users: int, events: int, share: float) -> UserTally:
    return UserTally(exposed=(users,), events=(events,), shares=(share,))


def arm(name: str, *, users: int, share: float, wrong: float = 0.1, failing: float = 0.0, **fields: Any) -> Arm:
    defaults: dict[str, Any] = {
        "model_digest": f"sha256:{name}",
        "weight": round(share * 1000),
        "rows": users,
        "users": users,
        "failures": tally(users, round(users * failing), share),
        "performance": Performance(wrong=tally(users, round(users * wrong), share), coverage=1.0),
    }
    return Arm(deployment=name, **{**defaults, **fields})


@pytest.fixture
def make_evidence() -> Callable[..., DriftEvidence]:
    def make(**fields: Any) -> DriftEvidence:
        defaults: dict[str, Any] = {
            "endpoint": "churn",
            "stage": "production",
            "commit": "c0ffee",
            "rollout": "",
            "window": Window(since="2026-01-01T00:00:00+00:00", until="2026-01-02T00:00:00+00:00"),
            "stable": arm("churn", users=1200, share=0.6),
            "canaries": (arm("churn-v2", users=800, share=0.4),),
            "reference": Reference(source="churn:1", digest="sha256:9", rows=5000),
            "features_tested": 9,
        }
        return DriftEvidence(**{**defaults, **fields})

    return make
