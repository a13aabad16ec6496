"""Which repository and stage a target URI means.

``modelserve``                                             this machine's own repository and agent
``modelserve:/path/to/repo?stage=staging``                 a repository on this machine
``modelserve:/ssh://git@host/repo.git?stage=production``   any that git can push to: ssh, https, http, git, file
``modelserve:/git@host:team/repo.git``                     git's short form of ssh

Options: ``stage`` (default ``production``), ``branch`` (default ``main``), ``gateway`` (URL that predictions go to),
``mode`` (``direct`` pushes to the branch, ``pull-request`` to one of its own that a person merges), ``root`` (folder of
the repository that the tree lies in; default: the repository itself).
Opens nothing: whether the repository exists is the repository room's to say.
"""

import difflib
import re
from dataclasses import dataclass
from typing import Final, Literal, Self
from urllib.parse import SplitResult, unquote, urlsplit

from mlflow_deploy_plugin.config.environment import DEFAULT_STAGE
from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.spec.names import require_label

NAME: Final = "modelserve"
DEFAULT_BRANCH: Final = "main"
OPTIONS: Final = ("stage", "branch", "gateway", "mode", "root")
Mode = Literal["direct", "pull-request"]
TRANSPORTS: Final = ("ssh", "https", "http", "git", "file")
FORMS: Final = f"{NAME}, {NAME}:/path/to/repo?stage=STAGE or {NAME}:/ssh://git@host/repo.git?stage=STAGE"

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SCP: Final = re.compile(r"[A-Za-z0-9_][\w.-]*@[A-Za-z0-9][\w.-]*:(?!//).+")
_ROOT: Final = re.compile(r"(?!.*(?:^|/)\.\.?(?:/|$))[\w.@+-]+(?:/[\w.@+-]+)*")
_BRANCH: Final = re.compile(r"(?!.*(?:\.\.|//|@\{|\.lock(?:/|$)))[A-Za-z0-9_][\w./+@#-]*(?<![./])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A GitOps repository and the stage in it."""

    repository: str | None = None
    """URL or absolute path for git; ``None``: the machine's own, in its home."""
    stage: str = DEFAULT_STAGE
    branch: str = DEFAULT_BRANCH
    gateway: str = ""
    """``http://host:port`` without a slash at its end; empty: the agent's, or the Gateway's address annotation."""
    mode: Mode = "direct"
    """How a change reaches the branch."""
    root: str = ""
    """Folder of the repository that the tree lies in, without slashes around it; empty: the repository itself."""

    @property
    def is_local(self) -> bool:
        """Whether this machine's own repository and agent are meant."""
        return self.repository is None

    @classmethod
    def parse(cls, uri: str, *, own_stage: str = DEFAULT_STAGE) -> Self:
        """The target that ``uri`` names; ``own_stage`` is what this machine's agent serves.

        >>> Target.parse("modelserve:/srv/gitops.git?stage=staging").repository
        '/srv/gitops.git'
        >>> Target.parse("modelserve").is_local
        True

        Raises:
            ConfigError: the URI breaks a rule.
        """
        repository, options = _split(uri)
        if repository is None:
            _require_own(uri, options, own_stage)
            return cls(stage=own_stage)
        return cls(
            repository=repository,
            stage=require_label(options.get("stage", DEFAULT_STAGE), what="stage"),
            branch=_branch(options.get("branch", DEFAULT_BRANCH)),
            gateway=_gateway(options["gateway"]) if "gateway" in options else "",
            mode=_mode(options.get("mode", "direct")),
            root=_root(options.get("root", "")),
        )

    def __str__(self) -> str:
        """The URI that means this target, fit for a log: without a password."""
        if self.repository is None:
            return NAME
        shown = re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", self.repository)
        options = [f"stage={self.stage}"]
        options += [f"branch={self.branch}"] * (self.branch != DEFAULT_BRANCH)
        options += [f"gateway={self.gateway}"] * bool(self.gateway)
        options += [f"mode={self.mode}"] * (self.mode != "direct")
        options += [f"root={self.root}"] * bool(self.root)
        return f"{NAME}:{shown if shown.startswith('/') else '/' + shown}?{'&'.join(options)}"


def with_stage(uri: str, stage: str) -> str:
    """The same repository, another stage; this machine's own has only the one that its agent serves.

    >>> with_stage("modelserve:/srv/gitops.git?stage=staging&branch=live", "production")
    'modelserve:/srv/gitops.git?branch=live&stage=production'
    """
    place, _, query = uri.strip().partition("?")
    if not place.partition(":")[2].strip("/"):
        return uri
    others = [part for part in query.split("&") if part and not part.startswith("stage=")]
    return f"{place}?{'&'.join([*others, f'stage={stage}'])}"


def _split(uri: str) -> tuple[str | None, dict[str, str]]:
    """Repository and options of ``uri``."""
    scheme, _, rest = uri.strip().partition(":")
    if scheme.lower() != NAME:
        raise ConfigError(f"target {uri!r} does not begin with {NAME!r}; write {FORMS}")
    place, _, query = rest.partition("?")
    if place.startswith("//"):
        raise ConfigError(f"target {uri!r} has '//' after {NAME!r}; {_advice(place)}")
    return (_repository(uri, place) if place.strip("/") else None), _options(uri, query)


def _advice(place: str) -> str:
    rest = place.lstrip("/")
    if _URL.match(rest) or _SCP.fullmatch(rest) or place.startswith("///"):
        return f"write {NAME}:/{rest}"
    return f"write {NAME}:/{rest} for a path on this machine, or {NAME}:/ssh://{rest} for a server"


def _repository(uri: str, place: str) -> str:
    inner = place.removeprefix("/")
    if url := _URL.match(inner):
        return _remote(uri, inner, url[1])
    if _SCP.fullmatch(inner):
        return inner
    if not place.startswith("/") or inner.startswith("~"):
        raise ConfigError(f"target {uri!r} names its repository by a path that is not absolute; write {FORMS}")
    return place


def _remote(uri: str, url: str, transport: str) -> str:
    if transport.lower() not in TRANSPORTS:
        raise ConfigError(f"target {uri!r} uses {transport!r}; git is reached by {', '.join(TRANSPORTS)}")
    parts = _parts(url, what="repository")
    needs_host = transport.lower() != "file"
    if not parts.path.strip("/") or (needs_host and (not parts.hostname or parts.hostname.startswith("-"))):
        raise ConfigError(f"target {uri!r} lacks the host or the path of its repository; write {FORMS}")
    return transport.lower() + url[len(transport) :]


def _parts(url: str, *, what: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # read for its check: a port that is no number raises here
    except ValueError as error:
        raise ConfigError(f"{what} {url!r} is not a URL ({error}); write scheme://host:port/path") from error
    return parts


def _options(uri: str, query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        key, _, text = part.partition("=")
        if key not in OPTIONS:
            near = difflib.get_close_matches(key, OPTIONS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(OPTIONS)}"
            raise ConfigError(f"target {uri!r} has unknown option {key!r}; {hint}")
        if key in options:
            raise ConfigError(f"target {uri!r} gives {key!r} twice; keep one")
        if not text:
            raise ConfigError(f"target {uri!r} gives {key!r} no value; write {key}=VALUE or leave it out")
        options[key] = unquote(text)
    return options


def _require_own(uri: str, options: dict[str, str], own_stage: str) -> None:
    """The machine's own repository has one stage, which its agent serves, and its own gateway."""
    stage = options.pop("stage", own_stage)
    if stage != own_stage:
        raise ConfigError(
            f"target {uri!r} asks for stage {stage!r} of this machine, whose agent serves {own_stage!r};"
            " use a second home: MODELSERVE_HOME=DIR MODELSERVE_PORT=PORT MODELSERVE_STAGE=STAGE"
        )
    if options:
        raise ConfigError(f"target {uri!r} names no repository, so {next(iter(options))!r} cannot apply; write {FORMS}")


def _branch(text: str) -> str:
    if _BRANCH.fullmatch(text):
        return text
    raise ConfigError(f"branch {text!r} is not a name that git takes; see 'git check-ref-format --branch'")


def _mode(text: str) -> Mode:
    match text:
        case "direct" | "pull-request":
            return text
        case _:
            raise ConfigError(f"mode {text!r} is not known; write mode=direct or mode=pull-request")


def _root(text: str) -> str:
    folder = text.strip("/")
    if not folder or _ROOT.fullmatch(folder):
        return folder
    raise ConfigError(f"root {text!r} is not a folder of the repository; write root=gitops or root=teams/a/gitops")


def _gateway(text: str) -> str:
    parts = _parts(text, what="gateway")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"gateway {text!r} is not the URL of a gateway; write gateway=http://HOST:PORT")
    return text.rstrip("/")
