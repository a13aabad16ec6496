"""What follows from measurements: ratios within a turn, medians over turns, layers, and the tables that tell them."""

import json
from typing import Any

import pytest

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.benchmark import tables
from pipelines.benchmark.results import Absence, Cell, Footprint, Report, Sample, Turn, figures, joined, layers, tracked

SUBJECTS = {"empty": "nothing", "modelserve": "ours", "gateway": "behind Envoy", "rival": "theirs"}


def cell(subject: str, connections: int = 64) -> Cell:
    return Cell(work="tabular", format="json", connections=connections, subject=subject)


def sample(
    subject: str, nth: int = 0, *, of: str = "any", cpu_s: float = 1.0, connections: int = 64, **fields: Any
) -> Sample:
    defaults: dict[str, Any] = {
        "seconds": 2.0,
        "requests": 10_000,
        "p50_ms": 1.0,
        "p99_ms": 2.0,
        "failed": 0,
        "socket_errors": 0,
        "checked": 20,
        "wrong": 0,
        "foreign_share": 0.0,
    }
    turn = Turn(round=0, of=of, nth=nth)
    return Sample(cell=cell(subject, connections), turn=turn, cpu_s=cpu_s, **{**defaults, **fields})


def report(*samples: Sample, **fields: Any) -> Report:
    foot = Footprint(
        work="tabular", subject="modelserve", round=0, start_s=1.25, start_cpu_s=1.0, pss_mb=150.0, processes=1
    )
    defaults: dict[str, Any] = {
        "began": "2026-01-01T12:00:00+00:00",
        "machine": "a machine",
        "settings": {"rounds": 2, "connections": [1, 64], "seconds": 2.0, "warmup_s": 1.0},
        "subjects": SUBJECTS,
        "versions": {"modelserve": "modelserve 1"},
        "works": {"tabular": "30 floats"},
        "footprints": (foot,),
    }
    return Report(samples=samples, **{**defaults, **fields})


def test_a_ratio_is_of_one_turn_whatever_the_machine_did_in_another() -> None:
    slow_turn = (sample("empty", 1, cpu_s=10.0), sample("modelserve", 1, cpu_s=20.0))
    found = figures(report(sample("empty"), sample("modelserve", cpu_s=2.0), *slow_turn))
    ratio = found[cell("modelserve")].ratio
    assert ratio is not None
    assert (ratio.low, ratio.middle, ratio.high) == (2.0, 2.0, 2.0)


def test_without_the_empty_app_there_is_no_ratio_and_the_table_says_so() -> None:
    alone = report(sample("modelserve"))
    assert figures(alone)[cell("modelserve")].ratio is None
    assert "| -" in tables.markdown(alone)


def test_a_turn_that_one_of_both_missed_makes_no_ratio() -> None:
    found = figures(report(sample("empty", 0), sample("modelserve", 0, cpu_s=2.0), sample("modelserve", 1, cpu_s=9.0)))
    ratio = found[cell("modelserve")].ratio
    assert ratio is not None
    assert ratio.high == 2.0


def test_a_reference_is_paired_with_whom_it_was_loaded_beside() -> None:
    """The empty app is loaded beside each subject; what it cost beside another one is no measure for this one."""
    beside = [sample("empty", of="rival", cpu_s=2.0), sample("rival", of="rival", cpu_s=4.0)]
    found = figures(report(sample("empty", of="modelserve"), sample("modelserve", of="modelserve"), *beside))
    rival = found[cell("rival")].ratio
    assert rival is not None
    assert (rival.low, rival.high) == (2.0, 2.0)


def test_outliers_move_neither_the_middle_nor_its_half() -> None:
    wild = [
        one
        for nth in range(9)
        for one in (sample("empty", nth), sample("modelserve", nth, cpu_s=2.0 + 50 * (nth == 4)))
    ]
    ratio = figures(report(*wild))[cell("modelserve")].ratio
    assert ratio is not None
    assert (ratio.low, ratio.middle, ratio.high) == (2.0, 2.0, 2.0)


def test_a_layer_is_told_in_microseconds_of_each_request() -> None:
    turns = [one for nth in (0, 1) for one in (sample("modelserve", nth), sample("gateway", nth, cpu_s=1.5 + nth / 10))]
    (layer,) = layers(report(*turns))
    assert layer.added_us.middle == pytest.approx(55.0)
    assert (layer.added_us.low, layer.added_us.high) == (pytest.approx(52.5), pytest.approx(57.5))
    assert layer.share == pytest.approx(0.55)


def test_layers_are_told_from_few_connections_to_many_whatever_was_measured_first() -> None:
    measured = [sample(name, connections=many) for many in (64, 1, 16) for name in ("modelserve", "gateway")]
    assert [layer.cell.connections for layer in layers(report(*measured))] == [1, 16, 64]


def test_errors_and_wrong_answers_are_summed_and_shown() -> None:
    text = tables.markdown(report(sample("rival", failed=3, socket_errors=2, wrong=1)))
    (line,) = [line for line in text.splitlines() if line.startswith("| rival") and "3 + 2" in line]
    assert "1 of 20" in line


def test_cells_of_several_connections_share_a_line() -> None:
    text = tables.markdown(report(sample("modelserve", connections=1, requests=2_000), sample("modelserve")))
    assert "1,000 / 5,000" in text


@pytest.mark.parametrize(
    ("share", "word"), [(0.01, "was quiet"), (0.1, "trust ratios, not seconds"), (0.8, "no figures to quote")]
)
def test_a_busy_machine_is_told_with_what_its_figures_are_worth(share: float, word: str) -> None:
    assert word in tables.markdown(report(sample("modelserve", foreign_share=share)))


def test_what_could_not_be_measured_is_a_row_with_its_reason() -> None:
    gone = Absence(work="tabular", subject="rival", reason="needs java | which is not installed")
    assert "needs java / which is not installed" in tables.markdown(report(sample("modelserve"), absences=(gone,)))


def test_trackers_are_given_ratios_and_errors_of_which_less_is_better() -> None:
    points = tracked(report(sample("empty"), sample("modelserve", cpu_s=2.0, wrong=4)))
    assert json.loads(json.dumps(points)) == points
    by_name = {point["name"]: point for point in points}
    assert by_name["tabular json c64 modelserve: CPU per request"]["value"] == 2.0
    assert by_name["tabular json c64 modelserve: errors and wrong answers"]["value"] == 4
    assert all(point.keys() >= {"name", "unit", "value"} for point in points)


def test_results_are_read_as_they_were_written() -> None:
    before = report(sample("empty"), sample("modelserve"), absences=(Absence(work="w", subject="s", reason="r"),))
    assert Report.from_document(json.loads(json.dumps(before.to_document()))) == before


def test_joined_runs_keep_their_ratios_apart() -> None:
    other = report(sample("empty", cpu_s=10.0), sample("rival", cpu_s=30.0), sample("modelserve", cpu_s=30.0))
    whole = joined([report(sample("empty"), sample("modelserve", cpu_s=2.0)), other])
    found = figures(whole)
    rival, ours = found[cell("rival")].ratio, found[cell("modelserve")].ratio
    assert rival is not None
    assert ours is not None
    assert (rival.low, rival.high) == (3.0, 3.0)
    assert ours.middle == 2.5
    assert Report.from_document(json.loads(json.dumps(whole.to_document()))) == whole


def test_runs_of_two_machines_are_not_joined() -> None:
    with pytest.raises(ConfigError, match="another"):
        joined([report(), report(machine="another")])


@pytest.mark.parametrize("document", [{}, [], {"format": 99}, {"format": 2, "samples": [{"cell": 3}]}, None])
def test_anything_else_is_refused(document: Any) -> None:
    with pytest.raises(ConfigError, match="results"):
        Report.from_document(document)


def test_in_brief_each_server_is_a_line_at_the_most_connections() -> None:
    text = tables.brief(report(sample("empty"), sample("modelserve", cpu_s=2.0), sample("modelserve", connections=1)))
    (line,) = [line for line in text.splitlines() if line.startswith("| modelserve")]
    assert [cell.strip() for cell in line.strip("|").split("|")] == ["modelserve", "2.0, 2.0", "150", "1.2"]
