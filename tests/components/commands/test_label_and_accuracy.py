import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mlflow_deploy_plugin.config.home import Home

World = Any
CSV = "request_id,label,note\nuser-0-r,1,x\nuser-1-r,0,x\nuser-2-r,,x\nnobody,1,x\n"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(CSV)
    return path


def test_a_file_of_labels_is_added_once(world: World, labels: Path) -> None:
    world.traffic(world.people(20))
    assert world.run("label", str(labels), "--endpoint", "churn") == 0
    assert world.text == (
        "added 3 labels; 1 rows have no label yet; 1 belong to no logged prediction; columns not used: note"
    )
    assert world.run("label", str(labels), "--endpoint", "churn") == 0
    assert world.text.startswith("unchanged: no new label; 3 were there already")
    world.now += timedelta(seconds=1)
    assert world.run("accuracy", "--endpoint", "churn", "--json") == 0
    answer = json.loads(world.text)
    assert (answer["rows"][0]["labelled"], answer["duplicates"], answer["unknown"]) == (2, 0, 1)


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_other_formats_say_the_same(world: World, tmp_path: Path, kind: str) -> None:
    world.traffic(world.people(20))
    frame = pd.DataFrame({"request_id": ["user-0-r", "user-1-r"], "row": [0, 0], "label": ["yes", "no"]})
    path = tmp_path / f"labels.{kind}"
    if kind == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=True)
    assert world.run("label", str(path), "--endpoint", "churn", "--json") == 0
    assert json.loads(world.text)["added"] == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id,label\na,1\n", "has no column 'request_id'; it has id, label"),
        ("request_id,label\na,1\nb,inf\n", "1 rows are bad, first row 2 (label inf): a label that is a number must"),
        ("request_id,label\na,1\nb,1e200\n", "must be finite and at most 1e+140"),
        ("request_id,row,label\na,0,1\n,0,1\nb,-1,1\n", "2 rows are bad, first row 2 (request_id '', row 0)"),
        ("request_id,row,label\na,x,1\nb,,1\n", "2 rows are bad, first row 1 (request_id 'a', row 'x')"),
        ('request_id,label\n"a,1\n', "cannot be read"),
        ("request_id,label\na,1,\nb,0,\n", "more cells than its first line has names"),
    ],
)
def test_a_bad_file_is_refused_whole(world: World, tmp_path: Path, content: str, said: str) -> None:
    world.traffic(world.people(20))
    path = tmp_path / "bad.csv"
    path.write_text(content)
    assert world.run("label", str(path), "--endpoint", "churn") == 2
    assert said in world.warned[0]
    assert not list((world.home / "events").rglob("labels/**/batch-*"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"request_id": "a", "label": "\\ud800"}', "line 2: .*surrogates not allowed"),
        ('{"request_id": "a", "label": ' + "[" * 100_000 + "]" * 100_000 + "}", "line 2: maximum recursion depth"),
        ('{"request_id": "a", "label": }', "line 2: Expecting value"),
    ],
    ids=["half a character", "deep", "no JSON"],
)
def test_a_bad_line_is_refused_by_its_number(world: World, tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"request_id": "user-0-r", "label": 1}\n' + line + "\n")
    assert world.run("label", str(path), "--endpoint", "churn") == 2
    assert re.search(said, world.warned[0])


def labels_of(world: World, path: Path) -> list[Any]:
    """What the store holds after ``path`` was added: numbers, and the JSON of what is none."""
    assert world.run("label", str(path), "--endpoint", "churn") == 0
    files = sorted((Home(root=world.home).events / "labels").rglob("*.parquet"))
    table = pd.concat(pd.read_parquet(file) for file in files)
    return sorted(table["label"].dropna()) + sorted(table["label_text"].dropna())


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["None", "NA", "yes", ""], ['"NA"', '"None"', '"yes"']),
        (["1", "NA", " 0 ", "nan", ""], [0.0, 1.0]),
        (["TRUE", "false", ""], [0.0, 1.0]),
        (["1"] * 300_000 + ["other"], ['"1"'] * 300_000 + ['"other"']),
    ],
    ids=["classes with the names of nothing", "numbers", "true and false", "text far below numbers"],
)
def test_all_labels_of_a_csv_are_of_one_kind(
    world: World, tmp_path: Path, cells: list[str], expected: list[Any]
) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("request_id, label\n" + "".join(f"{number} ,{cell}\n" for number, cell in enumerate(cells)))
    assert labels_of(world, path) == expected


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([Decimal("1.5"), None], [1.5]),
        ([datetime(2026, 1, 2, tzinfo=UTC), None], ['"2026-01-02T00:00:00+00:00"']),
        ([b"yes", None], ['"yes"']),
        ([[[1, 2], [3]], None], ["[[1,2],[3]]"]),
    ],
    ids=["decimal", "moment", "bytes", "nested"],
)
def test_whatever_parquet_holds_is_a_label(
    world: World, tmp_path: Path, labels: list[Any], expected: list[Any]
) -> None:
    path = tmp_path / "labels.parquet"
    pd.DataFrame({"label": labels}, index=pd.Index(["a", "b"], name="request_id")).to_parquet(path)
    assert labels_of(world, path) == expected


def test_a_file_that_is_not_there_is_told(world: World) -> None:
    assert world.run("label", "none.csv", "--endpoint", "churn") == 2
    assert "'none.csv' is no file of labels" in world.warned[0]


def test_accuracy_is_a_table_for_people(world: World) -> None:
    world.traffic(world.people(300), wrong={"churn": 0.25})
    assert world.run("accuracy", "--endpoint", "churn", "--segment", "plan") == 0
    head = world.text.splitlines()[1].split()
    assert head == ["deployment", "since", "segment", "predicted", "labelled", "coverage", "accuracy"]
    assert [line.split()[3] for line in world.text.splitlines()[2:]] == ["a", "b", "c"]


def test_no_prediction_is_told(world: World) -> None:
    assert world.run("accuracy", "--endpoint", "churn") == 0
    assert world.text == "no prediction of endpoint 'churn' is in the window"


def test_labels_that_come_for_one_arm_only_stop_the_comparison_and_are_told(world: World) -> None:
    world.join(weight=400)
    world.unlabelled = ("churn",)
    world.traffic(world.people(900), wrong={"churn": 0.1, "churn-v2": 0.4})
    assert world.drift("--revert") == 0
    assert "verdict: healthy" in world.text
    assert "labels have arrived for 100% of churn-v2's users and for 0% of churn's" in world.text
    assert world.weights == {"churn": 600, "churn-v2": 400}


def test_labels_too_large_to_be_added_up_are_told_and_leave_the_others_comparable(world: World) -> None:
    world.join(weight=400)
    world.probability, world.endless = 0.8, 2
    world.traffic(world.people(900), wrong={"churn": 0.0, "churn-v2": 0.0})
    assert world.drift() == 0
    assert "verdict: healthy" in world.text
    assert re.search(r"absolute error 0\.\d+ against 0\.\d+ per user", world.text)
    (record,) = (world.root / "out").rglob("decision.json")
    told = [check["detail"] for check in json.loads(record.read_text())["evidence"]["checks"]]
    assert "users of churn is not finite or beyond 1e+140; their errors are left out" in " ".join(told)
    world.run("accuracy", "--endpoint", "churn")
    assert (
        "2 labelled rows have no error: a prediction or label is no number, not finite or beyond 1e+140" in world.text
    )


def test_many_labels_too_large_to_be_added_up_stop_the_comparison_and_are_told(world: World) -> None:
    world.join(weight=400)
    world.probability, world.endless = 0.8, 30
    world.traffic(world.people(900), wrong={"churn": 0.0, "churn-v2": 0.0})
    assert world.drift() == 0
    assert "their errors are left out, too many for the others to stand for them" in world.text
    assert "absolute error" not in world.text


def test_probabilities_come_with_their_calibration(world: World) -> None:
    world.probability = 0.8
    world.traffic(world.people(60), wrong={"churn": 0.0})
    assert world.run("accuracy", "--endpoint", "churn", "--every", "12h") == 0
    assert "scored as probabilities" in world.text
    assert world.text.splitlines()[-1].startswith("calibration of churn since 2026-01-01 00:00Z: error 0.")
    assert world.run("accuracy", "--endpoint", "churn", "--json") == 0
    (curve,) = json.loads(world.text)["calibration"]
    assert (curve["labelled"], curve["began"]) == (60, "2026-01-01T00:00:00+00:00")


def test_labels_of_another_kind_than_the_predictions_are_told(world: World, tmp_path: Path) -> None:
    world.traffic(world.people(3))
    path = tmp_path / "labels.csv"
    path.write_text("request_id,label\nuser-0-r,yes\nuser-1-r,no\n")
    assert world.run("label", str(path), "--endpoint", "churn") == 0
    world.now += timedelta(seconds=1)
    assert world.run("accuracy", "--endpoint", "churn") == 0
    assert "2 labelled rows count as wrong, since a number is never the same as text: send labels as" in world.text


def test_labels_of_no_prediction_are_told_with_how_far_it_was_looked(world: World, labels: Path) -> None:
    world.traffic(world.people(20))
    world.run("label", str(labels), "--endpoint", "churn")
    world.now += timedelta(seconds=1)
    assert world.run("accuracy", "--endpoint", "churn") == 0
    since = world.now - 2 * timedelta(days=7)
    assert f"1 of no prediction since {since:%Y-%m-%d %H:%M}Z" in world.text


def test_the_first_label_of_a_row_in_a_file_counts(world: World, tmp_path: Path) -> None:
    world.traffic(world.people(1))
    path = tmp_path / "labels.csv"
    for number, (first, second) in enumerate([("5", "6"), ("6", "5")]):
        path.write_text(f"request_id,label\nr{number},{first}\nr{number},{second}\nr{number},{first}\n")
        assert world.run("label", str(path), "--endpoint", "churn") == 0
    files = (Home(root=world.home).events / "labels").rglob("*.parquet")
    table = pd.concat(pd.read_parquet(file) for file in files)
    first = table.sort_values("time").drop_duplicates("request_id").set_index("request_id")
    assert first["label"].to_dict() == {"r0": 5.0, "r1": 6.0}
    assert list(table.groupby("request_id")["time"].nunique()) == [2, 2]


def test_events_by_a_clock_that_is_ahead_are_found_by_their_labels(world: World, labels: Path) -> None:
    world.traffic(world.people(20))
    then = world.now
    world.now -= timedelta(minutes=30)
    assert world.run("label", str(labels), "--endpoint", "churn") == 0
    assert "1 belong to no logged prediction" in world.text
    world.now -= timedelta(minutes=10)
    assert world.run("label", str(labels), "--endpoint", "churn") == 0
    assert world.text.startswith("unchanged: no new label; 3 were there already")
    world.now = then


def test_what_a_client_wrote_moves_no_cursor_and_breaks_no_line(world: World) -> None:
    world.traffic(world.people(20, plan="\x1b\n"))
    assert world.run("accuracy", "--endpoint", "churn", "--segment", "plan") == 0
    assert "\x1b" not in world.text
    assert [line.split()[3] for line in world.text.splitlines()[2:]] == ["\\n", "\\x1b"]


def test_stretches_of_seconds_are_told_apart(world: World) -> None:
    world.traffic(world.people(3))
    assert world.run("accuracy", "--endpoint", "churn", "--every", "7s") == 0
    assert re.search(r"\d\d:\d\d:\d\dZ", world.text)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--window", "900000d", "'900000d' is longer than 36500d"),
        ("--maturity", "900000d", "'900000d' is longer than 36500d"),
        ("--every", "0.0000001s", "'0.0000001s' is no span of time"),
        ("--since", "0001-01-02", "'0001-01-02' lies before 1970-01-01"),
    ],
)
def test_spans_and_moments_that_no_calendar_has_are_refused(world: World, option: str, value: str, said: str) -> None:
    world.traffic(world.people(3))
    assert world.run("accuracy", "--endpoint", "churn", option, value) == 2
    assert said in world.warned[0]
