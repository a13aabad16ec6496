"""The seam of the protocols: what a codec declares and does.

A codec lists its routes once; the engine asks it to ``decode`` the call of an :class:`Infer` route, runs the model and
asks it to ``encode`` the answer. An :class:`Answer` route (health, metadata) needs no model. Codecs hold no state that
changes, since ``decode`` of a large body runs in a thread of its own.

Paths: literal segments, ``{name}`` for one segment and ``{name}:verb`` for TensorFlow's form. Every path is served
under ``/endpoints/{any}`` as well; the router does that, no codec need say it.

A new protocol: a module here with one class, and its factory in :data:`..codecs.FACTORIES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow_deploy_plugin.attribution.explanation import Explanation
    from mlflow_deploy_plugin.serving.faults import RequestError
    from mlflow_deploy_plugin.serving.request import Caller, Request, Response
    from mlflow_deploy_plugin.serving.signature import Signature

JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """What is known of the served model without asking it anything."""

    endpoint: str
    """Name of the endpoint; empty when the Bento runs alone."""
    deployment: str
    """``x-model-version`` and the metric label."""
    model_name: str
    model_version: str
    flavor: str
    folder: Path
    """The MLflow model folder."""
    signature: Signature
    classes: tuple[Any, ...] = ()
    """Class labels of a classifier, as the model says them and in order; empty: not one, or not known."""
    has_probability: bool = False
    is_streamable: bool = False
    example: Any = None
    """The saved serving input example: a JSON value that ``/invocations`` takes; None where there is none."""


class Call(NamedTuple):
    """One request on the wire, its body complete."""

    method: str
    route: Route
    captures: Mapping[str, str]
    headers: Mapping[bytes, bytes]  # names in lower case; of a repeated name the last
    query: bytes
    body: bytes
    caller: Caller


class Reply(NamedTuple):
    """One answer on the wire. The engine adds content-length, x-model-version and x-request-id."""

    status: int
    content_type: bytes
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Infer:
    """A route that runs the model."""

    path: str
    methods: tuple[str, ...] = ("POST",)
    verb: str = "predict"
    """What the codec calls it, so that ``decode`` and ``encode`` need not read the path again."""
    has_tail: bool = False
    """Whether binary tensors may follow the text of a body, which ends where a header says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A route that is answered at once, without the model; ``answer`` may raise RequestError."""

    path: str
    answer: Callable[[Call], Reply]
    methods: tuple[str, ...] = ("GET",)
    verb: str = "answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explain:
    """A route that says what moved the answers of a request; its codec is an :class:`ExplainingCodec`."""

    path: str
    methods: tuple[str, ...] = ("POST",)
    verb: str = "explain"


Route = Infer | Answer | Explain


class Speaker(Protocol):
    """Whoever owns routes, and words for their failures."""

    @property
    def name(self) -> str:
        """Label in the log and the metrics: ``mlflow``, ``rest``, ``oip`` and so on."""

    def encode_error(self, error: RequestError, call: Call, request: Request | None = None) -> Reply:
        """The protocol's own words and status for ``error``; ``request`` where decoding had succeeded.

        Raises:
            AsleepError: the words need what is not imported yet; never where ``error`` has no cause.
        """


class Codec(Speaker, Protocol):
    """One wire protocol."""

    def routes(self) -> Sequence[Route]:
        """All routes; read once, when the application is made."""

    def decode(self, call: Call) -> Request:
        """The neutral request.

        Raises:
            RequestError: MALFORMED, INVALID or UNSUPPORTED_TYPE; nothing else may escape for any bytes.
        """

    def encode(self, response: Response, request: Request, call: Call) -> Reply:
        """The answer; NaN and infinity become what the protocol can say."""


@runtime_checkable
class StreamingCodec(Protocol):
    """A codec that can also send an answer piece by piece; asked where ``Request.is_stream``."""

    @property
    def stream_type(self) -> bytes:
        """Content type of the stream."""

    def encode_chunk(self, chunk: Any) -> bytes:  # noqa: ANN401  a model may yield anything
        """One piece."""

    def encode_stream_error(self, error: RequestError) -> bytes:
        """The last piece of a stream that broke."""

    def encode_end(self) -> bytes:
        """The last piece of a whole stream."""


@runtime_checkable
class ExplainingCodec(Codec, Protocol):
    """A codec that has words for explanations; ``decode`` reads what is explained as it reads what is predicted."""

    def encode_explanation(self, explanation: Explanation, request: Request, call: Call) -> Reply:
        """The answer."""


class Totals(NamedTuple):
    """What the workers of one Bento have done since they started, for protocols that tell it."""

    requests: int = 0
    """Requests that got a prediction."""
    requests_s: float = 0.0
    """Their latency in all."""
    errors: int = 0
    """Requests that the model failed."""
    errors_s: float = 0.0
    queue_s: float = 0.0
    """Waiting for the model."""
    batches: int = 0
    """Calls of the model."""
    compute_s: float = 0.0
    rows: int = 0
    """Rows of all calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What a codec is made with."""

    model: ModelDescription
    is_ready: Callable[[], bool]
    """Whether the warm-up was answered and no drain has begun."""
    totals: Callable[[], Totals] = Totals
    max_values: int = 2**21
    """Values of a message that are read at once, as :class:`..body.BodyLimits` has it for those of a text."""


Factory = Callable[[Host], Codec]
