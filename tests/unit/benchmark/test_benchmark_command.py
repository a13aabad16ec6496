"""The verb: refusals in one line, the gate, and a document that is rewritten from results."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.benchmark.results import Cell, Report, Sample, Turn
from pipelines.cli import main
from pipelines.commands.doors import Doors


class Talk:
    """Runs the verb and keeps what it said."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []
        self.doors = replace(Doors.real(environment), say=self.said.append, warn=self.warned.append)

    def __call__(self, *arguments: str) -> int:
        return main(["benchmark", *arguments], doors=self.doors)


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    return Talk({"PATH": str(tmp_path), "HOME": str(tmp_path), "MODELSERVE_HOME": str(tmp_path / "home")})


def micro(tmp_path: Path, **ratios: float) -> str:
    benchmarks = [
        {"name": name, "stats": {"min": ratio}, "extra_info": {"calibration_s": 1.0}} for name, ratio in ratios.items()
    ]
    path = tmp_path / "micro.json"
    path.write_text(json.dumps({"benchmarks": benchmarks}))
    return str(path)


def test_without_wrk_it_says_what_to_install_in_one_line(talk: Talk) -> None:
    assert talk() == 2
    (line,) = talk.warned
    assert "is not installed; apt-get install" in line or "core may be used" in line


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(["--rounds", "0"], "0"), (["--seconds", "1.5"], "1.5"), (["--connections", "1,x"], "x"), (["--limit", "1"], "1")],
)
def test_a_wrong_number_is_refused(
    talk: Talk, capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        talk(*arguments)
    assert ended.value.code == 2
    assert repr(word) in capsys.readouterr().err


def test_the_gate_stores_then_passes_then_fails_what_became_slow(talk: Talk, tmp_path: Path) -> None:
    baseline = str(tmp_path / "baseline.json")
    assert talk("--gate", micro(tmp_path, decode=2.0, encode=1.0), "--baseline", baseline, "--accept") == 0
    assert talk("--gate", micro(tmp_path, decode=2.9, encode=0.5), "--baseline", baseline) == 0
    assert talk("--gate", micro(tmp_path, decode=3.1, encode=1.0), "--baseline", baseline) == 1
    assert "above 1.5 times the stored ratio, or not measured any more: decode" in talk.said[-1]


def test_the_gate_fails_what_is_not_measured_any_more_and_lets_new_ones_in(talk: Talk, tmp_path: Path) -> None:
    baseline = str(tmp_path / "baseline.json")
    talk("--gate", micro(tmp_path, decode=2.0), "--baseline", baseline, "--accept")
    assert talk("--gate", micro(tmp_path, other=1.0), "--baseline", baseline) == 1
    assert "decode" in talk.said[-1]
    assert talk("--gate", micro(tmp_path, decode=2.0, other=1.0), "--baseline", baseline) == 0


@pytest.mark.parametrize("text", ["", "{}", '{"benchmarks": []}', '{"benchmarks": [{"name": "a"}]}'])
def test_the_gate_refuses_a_file_without_measurements(talk: Talk, tmp_path: Path, text: str) -> None:
    path = tmp_path / "micro.json"
    path.write_text(text)
    assert talk("--gate", str(path)) == 2


def results(tmp_path: Path) -> str:
    cell = Cell(work="tabular", format="json", connections=1, subject="modelserve")
    numbers: dict[str, Any] = {"seconds": 1.0, "requests": 1234, "cpu_s": 0.1, "p50_ms": 1.0, "p99_ms": 2.0}
    counts: dict[str, Any] = {"failed": 0, "socket_errors": 0, "checked": 1, "wrong": 0, "foreign_share": 0.0}
    report = Report(
        began="2026-01-01T12:00:00+00:00",
        machine="a machine",
        settings={"rounds": 1, "connections": [1], "seconds": 1.0},
        subjects={"modelserve": "ours"},
        versions={},
        works={"tabular": "30 floats"},
        samples=(Sample(cell=cell, turn=Turn(round=0, of="modelserve", nth=0), **numbers, **counts),),
    )
    path = tmp_path / "results.json"
    path.write_text(json.dumps(report.to_document()))
    return str(path)


def test_a_document_is_rewritten_between_its_markers_and_then_unchanged(talk: Talk, tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("before\n<!-- benchmark:begin -->\nold\n<!-- benchmark:end -->\nafter\n")
    arguments = ("--document", str(document), "--results", results(tmp_path))
    assert talk(*arguments) == 0
    assert talk(*arguments) == 0
    assert [line.rpartition(" ")[2] for line in talk.said] == ["rewritten", "unchanged"]
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "1,234" in text
    assert "old" not in text


@pytest.mark.parametrize("text", ["", "<!-- benchmark:begin -->", "<!-- benchmark:end --> <!-- benchmark:begin -->"])
def test_a_document_without_both_markers_is_left_alone(talk: Talk, tmp_path: Path, text: str) -> None:
    document = tmp_path / "page.md"
    document.write_text(text)
    assert talk("--document", str(document), "--results", results(tmp_path)) == 2
    assert "benchmark:begin" in talk.warned[0]
    assert document.read_text() == text


def test_a_document_may_have_the_table_in_brief_alone(talk: Talk, tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("<!-- benchmark-in-brief:begin -->\n<!-- benchmark-in-brief:end -->\n")
    assert talk("--document", str(document), "--results", results(tmp_path)) == 0
    assert "at 1 connections" in document.read_text()


def test_a_document_needs_results(talk: Talk, tmp_path: Path) -> None:
    assert talk("--document", str(tmp_path / "page.md")) == 2
    assert "--results" in talk.warned[0]
