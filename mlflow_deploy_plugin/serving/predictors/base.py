"""The seam of the model kinds: what a predictor does, and what is told of it once it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow_deploy_plugin.serving.request import Payload, Wants
    from mlflow_deploy_plugin.serving.signature import Signature
    from mlflow_deploy_plugin.spec.bento import BentoSpec
    from mlflow_deploy_plugin.spec.settings import ServingSettings


class Output(NamedTuple):
    """What a model says to a batch."""

    prediction: Any
    probability: Any = None


class Predictor(Protocol):
    """Runs batches. All calls come from one thread at a time, streams excepted."""

    @property
    def name(self) -> str:
        """Which path serves: ``pyfunc``, ``sklearn-array``…."""

    def predict(self, payload: Payload, params: Mapping[str, Any] | None, wants: Wants) -> Output:
        """The model's own output for the payload's rows.

        Raises:
            RequestError: INVALID where the payload breaks the signature; any other exception is the model's.
        """

    def stream(self, payload: Payload, params: Mapping[str, Any] | None) -> Iterator[Any]:
        """The model's answer piece by piece; only where ``Loaded.is_streamable``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """What a loader is given."""

    folder: Path
    """The MLflow model folder."""
    compiled: Path
    """Folder of the compiled form; it may not be there."""
    mlmodel: Mapping[str, Any]
    """Its MLmodel file, parsed."""
    signature: Signature
    spec: BentoSpec
    settings: ServingSettings
    worker: int
    """Index of this worker on its machine, from 0: picks its GPU where it sees several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model that is ready to be asked."""

    predictor: Predictor
    reason: str
    """Why this path serves, for the log."""
    classes: tuple[Any, ...] = ()
    """Class labels of a classifier, as the model says them."""
    has_probability: bool = False
    is_streamable: bool = False
    can_batch: bool = True
    may_run_inline: bool = False
    """Pure computation that always returns: short calls may run on the event loop."""
    judge: Predictor | None = None
    """Who says whether rows see each other, where the predictor's digits are too few to tell that from its rounding:
    the same computation in more digits. None: the predictor itself."""
    is_lean: bool = False
    """Whether the generic path sleeps until a request needs it, so that the warm-up must not wake it."""
    fallbacks: tuple[str, ...] = field(default=())
    """Paths that were tried and not taken, each with its reason."""


Loader = Callable[[LoadRequest], Loaded]
