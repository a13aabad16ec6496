"""What is done to frames before any statistic, and before Evidently sees them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlflow_deploy_plugin.errors import UserError
from pipelines.monitoring import reference, validity
from pipelines.monitoring.columns import aligned, kinds_of, of_one_width
from pipelines.monitoring.exposure import Seen, periods, settled, tally
from pipelines.monitoring.multivariate import separation
from pipelines.monitoring.univariate import shifts
from pipelines.promotion.drift.policy import DriftPolicy

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
DRAW = np.random.default_rng(3)


def test_unsigned_nullable_and_boolean_columns_are_compared_and_not_dropped() -> None:
    frame = pd.DataFrame(
        {
            "small": np.arange(200, dtype="uint8"),
            "maybe": pd.array(range(200), dtype="Int64"),
            "flag": [True, False] * 100,
            "few": [1, 2] * 100,
        }
    )
    columns = kinds_of(frame)
    assert columns.numbers == ("small", "maybe")
    assert columns.categories == ("flag", "few")
    assert {str(kind) for kind in aligned(frame, columns).dtypes} == {"float64", "object"}


def test_a_category_means_the_same_as_a_number_a_float_and_a_boolean() -> None:
    columns = kinds_of(pd.DataFrame({"few": [0, 1] * 10}))
    logged = pd.DataFrame({"few": [0.0, 1.0, None]})
    assert aligned(logged, columns)["few"].tolist() == ["0", "1", None]
    assert aligned(pd.DataFrame({"few": [True, False]}), columns)["few"].tolist() == ["1", "0"]


def test_times_free_text_lists_and_empty_columns_are_named_and_left_out() -> None:
    frame = pd.DataFrame(
        {
            "day": pd.to_datetime(["2026-01-01"] * 300),
            "comment": [f"text {n}" for n in range(300)],
            "vector": [[1, 2]] * 300,
            "empty": [None] * 300,
        }
    )
    columns = kinds_of(frame)
    assert columns.compared == ()
    assert {name for name, _ in columns.skipped} == {"day", "comment", "vector", "empty"}


def test_infinite_numbers_count_as_missing() -> None:
    columns = kinds_of(pd.DataFrame({"x": [0.5, 1.5]}))
    assert aligned(pd.DataFrame({"x": [float("inf"), 1.0]}), columns)["x"].isna().tolist() == [True, False]


def test_numbers_too_large_to_be_added_up_count_as_missing_too() -> None:
    columns = kinds_of(pd.DataFrame({"x": [0.5, 1.5]}))
    found = aligned(pd.DataFrame({"x": [1e308, -1e308, 1e139]}), columns)["x"]
    assert found.isna().tolist() == [True, True, False]


def test_a_number_beyond_32_bits_is_one_that_the_classifier_can_look_at() -> None:
    ours, theirs = (pd.DataFrame({"x": DRAW.normal(size=200), "y": DRAW.normal(size=200)}) for _ in range(2))
    assert separation(ours.assign(x=ours["x"] + 1e100), theirs).auc > 0.9
    ours.loc[0, "x"] = -1e100
    assert separation(ours, theirs).auc < 0.6


def test_a_column_that_one_arm_lacks_is_told_and_blocks_the_inputs() -> None:
    known = pd.DataFrame({"age": [1.5, 2.5]})
    (check,) = validity.schema_checks(
        pd.DataFrame({"other": [1.0]})[[]], arm="v2", reference=known, columns=kinds_of(known)
    )
    assert (check.name, check.scope) == ("missing-columns", "inputs")


def test_a_number_that_was_logged_as_text_blocks_the_inputs() -> None:
    known = pd.DataFrame({"age": [1.5, 2.5]})
    logged = pd.DataFrame({"age": ["old", "young"]})
    (check,) = validity.schema_checks(logged, arm="v2", reference=known, columns=kinds_of(known))
    assert "age is text in the log of v2 (first: 'old')" in check.detail


def test_ninety_per_cent_missing_is_a_shift_of_its_own() -> None:
    known = pd.DataFrame({"age": DRAW.normal(size=400)})
    logged = known.assign(age=known["age"].where(np.arange(400) % 10 == 0))
    found = shifts(logged, known, arm="v2", against="reference", policy=DriftPolicy())
    assert [s.method for s in found if s.effect > 0.5] == ["missing"]
    ((check, _),) = validity.missingness_checks(logged, arm="v2", baseline=known, against="the reference")
    assert check.scope == "inputs"


def test_numbers_of_64_bits_keep_their_digits_where_no_side_has_fewer() -> None:
    known = pd.DataFrame({"opened": [1.7e9 + 0.1, 1.7e9 + 7.3], "huge": [1e100, 0.1]})
    frames = {name: aligned(frame, kinds_of(known)) for name, frame in {"a": known, "b": known + 3.0}.items()}
    made = of_one_width(frames, kinds_of(known))
    assert all(made[name].equals(frames[name]) for name in frames)


def test_numbers_that_32_bits_do_not_hold_stay_what_they_are() -> None:
    wide = pd.DataFrame({"x": [1e100, 1e-100, 0.1, None]})
    narrow = pd.DataFrame({"x": [0.1]}).astype("float32").astype("float64")
    made = of_one_width({"a": wide, "b": narrow}, kinds_of(wide))["a"]
    assert made["x"].tolist()[:3] == [1e100, 1e-100, narrow["x"][0]]
    assert made["x"].isna().tolist() == [False, False, False, True]


def test_values_out_of_range_and_new_categories_are_told_and_block_nothing() -> None:
    known = pd.DataFrame({"age": [1.0, 2.5, 3.5], "plan": ["a", "b", "a"]})
    logged = pd.DataFrame({"age": [1.0, 99.0, 2.0], "plan": ["a", "z", "b"]})
    found = list(validity.range_checks(logged, arm="v2", reference=known, columns=kinds_of(known)))
    assert [(check.name, check.scope) for check in found] == [("range", "none"), ("categories", "none")]


def test_users_are_counted_by_the_split_under_which_they_were_first_seen() -> None:
    splits = {
        "c1": {"churn": 1000},
        "c2": {"churn": 900, "v2": 100},
        "c3": {"churn": 900, "v2": 100},
        "c4": {"churn": 600, "v2": 400},
    }
    seen = [
        Seen(arm=arm, commit=commit, began=NOON + timedelta(minutes=minute), users=users, failed=1)
        for minute, (commit, arm, users) in enumerate(
            [("c1", "churn", 50), ("c2", "churn", 90), ("c2", "v2", 10), ("c3", "v2", 5), ("c4", "churn", 60),
             ("c4", "v2", 40), ("unknown", "v2", 7)]
        )
    ]  # fmt: skip
    found, lost = periods(seen, arms=("churn", "v2"), split_of=splits.get)
    assert lost == 57
    canary = tally(found, "v2")
    assert canary is not None
    assert (canary.exposed, canary.shares) == ((15, 40), (0.1, 0.4))


@pytest.mark.parametrize(
    ("commits", "minute"),
    [
        (["c1", "c2", "c2"], 1),
        (["c2", "c1"], None),
        (["unknown", "c2"], None),
        (["unknown", "c1", "c2"], 2),
        ([], None),
    ],
)
def test_users_count_from_when_the_gateway_served_the_split(commits: list[str], minute: int | None) -> None:
    splits = {"c1": {"churn": 900}, "c2": {"churn": 900, "v2": 100}}
    seen = [
        Seen(arm="churn", commit=commit, began=NOON + timedelta(minutes=at), users=9, failed=0)
        for at, commit in enumerate(commits)
    ]
    began = settled(seen, arms=("churn", "v2"), split_of=splits.get)
    assert began == (None if minute is None else NOON + timedelta(minutes=minute))


def test_users_do_not_count_before_the_gateway_serves_the_split() -> None:
    seen = [Seen(arm="churn", commit="c1", began=NOON, users=9, failed=0)]
    began = settled(seen, arms=("churn", "v2"), split_of={"c1": {"churn": 1000}}.get)
    assert began is not None
    assert began > NOON + timedelta(days=365_000)


def test_the_reference_leaves_out_what_the_model_does_not_take(tmp_path: Path) -> None:
    source = tmp_path / "churn" / "abc" / "src"
    (source / "model").mkdir(parents=True)
    pd.DataFrame({"age": [1.5], "target": [1]}).to_parquet(source / "reference.parquet")
    (source / "model" / "MLmodel").write_text('signature:\n  inputs: \'[{"name": "age", "type": "double"}]\'\n')
    sample = reference.of_bento(source.parent)
    assert sample is not None
    assert list(sample.frame.columns) == ["age"]
    assert (sample.about.source, sample.about.rows) == ("churn:abc", 1)
    assert sample.about.digest.startswith("sha256:")


def test_a_bento_without_a_sample_has_none(tmp_path: Path) -> None:
    assert reference.of_bento(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"no parquet"])
def test_a_reference_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "reference.parquet"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        reference.of_file(path)
