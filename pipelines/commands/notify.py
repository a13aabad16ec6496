"""Tell people of decisions that need them: by a webhook that takes Slack's JSON, or by an issue on GitHub.

Give it what `promote --records DIR` or `drift --out DIR` wrote. Told is what took a version back, ended a rollout by
its time, froze promotion, or moved without anybody at fault; each once a fingerprint (stage, endpoint, deployments,
rule, rollout or day). What was told is remembered nowhere but where it can be seen: an issue is not opened again while
it is open, and with --github a webhook hears when one is opened. Without, it hears of the first commit that carries the
fingerprint, from the run that made it, and of nothing that is not committed.

Secrets are taken from the environment alone: MODELSERVE_NOTIFY_URL (addresses, with spaces between), GITHUB_TOKEN.
Exit codes: 0 done or nothing to tell, 2 what you can fix, 75 try again later.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.errors import EXIT_DONE, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.commands.doors import Doors
    from pipelines.monitoring.notifying import Notifier
    from pipelines.promotion.notices import Notice

ADDRESSES: Final = "MODELSERVE_NOTIFY_URL"
TOKEN: Final = "GITHUB_TOKEN"  # noqa: S105  the name of a variable
API: Final = "GITHUB_API_URL"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``notify``."""
    parser.add_argument(
        "--record", action="append", default=[], metavar="PATH", help="a record, or a folder of records; repeatable"
    )
    parser.add_argument("--target", default="", metavar="URI", help="repository whose commits say what was told")
    parser.add_argument("--summary", default="", metavar="FILE", help="add what was told to FILE, Markdown")
    parser.add_argument("--github", default="", metavar="OWNER/NAME", help="repository whose issues are opened")


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Tell what is new.

    Raises:
        ConfigError: a record cannot be read, or a door is described wrongly.
        RetryLaterError: a door does not answer.
    """
    from pipelines.commands import summary  # noqa: PLC0415
    from pipelines.monitoring.notifying import GithubIssues, Webhook  # noqa: PLC0415

    webhooks = [Webhook(url=url) for url in doors.environment.get(ADDRESSES, "").split()]
    issues = None
    if options.github:
        token, api = doors.environment.get(TOKEN, ""), doors.environment.get(API) or "https://api.github.com"
        issues = GithubIssues(repository=options.github, token=token, api=api)
    if not webhooks and issues is None:
        doors.say(f"nothing to tell by: set {ADDRESSES}, or give --github OWNER/NAME")
        return EXIT_DONE
    for notice, text in _notices(options.record):
        is_known = issues.knows(notice.fingerprint) if issues else not _is_first(notice, text, options.target, doors)
        # The issue last: where a door fails, a second run tells the webhooks twice rather than never.
        people: list[Notifier] = [] if is_known else [*webhooks, *([issues] if issues else [])]
        done = "; ".join([one.tell(notice) for one in people]) or "told before, or not committed"
        doors.say(f"{notice.title}: {done} ({notice.fingerprint})")
        summary.append(options.summary, f"- people: {done} ({notice.fingerprint})")
    return EXIT_DONE


def _notices(paths: list[str]) -> "Iterator[tuple[Notice, str]]":
    """What there is to tell, each fingerprint once, with the text of its record."""
    from pipelines.promotion.notices import notice_of  # noqa: PLC0415
    from pipelines.promotion.replaying import read  # noqa: PLC0415

    known: set[str] = set()
    for text in _records(paths):
        notice = notice_of(read(text))
        if notice is not None and notice.fingerprint not in known:
            known.add(notice.fingerprint)
            yield notice, text


def _records(paths: list[str]) -> "Iterator[str]":
    """Records that were named, and those in folders, where other files may lie too.

    An empty or absent folder is a tick that decided nothing.
    """
    from pipelines.promotion.replaying import is_record  # noqa: PLC0415

    for path in map(Path, paths):
        if path.suffix == ".json":
            yield _text(path)
        else:
            yield from filter(is_record, map(_text, sorted(path.rglob("*.json"))))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"record {str(path)!r} cannot be read ({error}); give what --records wrote") from error


def _is_first(notice: "Notice", text: str, uri: str, doors: "Doors") -> bool:
    """Whether the record's own commit is the first that carries the fingerprint."""
    from pipelines.promotion.notices import is_of  # noqa: PLC0415

    if not uri:
        raise ConfigError("a webhook remembers nothing: give --target, whose commits say what was told, or --github")
    target = doors.open_target(uri)
    carriers = [
        commit
        for commit in target.history(notice.endpoint)
        if commit.trailers is not None and commit.trailers.fingerprint == notice.fingerprint
    ]
    said = carriers[-1].trailers if carriers else None
    if said is None or not said.evidence:
        return False
    return is_of(text, target.files_at(carriers[-1].sha, said.evidence).get(said.evidence, ""))
