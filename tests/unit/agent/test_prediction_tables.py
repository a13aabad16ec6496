"""The converter beside the agent: whatever becomes of it, the agent is told, and what lies there waits."""

import sys
from pathlib import Path

import pytest

from mlflow_deploy_plugin.agent.predictions import PredictionTables
from mlflow_deploy_plugin.errors import EventStoreError

ANSWERS = "import sys\nfor line in sys.stdin: print({answer!r}, flush=True)"


def tables_of(folder: Path, script: str, *, limit_s: float = 30.0) -> PredictionTables:
    """With a program in the converter's place, and one raw file."""
    tables = PredictionTables(
        raw_dir=folder / "raw",
        events_dir=folder / "events",
        log=folder / "logs" / "converter.log",
        command=(sys.executable, "-c", script),
        limit_s=limit_s,
    )
    tables.prepare()
    (tables.raw_dir / "one.raw").touch()
    return tables


def test_nothing_is_started_for_nothing(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, "raise SystemExit(3)")
    (tables.raw_dir / "one.raw").rename(tables.raw_dir / ".one.raw.tmp")
    assert tables.convert() == 0
    tables.stop()
    assert not tables.log.exists()


def test_it_is_told_how_many_became_visible_and_which_could_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer = '{"files": 1, "requests": 7, "bad": ["x.raw is torn"], "trouble": ""}'
    tables = tables_of(tmp_path, ANSWERS.format(answer=answer))
    assert [tables.convert(), tables.convert()] == [7, 7]
    assert "left out: x.raw is torn" in caplog.text
    tables.stop()
    assert (tables.raw_dir.stat().st_mode & 0o077) == 0


def test_what_the_disk_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    answer = '{"files": 0, "requests": 0, "bad": [], "trouble": "no space left"}'
    tables = tables_of(tmp_path, ANSWERS.format(answer=answer))
    with pytest.raises(EventStoreError, match="no space left"):
        tables.convert()
    tables.stop()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("raise SystemExit(3)", "ended with code 3|Broken pipe"),
        ("import sys; sys.stdin.readline(); raise SystemExit(4)", "ended with code 4"),
        (ANSWERS.format(answer="what?"), "Expecting value"),
    ],
    ids=["at once", "when asked", "nonsense"],
)
def test_one_that_fails_is_told_and_replaced(tmp_path: Path, script: str, says: str) -> None:
    tables = tables_of(tmp_path, script)
    for _ in range(2):
        with pytest.raises(EventStoreError, match=says) as caught:
            tables.convert()
        assert "kept and tried again" in str(caught.value)
        assert str(tables.log) in str(caught.value)
    tables.command = (sys.executable, "-c", ANSWERS.format(answer='{"requests": 1, "bad": [], "trouble": ""}'))
    assert tables.convert() == 1
    tables.stop()


def test_one_that_hangs_is_ended(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, "import sys\nfor line in sys.stdin: pass", limit_s=0.2)
    with pytest.raises(EventStoreError, match=r"did not answer within 0\.2 s"):
        tables.convert()
    assert tables._child is None


def test_one_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, "")
    tables.command = (str(tmp_path / "missing"),)
    with pytest.raises(EventStoreError, match="No such file"):
        tables.convert()
