"""The page as one HTML text. Pure; everything from outside is escaped, and a policy in the page forbids any script."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from html import escape
from typing import Final

from mlflow_deploy_plugin.manifests.diff import percent
from pipelines.monitoring.page import charts, sections
from pipelines.monitoring.page.model import Change, Page, Version
from pipelines.monitoring.page.style import CSS

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
SHORT: Final = 9
"""Characters of a commit."""
MOST_CHANGES: Final = 100
MOST_EVIDENCE: Final = 25
"""Evidence files whose text is in the page; older ones are named."""


def render(page: Page) -> str:
    """The whole document."""
    order = {version.name: number for number, version in enumerate(page.versions)}
    title = escape(f"{page.endpoint} ({page.stage})")
    pictures = "".join(draw(page, order) for draw in sections.ALL)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{CSS}</style></head>\n<body>\n{_head(page)}\n<main>\n"
        f'{_versions(page)}\n<div class="grid2">\n{pictures}</div>\n{_changes(page)}\n</main>\n{_foot(page)}\n'
        "</body></html>\n"
    )


def _head(page: Page) -> str:
    lines = [f'<p class="news">{text}</p>' for text in _news(page)]
    notes = [f'<p class="note">{escape(note)}</p>' for note in page.notes]
    window = f"{sections.moment(page.begin)} to {sections.moment(page.made)}"
    meta = f'<p class="meta">{window}, UTC · commit {escape(page.commit[:SHORT])}</p>'
    name = f"<h1>{escape(page.endpoint)} <small>{escape(page.stage)}</small></h1>"
    return f"<header>{name}{''.join(lines)}{meta}{''.join(notes)}</header>"


def _news(page: Page) -> Iterable[str]:
    """What a busy person wants to know."""
    users = [(version.name, version.weight) for version in page.versions if version.weight]
    shares = ", ".join(f"{escape(name)} {percent(weight)}" for name, weight in users)
    yield f"Users are split: {shares}." if len(users) > 1 else f"All users get {escape(users[0][0])}."
    if page.phase:
        yield f"Rollout: {escape(page.phase)}."
    if page.hold:
        yield f"Held: {escape(page.hold)}"
    if page.changes:
        last = page.changes[0]
        yield f"Last change, {ago(page.made - last.time)}: {escape(last.subject)}"
    if page.drift:
        seen = page.drift[0]
        yield f"Drift, looked at {ago(page.made - seen.time)}: {escape(seen.headline)}"


def ago(span: timedelta) -> str:
    """A span in one unit.

    >>> ago(timedelta(minutes=200)), ago(timedelta(days=9)), ago(timedelta(seconds=-3))
    ('3 hours ago', '9 days ago', 'just now')
    """
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if (number := int(span.total_seconds() // size)) > 0:
            return f"{number} {unit}{'s' * (number > 1)} ago"
    return "just now"


def _versions(page: Page) -> str:
    heads = [
        "Version",
        "Role",
        "Share of users",
        "Users seen",
        "Attempts",
        "Failed",
        "p99 latency",
        "Accuracy",
        "Labels",
    ]
    head = "".join(f'<th scope="col"{sections.right(index > 1)}>{text}</th>' for index, text in enumerate(heads))
    rows = "".join(_version(version, number) for number, version in enumerate(page.versions))
    goal = "Objectives: at most 0.1 % of the attempts fail, 99 % of the answers come within 100 ms."
    return (
        f'<section><h2>Versions</h2><p class="meta">{goal}</p><div class="wide"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _version(version: Version, number: int) -> str:
    whole, accuracy = version.whole, version.accuracy
    right = None if accuracy is None else accuracy.accuracy
    error = None if accuracy is None else accuracy.absolute_error
    cells = [
        percent(version.weight),
        f"{version.users:,}",
        f"{whole.attempts:,}" if whole else "0",
        sections.judged(whole.failed_share, sections.FAILED) if whole else sections.NOTHING,
        sections.judged(whole.p99_ms, sections.SLOW) if whole and whole.p99_ms is not None else sections.NOTHING,
        f"{right:.1%}" if right is not None else f"± {error:.4g}" if error is not None else sections.NOTHING,
        f"{accuracy.labelled:,}" if accuracy else "0",
    ]
    model = f"<br><small>{escape(version.model)}</small>" if version.model else ""
    name = f'<th scope="row" class="long">{charts.swatch(number)}{escape(version.name)}{model}</th>'
    numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
    return f"<tr>{name}<td>{version.role}</td>{numbers}</tr>"


def _changes(page: Page) -> str:
    if not page.changes:
        return '<section><h2>Decisions</h2><p class="empty">No commit has touched it.</p></section>'
    rows = "".join(_change(change, index) for index, change in enumerate(page.changes[:MOST_CHANGES]))
    left = len(page.changes) - MOST_CHANGES
    more = f'<p class="meta">{left} older ones: python -m pipelines history</p>' if left > 0 else ""
    return (
        '<section><h2>Decisions</h2><p class="meta">Every commit that touched the endpoint, newest first; git is the'
        ' record.</p><div class="wide"><table><thead><tr><th scope="col">When</th><th scope="col">What and why</th>'
        '<th scope="col">Split afterwards</th><th scope="col">By</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{more}</section>"
    )


def _change(change: Change, index: int) -> str:
    why = f"<br>{escape(change.reason)}" if change.reason and change.reason not in change.subject else ""
    what = f"{escape(change.subject)}{why}{_evidence(change, index)}"
    when = f"{sections.moment(change.time)}<br><small>{escape(change.commit[:SHORT])} · {escape(change.action)}</small>"
    return (
        f'<tr id="change-{index}"><td class="number">{when}</td><td class="long">{what}</td>'
        f"<td>{_shares(change.weights)}</td><td>{escape(change.author)}</td></tr>"
    )


def _evidence(change: Change, index: int) -> str:
    if not change.evidence_path:
        return ""
    if not change.evidence or index >= MOST_EVIDENCE:
        return f"<br><small>evidence: {escape(change.evidence_path)}</small>"
    words = f"<summary>evidence: {escape(change.evidence_path)}</summary>"
    return f"<details>{words}<pre>{escape(change.evidence)}</pre></details>"


def _shares(weights: Mapping[str, int]) -> str:
    return (
        "<br>".join(f"{escape(name)} {percent(weight)}" for name, weight in weights.items() if weight)
        or sections.NOTHING
    )


def _foot(page: Page) -> str:
    return (
        f"<footer>Made {sections.moment(page.made)} UTC by <code>python -m pipelines report --endpoint"
        f" {escape(page.endpoint)}</code>. A decision is recomputed from its evidence by"
        " <code>python -m pipelines replay FILE</code>.</footer>"
    )
