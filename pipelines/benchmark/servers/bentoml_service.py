"""BentoML's own way: an ``@api`` for each request (Plain), and one that its dispatcher batches (Batchable)."""

import os
from typing import Any

import bentoml
import models
import numpy as np


@bentoml.service(name="plain")
class Plain:
    """One call of the model for each request."""

    def __init__(self) -> None:
        self._predict = models.load(os.environ["BENCHMARK_MODEL"])

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, features: np.ndarray) -> dict[str, Any]:
        """Answer one request."""
        return {"prediction": self._predict(features).tolist()}


@bentoml.service(name="batchable")
class Batchable:
    """One call of the model for those who wait."""

    def __init__(self) -> None:
        self._predict = models.load(os.environ["BENCHMARK_MODEL"])

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)  # type: ignore[untyped-decorator]
    def predict(self, features: np.ndarray) -> np.ndarray:
        """Answer a batch."""
        return np.asarray(self._predict(features))
