"""HTTP to a gateway or to a Bento: one verb a question, errors as :class:`ScoringError`.

The gateway's own answers are told from the model's by what they say: the model's errors are JSON with ``message``.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from mlflow_deploy_plugin.errors import ConfigError, RetryLaterError, ScoringError
from mlflow_deploy_plugin.scoring.events import Event, read_events
from mlflow_deploy_plugin.scoring.plain import Plain, strict_json, to_plain
from mlflow_deploy_plugin.scoring.rebuild import LLM_KEYS
from mlflow_deploy_plugin.spec.headers import MODEL_VERSION, USER_ID

if TYPE_CHECKING:
    import httpx

JSON: Final = "application/json"
CONNECT_TIMEOUT_S: Final = 5.0
RETRY_DELAYS_S: Final = (0.1, 0.2, 0.4, 0.8)  # a gateway that restarts is back within two seconds
_SHOWN: Final = 300  # characters of a foreign text that a one-line message carries


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Who is asked: an endpoint behind a gateway, perhaps one deployment of it."""

    gateway: str
    """``http://host:port``."""
    endpoint: str
    deployment: str = ""
    """Non-empty: this deployment answers, outside the split."""
    user: str = ""
    """Non-empty: the split keeps this user's version."""

    def url(self, route: str) -> str:
        """Address of ``route`` of the endpoint.

        >>> Address(gateway="http://127.0.0.1:8080", endpoint="churn").url("invocations")
        'http://127.0.0.1:8080/endpoints/churn/invocations'
        """
        return f"{self.gateway}/endpoints/{self.endpoint}/{route}"

    @property
    def headers(self) -> dict[str, str]:
        """Request headers that choose who answers."""
        chosen = {MODEL_VERSION: self.deployment, USER_ID: self.user}
        return {name: value for name, value in chosen.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a question may take; MLflow's own variables say so."""

    request_s: float = 120.0
    """Seconds between two bytes of one attempt: ``MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT``."""
    total_s: float = 600.0
    """Seconds over all attempts: ``MLFLOW_DEPLOYMENT_PREDICT_TOTAL_TIMEOUT``."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """What ``environment`` says.

        >>> Timeouts.from_environment({"MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT": "5"}).request_s
        5.0
        """
        return cls(
            request_s=_seconds(environment, "MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT", 120.0),
            total_s=_seconds(environment, "MLFLOW_DEPLOYMENT_PREDICT_TOTAL_TIMEOUT", 600.0),
        )


class Scorer(Protocol):
    """What can be asked of a served model."""

    def invoke(self, address: Address, body: dict[str, Any]) -> Plain:
        """Predictions, as the server answered."""
        ...

    def explain(self, address: Address, body: dict[str, Any]) -> Plain:
        """Explanations, as the server answered."""
        ...

    def stream(self, address: Address, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Events of one answer, as they come."""
        ...

    def post(self, address: Address, content: bytes, content_type: str) -> Plain:
        """Predictions for a body that somebody else wrote."""
        ...

    def metadata(self, address: Address) -> Plain:
        """The v2 metadata of the model; ``None`` where it says nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpScorer:
    """The real one, over httpx."""

    timeouts: Timeouts = field(default_factory=Timeouts)
    transport: "httpx.BaseTransport | None" = None
    """Another transport for tests; httpx ships a mock."""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def invoke(self, address: Address, body: dict[str, Any]) -> Plain:
        """Predictions, as the server answered.

        Raises:
            ScoringError: it answered with an error.
            RetryLaterError: nothing answers there, or not in time.
        """
        return self.post(address, strict_json(body).encode(), JSON)

    def post(self, address: Address, content: bytes, content_type: str) -> Plain:
        """Predictions for a body that somebody else wrote; errors as :meth:`invoke`."""
        return self._post(address, "invocations", content, content_type)

    def ask(self, url: str, body: dict[str, Any]) -> Plain:
        """What a server of any kind answers at ``url``; errors as :meth:`invoke`."""
        return self._sent(url, {"content-type": JSON, "accept": JSON}, strict_json(body).encode())

    def explain(self, address: Address, body: dict[str, Any]) -> Plain:
        """Explanations, as the server answered; errors as :meth:`invoke`."""
        return self._post(address, "explain", strict_json(body).encode(), JSON)

    def metadata(self, address: Address) -> Plain:
        """The v2 metadata; ``None`` where the server has none or does not answer."""
        url = f"{address.gateway}/v2/models/{address.endpoint}"
        with self._client() as client:
            try:
                response = self._send(client, lambda: client.get(url, headers=address.headers), url)
            except RetryLaterError:
                return None
        try:
            return to_plain(response.json()) if response.is_success else None
        except ValueError:
            return None

    def stream(self, address: Address, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Events of one answer, as they come; a server that does not stream gives one event.

        Raises:
            ScoringError: the server answered with an error, or sent one as an event.
            RetryLaterError: nothing answers there, or not in time.
        """
        import httpx  # noqa: PLC0415  a light command must not pay for it

        is_chat = any(key in body for key in LLM_KEYS)  # such servers look into the body, others at the header
        content = strict_json({**body, "stream": True} if is_chat else body).encode()
        headers = {**address.headers, "content-type": JSON, "accept": "text/event-stream"}
        url = address.url("invocations")
        with self._client() as client:
            request = client.build_request("POST", url, content=content, headers=headers)
            response = self._send(client, lambda: client.send(request, stream=True), url)
            try:
                yield from _streamed(response)
            except httpx.TransportError as error:
                raise RetryLaterError(f"{url} broke off its answer ({error}); ask again") from error
            finally:
                response.close()

    def _post(self, address: Address, route: str, content: bytes, content_type: str) -> Plain:
        headers = {**address.headers, "content-type": content_type, "accept": JSON}
        return self._sent(address.url(route), headers, content, wanted=address.deployment)

    def _sent(self, url: str, headers: dict[str, str], content: bytes, *, wanted: str = "") -> Plain:
        """The answer, which no other deployment than ``wanted`` may have given."""
        with self._client() as client:
            response = self._send(client, lambda: client.post(url, content=content, headers=headers), url)
        if not response.is_success:
            raise _refusal(response.status_code, response.text, url)
        if wanted and (answered := response.headers.get(MODEL_VERSION, wanted)) != wanted:
            raise ScoringError(
                f"{url} was asked for {wanted} and answered by {answered}: the endpoint lets nobody pick a deployment;"
                " allow it (-C override=on), or name the deployment's own address",
                status=HTTPStatus.CONFLICT,
            )
        return _document(response.text, url)

    def _client(self) -> "httpx.Client":
        import httpx  # noqa: PLC0415  a light command must not pay for it

        timeout = httpx.Timeout(self.timeouts.request_s, connect=CONNECT_TIMEOUT_S)
        return httpx.Client(timeout=timeout, transport=self.transport, trust_env=False)

    def _send(self, client: "httpx.Client", send: "Callable[[], httpx.Response]", url: str) -> "httpx.Response":
        """One answer. Tried again only where no connection was made: a model may act on what it reads."""
        import httpx  # noqa: PLC0415  a light command must not pay for it

        began = self.clock()
        for delay_s in (*RETRY_DELAYS_S, None):
            client.timeout = httpx.Timeout(self._left_s(began, url), connect=CONNECT_TIMEOUT_S)
            try:
                return send()
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if delay_s is None:
                    raise RetryLaterError(f"nothing answers at {url} ({error}); see `modelserve status`") from error
                self.sleep(delay_s)
            except httpx.TimeoutException as error:
                raise RetryLaterError(_too_slow(url, self.timeouts.request_s)) from error
            except httpx.TransportError as error:
                raise RetryLaterError(f"{url} broke the connection ({error}); ask again") from error
            except httpx.InvalidURL as error:
                raise ConfigError(f"{url!r} is no address ({error}); name one as ?gateway=http://HOST:PORT") from error
        raise AssertionError("the last try returns or raises")

    def _left_s(self, began: float, url: str) -> float:
        left_s = self.timeouts.total_s - (self.clock() - began)
        if left_s <= 0:
            raise RetryLaterError(_too_slow(url, self.timeouts.total_s))
        return min(left_s, self.timeouts.request_s)


def _too_slow(url: str, seconds: float) -> str:
    return f"{url} did not answer within {seconds:g} s; raise MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT (s) or send fewer rows"


def _seconds(environment: Mapping[str, str], variable: str, default: float) -> float:
    text = environment.get(variable, "")
    try:
        seconds = float(text) if text else default
    except ValueError as error:
        raise ConfigError(f"{variable}={text!r} is not a number of seconds; unset it for {default:g}") from error
    if seconds > 0:
        return seconds
    raise ConfigError(f"{variable}={text!r} is not above 0 seconds; unset it for {default:g}")


def _streamed(response: "httpx.Response") -> Iterator[dict[str, Any]]:
    if not response.is_success:
        raise _refusal(response.status_code, response.read().decode(errors="replace"), str(response.url))
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        yield _as_event(_document(response.read().decode(), str(response.url)))
        return
    for event in read_events(response.iter_lines()):
        yield _as_event(_told(event, str(response.url)))


def _told(event: Event, url: str) -> Plain:
    document = _document(event.data, url)
    is_error = event.name == "error" or (isinstance(document, dict) and set(document) & {"error", "error_code"})
    if is_error:
        raise _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, event.data, url)
    return document


def _as_event(document: Plain) -> dict[str, Any]:
    return document if isinstance(document, dict) else {"predictions": document}


def _document(text: str, url: str) -> Plain:
    try:
        return to_plain(json.loads(text))
    except ValueError as error:
        raise ScoringError(
            f"{url} answered with something that is not JSON ({_short(text)!r}); is it a model server?",
            status=HTTPStatus.BAD_GATEWAY,
        ) from error


def _refusal(status: int, text: str, url: str) -> ScoringError:
    """The server's own words; MLflow, KServe and plain ASGI servers put them under different keys."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    stated = document if isinstance(document, dict) else {}
    words = next((str(stated[key]) for key in ("message", "error", "detail") if stated.get(key)), text)
    return ScoringError(f"{url} answered {status}: {_short(words) or HTTPStatus(status).phrase}", status=status)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
