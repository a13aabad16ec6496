"""The page of one endpoint: what it says, whatever is missing, whoever named things."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from pipelines.monitoring.accuracy import Accuracy
from pipelines.monitoring.page import charts
from pipelines.monitoring.page.axes import round_ticks, time_ticks
from pipelines.monitoring.page.html import POLICY, render
from pipelines.monitoring.page.model import Change, DriftRun, Page, Traffic, Version

NOW = datetime(2026, 1, 8, tzinfo=UTC)
BEGIN = NOW - timedelta(days=7)
EVIL = "\"><script>alert(1)</script>'&<img src=x onerror=y>"
VOID = {"meta", "br", "line", "rect", "circle", "polyline", "img", "link"}


class Reader(HTMLParser):
    """Reads a page as a strict browser would: every element is closed, and in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def read(page: Page) -> Reader:
    reader = Reader()
    reader.feed(render(page))
    assert reader.open == []
    return reader


def version(name: str = "churn", **changes: Any) -> Version:
    return replace(Version(name=name, role="stable", weight=1000, model="models:/churn/1"), **changes)


def change(**changes: Any) -> Change:
    base = Change(
        time=BEGIN, commit="c" * 40, author="Ada", subject="churn: created", action="create", weights={"churn": 1000}
    )
    return replace(base, **changes)


def page(**changes: Any) -> Page:
    base = Page(
        endpoint="churn", stage="production", made=NOW, begin=BEGIN, commit="c" * 40, phase="", hold="",
        versions=(version(),), changes=(change(),), every="3 hours",
    )  # fmt: skip
    return replace(base, **changes)


def traffic(name: str = "churn", **changes: Any) -> Traffic:
    base = Traffic(deployment=name, began=BEGIN, attempts=1000, failed=5, median_ms=5.0, p99_ms=120.0)
    return replace(base, **changes)


def accuracy(name: str = "churn", **changes: Any) -> Accuracy:
    base = Accuracy(deployment=name, began=BEGIN, segment="", predicted=100, mature=100, labelled=80, correct=60)
    return replace(base, **changes)


def many(count: int) -> Page:
    names = [f"churn-v{number}" for number in range(count)]
    share = 1000 // count
    weights = dict.fromkeys(names, share)
    return page(
        versions=[version(name, role="canary", weight=share, whole=traffic(name)) for name in names],
        changes=[change(weights=weights, evidence="{}", evidence_path="evidence/churn/1.json"), change()],
        traffic=[traffic(name, began=BEGIN + timedelta(hours=h)) for h in (0, 3) for name in names],
        accuracies=[accuracy(name) for name in names],
        drift=[DriftRun(time=NOW, headline="healthy", reasons=(), scores={(n, "age"): 0.2 for n in names})],
    )


def test_a_page_without_traffic_labels_or_drift_says_so() -> None:
    words = read(page()).words
    assert "All users get churn." in words
    assert words.count("The gateway has seen no answer in this window.") == 2
    assert "No label has arrived" in words
    assert "python -m pipelines drift --endpoint churn" in words


@pytest.mark.parametrize("count", [1, 2, 8, 16])
def test_every_version_has_its_row_its_line_and_its_table(count: int) -> None:
    shown = read(many(count))
    assert shown.tags.count("svg") - shown.attributes.count(("aria-hidden", "true")) == 5
    for number in range(count):
        assert shown.words.count(f"churn-v{number}") >= 6


def test_every_picture_has_words_and_a_table_of_its_numbers() -> None:
    text = render(many(2))
    assert len(re.findall(r'<svg viewBox="[^"]+" role="img" aria-label="[^"]{20,}"><title>', text)) == 5
    assert text.count("<summary>The numbers</summary>") == 5


def test_hostile_names_are_shown_and_never_run() -> None:
    hostile = page(
        endpoint=EVIL, stage=EVIL, phase=EVIL, hold=EVIL, notes=[EVIL],
        versions=[version(EVIL, model=EVIL, whole=traffic(EVIL))],
        changes=[change(author=EVIL, subject=EVIL, reason=EVIL + "!", action=EVIL, weights={EVIL: 1000}, evidence=EVIL,
                        evidence_path=EVIL, commit=EVIL)],
        traffic=[traffic(EVIL), traffic(EVIL, began=NOW)], accuracies=[accuracy(EVIL)],
        drift=[DriftRun(time=NOW, headline=EVIL, reasons=(EVIL,), scores={(EVIL, EVIL): 0.5}, links=(EVIL,))],
    )  # fmt: skip
    shown = read(hostile)
    assert not {"script", "img", "iframe", "object"} & set(shown.tags)
    assert not [name for name, _ in shown.attributes if name.startswith("on")]
    assert not [value for name, value in shown.attributes if name == "href" and ":" in value]
    assert shown.words.count("<script>") > 10


def test_the_page_asks_nobody_for_anything_and_forbids_scripts() -> None:
    text = render(many(3))
    assert f'content="{POLICY}"' in text
    assert not re.search(r"(src=|url\(|@import|https?://)", text)


def test_a_missed_objective_is_told_by_more_than_colour() -> None:
    shown = render(page(versions=[version(whole=traffic())]))
    assert '<span class="bad">0.5% <span title="missed">✗</span></span>' in shown
    assert '<span class="bad">120 ms <span title="missed">✗</span></span>' in shown
    met = render(page(versions=[version(whole=traffic(failed=0, p99_ms=100.0))]))
    assert met.count('title="met"') == 2


def test_numbers_have_errors_where_classes_have_accuracy() -> None:
    rows = [accuracy(correct=None, absolute_error=3.25)]
    words = read(page(accuracies=rows, versions=[version(accuracy=rows[0])])).words
    assert "Mean absolute error" in words
    assert "± 3.25" in words


def test_the_evidence_of_a_decision_is_in_the_page_and_old_evidence_is_named() -> None:
    changes = [change(evidence=f"text {n} of it", evidence_path=f"evidence/churn/{n}.json") for n in range(40)]
    words = read(page(changes=changes)).words
    assert "text 0 of it" in words
    assert "text 39 of it" not in words
    assert "evidence/churn/39.json" in words


def test_the_split_is_drawn_from_the_windows_begin_though_it_was_made_before() -> None:
    old = change(time=BEGIN - timedelta(days=300))
    picture = render(page(changes=[old]))
    (rect,) = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', picture)
    assert [float(number) for number in rect] == [
        charts.LEFT,
        charts.TOP,
        charts.WIDTH - charts.LEFT - charts.RIGHT,
        charts.HEIGHT - charts.TOP - charts.BOTTOM,
    ]


def test_a_change_that_cannot_be_read_is_listed_and_not_drawn() -> None:
    words = read(page(changes=[change(weights={}, subject="broken"), change()])).words
    assert "broken" in words
    words = read(page(changes=[change(weights={})])).words
    assert "No commit has touched it." in words


def test_the_first_versions_differ_in_print_as_in_colour() -> None:
    looks = {(charts.colour(number), charts.dash(number)) for number in range(8)}
    assert len(looks) == 8
    assert len({charts.dash(number) for number in range(4)}) == 4


@pytest.mark.parametrize("high", [1e-9, 0.003, 0.97, 1.0, 7.0, 119.9, 1e7])
def test_ticks_are_round_few_and_reach_the_highest_value(high: float) -> None:
    ticks = round_ticks(high)
    assert 2 <= len(ticks) <= 6
    assert ticks[0] == 0
    assert high <= ticks[-1] * (1 + 1e-9)


@pytest.mark.parametrize("span", [timedelta(seconds=1), timedelta(hours=3), timedelta(days=7), timedelta(days=2000)])
def test_times_are_few_and_within_the_window(span: timedelta) -> None:
    ticks = time_ticks(NOW - span, NOW)
    assert len(ticks) <= 6
    assert all(NOW - span <= moment <= NOW for moment, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)
