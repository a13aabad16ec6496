"""Changes that a person merges: the branch that carries one, and where its pull request is opened. Pure.

>>> review("git@github.com:team/models.git", branch="modelserve/4f1", into="main")
'open https://github.com/team/models/compare/main...modelserve/4f1?expand=1 to have it merged'
>>> review("/srv/models.git", branch="modelserve/4f1", into="main")
"ask for branch 'modelserve/4f1' to be merged into 'main'"
"""

import hashlib
import re
from typing import Final
from urllib.parse import quote, urlsplit

PREFIX: Final = "modelserve/"

_PLAIN: Final = re.compile(r"(?!.*\.(?:\.|lock$|$))[0-9A-Za-z][\w.-]{0,99}", re.ASCII)
_SHORT_FORM: Final = re.compile(r"(?:[^@/:]+@)?([^/:]+):(?!//)(.+)")
_OFFERED: Final = re.compile(r"^remote:\s+.*?(https?://\S+)", re.MULTILINE)


def branch_of(operation: str) -> str:
    """The branch that carries an operation: the same one however often it is proposed.

    >>> branch_of("4f1"), branch_of("../main")
    ('modelserve/4f1', 'modelserve/485d6d6b265d5684')
    """
    is_plain = _PLAIN.fullmatch(operation)
    return PREFIX + (operation if is_plain else hashlib.sha256(operation.encode()).hexdigest()[:16])


def review(address: str, *, branch: str, into: str, said: str = "") -> str:
    """What a person does to have ``branch`` merged.

    Args:
        address: of the repository.
        branch: that was pushed.
        into: the branch that it should be merged into.
        said: what the push printed. A forge offers its own link there, which is taken where it leads to the same host.
    """
    host, path = _place(address)
    offered = (hit[1] for hit in _OFFERED.finditer(said))
    known = next((url for url in offered if host and urlsplit(url).hostname == host), "") or _known(
        host, path, branch, into
    )
    return f"open {known} to have it merged" if known else f"ask for branch {branch!r} to be merged into {into!r}"


def _known(host: str, path: str, branch: str, into: str) -> str:
    """The link of a forge that is known by its name; of any other one, empty."""
    source, target = quote(branch), quote(into)
    if "github" in host:
        return f"https://{host}/{path}/compare/{target}...{source}?expand=1"
    if "gitlab" in host:
        fields = f"merge_request[source_branch]={source}&merge_request[target_branch]={target}"
        return f"https://{host}/{path}/-/merge_requests/new?{fields}"
    return ""


def _place(address: str) -> tuple[str, str]:
    """Host and path of a repository on a server; both empty for a path on this machine."""
    if "://" in address:
        parts = urlsplit(address)
        host, path = parts.hostname or "", parts.path
    elif not address.startswith("/") and (hit := _SHORT_FORM.fullmatch(address)):
        host, path = hit[1].lower(), hit[2]
    else:
        return "", ""
    return host, quote(path.strip("/").removesuffix(".git"))
