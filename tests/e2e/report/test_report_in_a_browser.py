"""The page in a real browser, on a screen, a phone and paper: it paints, says what it should, complains of nothing."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from pipelines.monitoring.accuracy import Accuracy
from pipelines.monitoring.page.html import render
from pipelines.monitoring.page.model import Change, DriftRun, Page, Traffic, Version

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--log-level=0",
)  # fmt: skip
NOW = datetime(2026, 1, 8, tzinfo=UTC)
EVIL = '"><script>console.error("ran")</script>'

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian package chromium is missing"),
]


def browse(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [str(CHROMIUM), *QUIET, profile, *arguments, (folder / "page.html").as_uri()]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with eight versions, one of them hostile."""
    made = tmp_path_factory.mktemp("page")
    names = [f"churn-v{number}" for number in range(7)] + [EVIL]
    begin = NOW - timedelta(days=7)
    hours = [begin + timedelta(hours=3 * number) for number in range(56)]
    rows = [
        Traffic(deployment=name, began=hour, attempts=100, failed=at % 3, median_ms=5.0, p99_ms=40.0 + 10 * at)
        for hour in hours
        for at, name in enumerate(names)
    ]
    scores = [
        Accuracy(deployment=name, began=hour, segment="", predicted=9, mature=9, labelled=9, correct=8 - at)
        for hour in hours[::8]
        for at, name in enumerate(names)
    ]
    weights = dict.fromkeys(names, 125)
    page = Page(
        endpoint="churn",
        stage="production",
        made=NOW,
        begin=begin,
        commit="c" * 40,
        phase="progressing",
        hold="",
        versions=[
            Version(name=name, role="canary", weight=125, model="", whole=rows[at]) for at, name in enumerate(names)
        ],
        changes=[
            Change(time=hours[9], commit="d" * 40, author=EVIL, subject=EVIL, action="step", weights=weights),
            Change(time=begin, commit="c" * 40, author="Ada", subject="x", action="create", weights={"churn-v0": 1000}),
        ],
        traffic=rows,
        accuracies=scores,
        every="3 hours",
        drift=[DriftRun(time=NOW, headline="healthy", reasons=(), scores={(name, EVIL): 0.3 for name in names})],
    )
    (made / "page.html").write_text(render(page), encoding="utf-8")
    return made


@pytest.mark.parametrize(("width", "height"), [(1200, 1600), (390, 2400)], ids=["screen", "phone"])
def test_it_paints_and_complains_of_nothing(folder: Path, width: int, height: int) -> None:
    shot = folder / f"{width}.png"
    done = browse(folder, f"--screenshot={shot}", f"--window-size={width},{height}")
    assert "CONSOLE" not in done.stderr
    with Image.open(shot) as picture:
        assert picture.size == (width, height)
        colours = picture.convert("RGB").getcolors(maxcolors=1 << 24)
    assert colours is not None
    assert len(colours) > 100
    painted = sum(count for count, colour in colours if colour != (255, 255, 255))
    assert painted > 0.04 * width * height


def test_the_document_is_whole_and_nothing_hostile_became_an_element(folder: Path) -> None:
    shown = browse(folder, "--dump-dom").stdout
    assert shown.count("<svg ") == shown.count("</svg>")
    assert shown.count('role="img"') == 5
    assert "<script" not in shown
    assert "churn-v6" in shown


def test_it_prints(folder: Path) -> None:
    browse(folder, f"--print-to-pdf={folder / 'page.pdf'}", "--no-pdf-header-footer")
    assert (folder / "page.pdf").read_bytes().startswith(b"%PDF")
    assert (folder / "page.pdf").stat().st_size > 10_000
