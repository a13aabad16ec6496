r"""What became of a push, read from git's machine-readable answer. Pure.

The texts are those of git itself, of GitHub and of GitLab; a push that lost a race is told from one that is refused.

>>> judge(1, "!\trefs/heads/x:refs/heads/main\t[rejected] (fetch first)\nDone", "")
Rejected(reason='fetch first')
>>> judge(1, "!\tx:refs/heads/main\t[remote rejected] (pre-receive hook declined)", "remote: no weights on Fridays")
Refused(reason='pre-receive hook declined', said='no weights on Fridays')
"""

import re
from dataclasses import dataclass
from typing import Final

_LINE: Final = re.compile(r"^!\t[^\t]*\t\[(?:remote )?(?:rejected|failure)\] \((.*)\)\s*$", re.MULTILINE)
_LOST_RACE: Final = re.compile(
    r"non-fast-forward|fetch first|stale info|needs force|remote ref updated since checkout"
    r"|cannot lock ref.*|failed to (?:update|lock) ref.*|incorrect old value provided"
    r"|reference already exists|failed to lock",
)
_REMOTE_LINE: Final = re.compile(r"^remote: ?(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The branch is at our commit."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Somebody else was quicker: try again on their commit."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The repository does not take it, now or later."""

    reason: str
    said: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The answer got lost: the branch may be at our commit or not."""


Pushed = Accepted | Rejected | Refused | Unknown


def judge(status: int, porcelain: str, err: str) -> Pushed:
    """The outcome of ``git push --porcelain`` by its exit status and its outputs."""
    if status == 0:
        return Accepted()
    hit = _LINE.search(porcelain) or _LINE.search(err)
    if hit is None:
        return Unknown()
    reason = hit[1]
    if _LOST_RACE.fullmatch(reason):
        return Rejected(reason)
    return Refused(reason, " ".join(" ".join(_REMOTE_LINE.findall(err)).split()))
