"""Doors to people: a webhook that takes Slack's JSON, and issues of a repository on GitHub. Decide nothing.

An issue is its own memory: its text carries the fingerprint, so that while it is open nothing is said twice. A webhook
remembers nothing; whoever calls it knows what was told. Addresses of webhooks and tokens are secrets: no text of ours
has them, no error either.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from mlflow_deploy_plugin.errors import ConfigError, ModelserveError, RetryLaterError
from mlflow_deploy_plugin.manifests.trailers import one_line
from pipelines.promotion.notices import Notice

if TYPE_CHECKING:
    import httpx

TIMEOUT_S: Final = 20.0
LABEL: Final = "modelserve"
"""Of our issues: only issues with it are looked through."""
PAGE: Final = 100
MOST_PAGES: Final = 10
_REFUSED: Final = frozenset({401, 403, 404, 410, 422})
_LIMITED: Final = 429


class Notifier(Protocol):
    """Whoever tells people."""

    def tell(self, notice: Notice) -> str:
        """Tell it; what was done, in words.

        Raises:
            RetryLaterError: nobody answers.
            ModelserveError: they refuse.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An address that takes ``{"text": …}`` by POST, as Slack's incoming webhooks do."""

    url: str
    transport: "httpx.BaseTransport | None" = None

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in {"http", "https"} or not urlsplit(self.url).hostname:
            raise ConfigError("a webhook's address is none; write one such as https://hooks.example.org/T0/B0")

    def tell(self, notice: Notice) -> str:
        """Post it, every time."""
        text = f"{notice.title}: {one_line(notice.reason)}"
        for sign, spelled in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):  # Slack reads <!channel> and the like
            text = text.replace(sign, spelled)
        _asked(self.transport, "the webhook", "POST", self.url, json={"text": text})
        return "told the webhook"


@dataclass(frozen=True, slots=True, kw_only=True)
class GithubIssues:
    """One open issue a fingerprint, by GitHub's REST API."""

    repository: str
    """OWNER/NAME."""
    token: str
    api: str = "https://api.github.com"
    transport: "httpx.BaseTransport | None" = None

    def __post_init__(self) -> None:
        if self.repository.count("/") != 1 or not all(self.repository.split("/")):
            raise ConfigError(f"repository {self.repository!r} is not OWNER/NAME, as GitHub writes it")
        if not self.token:
            raise ConfigError("no token for GitHub's issues; set GITHUB_TOKEN, with the permission issues: write")

    def tell(self, notice: Notice) -> str:
        """Open an issue; whether one is open already, :meth:`knows` says."""
        made = self._asked("POST", "issues", json={"title": notice.title, "body": _body(notice), "labels": [LABEL]})
        return f"opened issue {made.get('html_url') or made.get('number')}"

    def knows(self, fingerprint: str) -> bool:
        """Whether an issue with this fingerprint is open."""
        for page in range(1, MOST_PAGES + 1):
            asked = {"state": "open", "labels": LABEL, "per_page": str(PAGE), "page": str(page)}
            issues = self._asked("GET", "issues", params=asked)
            if any(marker(fingerprint) in str(issue.get("body") or "") for issue in issues):
                return True
            if len(issues) < PAGE:
                break
        return False

    def _asked(self, method: str, path: str, **content: Any) -> Any:  # noqa: ANN401  whatever JSON gives
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        url = f"{self.api.rstrip('/')}/repos/{self.repository}/{path}"
        what = f"GitHub's issues of {self.repository}"
        answer = _asked(self.transport, what, method, url, headers=headers, **content)
        try:
            return answer.json()
        except ValueError as error:
            raise ModelserveError(f"{what}: the answer is no JSON; is GITHUB_API_URL right?") from error


def marker(fingerprint: str) -> str:
    """What an issue's text carries; Markdown does not show it."""
    return f"<!-- {LABEL}-fingerprint: {fingerprint} -->"


def _body(notice: Notice) -> str:
    """Quoted, so that nothing in a reason calls a person or closes another issue."""
    told = one_line(notice.reason).replace("`", "'")
    rows = {
        "stage": notice.stage,
        "endpoint": notice.endpoint,
        "deployments": ", ".join(notice.deployments),
        "rule": notice.rule,
        "window": notice.window,
    }
    lines = [f"- {key}: `{one_line(text)}`" for key, text in rows.items()]
    history = f"`python -m pipelines history --endpoint {notice.endpoint}` says what was done, and the evidence why."
    closed = "While this issue is open, the same is not told again."
    return "\n".join([f"    {told}", "", *lines, "", history, closed, "", marker(notice.fingerprint)])


def _asked(
    transport: "httpx.BaseTransport | None",
    what: str,
    method: str,
    url: str,
    **content: Any,  # noqa: ANN401  httpx's own
) -> "httpx.Response":
    import httpx  # noqa: PLC0415  a light command must not pay for it

    try:
        with httpx.Client(transport=transport, timeout=TIMEOUT_S, trust_env=True) as client:
            answer = client.request(method, url, **content)
    except httpx.TransportError as error:
        raise RetryLaterError(f"{what} cannot be reached ({type(error).__name__}); try again later") from None
    if answer.is_success:
        return answer
    is_limited = answer.status_code == _LIMITED or answer.headers.get("x-ratelimit-remaining") == "0"
    if answer.status_code in _REFUSED and not is_limited:
        raise ConfigError(
            f"{what}: refused with status {answer.status_code}; look at the address, the token and its rights"
        )
    raise RetryLaterError(f"{what}: status {answer.status_code}; try again later")
