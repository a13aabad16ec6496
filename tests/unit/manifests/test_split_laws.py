"""The laws of the split, over every layout that growth, shrinking and joining can reach."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_deploy_plugin.errors import ConfigError, ConflictError
from mlflow_deploy_plugin.manifests.model import Backend, Route
from mlflow_deploy_plugin.manifests.split import (
    MAX_SLOTS,
    assign,
    layout,
    moved,
    moved_share,
    owners,
    places,
    resplit,
    without,
)

STABLE = "stable"
ARMS = [f"arm{index}" for index in range(8)]


def route(backends: tuple[Backend, ...], salt: str = "exp-42") -> Route:
    return Route(endpoint="e", stage="production", backends=backends, stable=STABLE, salt=salt)


def weights_of(arms: dict[str, int]) -> dict[str, int]:
    return {**arms, STABLE: 1000 - sum(arms.values())}


@st.composite
def arm_weights(draw: st.DrawFn, names: list[str], total: int = 1000) -> dict[str, int]:
    cuts = sorted(draw(st.lists(st.integers(0, total), min_size=len(names), max_size=len(names))))
    widths = [high - low for low, high in zip([0, *cuts], cuts, strict=False)]
    return dict(zip(draw(st.permutations(names)), widths, strict=True))


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, int]]:
    """Splits one after the other; arms join over time, at most eight."""
    count = draw(st.integers(1, 8))
    return [draw(arm_weights(ARMS[: draw(st.integers(1, count))])) for _ in range(draw(st.integers(1, 6)))]


def law_holds(before: Route, after: Route) -> bool:
    """Arms trade with stable only: nobody moves but towards what grows, or from what shrinks to stable."""
    old, new = before.weights, after.weights
    return all(
        (target != STABLE and new[target] > old.get(target, 0))
        or (target == STABLE and new.get(source, 0) < old[source])
        for source, target in moved(before, after)
    )


@given(histories())
def test_users_move_only_towards_what_grows_through_any_history(states: list[dict[str, int]]) -> None:
    current = route((Backend(deployment=STABLE, weight=1000),))
    for arms in states:
        try:
            after = route(resplit(current.backends, weights_of(arms), STABLE))
        except ConflictError:  # it would need more than 16 slots
            return
        assert law_holds(current, after)
        assert all(weights_of(arms).get(name, 0) == weight for name, weight in after.weights.items())
        assert weights_of(arms).keys() <= after.weights.keys()
        assert len(after.backends) <= MAX_SLOTS
        current = after


@given(arm_weights(ARMS[:3], total=900), st.sampled_from(ARMS[:3]), st.integers(1, 100))
def test_growing_one_arm_takes_users_from_stable_alone(arms: dict[str, int], grown: str, by: int) -> None:
    start = (Backend(deployment=STABLE, weight=1000),)
    before = route(resplit(start, weights_of(arms), STABLE))
    after = route(resplit(before.backends, weights_of({**arms, grown: arms[grown] + by}), STABLE))
    assert moved(before, after) == {(STABLE, grown): by}


@given(st.integers(1, 8), st.data())
def test_a_fresh_layout_grows_within_fixed_slots(count: int, data: st.DataObject) -> None:
    room = 1000 // count if count > 2 else 500
    names = ARMS[:count]
    low = {name: data.draw(st.integers(0, room)) for name in names}
    high = {name: data.draw(st.integers(low[name], room)) for name in names}
    before, after = route(layout(weights_of(low), STABLE)), route(layout(weights_of(high), STABLE))
    assert all(source == STABLE and high[target] > low[target] for source, target in moved(before, after))
    assert [b.deployment for b in before.backends] == [b.deployment for b in after.backends]


@given(st.integers(1, 8), st.data())
def test_growth_in_place_equals_a_fresh_layout(count: int, data: st.DataObject) -> None:
    room = 1000 // count if count > 2 else 500
    low = {name: data.draw(st.integers(0, room)) for name in ARMS[:count]}
    high = {name: data.draw(st.integers(low[name], room)) for name in ARMS[:count]}
    assert resplit(layout(weights_of(low), STABLE), weights_of(high), STABLE) == layout(weights_of(high), STABLE)


def test_two_arms_stand_on_both_sides_of_stable() -> None:
    assert [b.deployment for b in layout({"a": 1, STABLE: 998, "b": 1}, STABLE)] == ["a", STABLE, "b"]


def test_a_third_arm_settles_in_the_midst_of_stable() -> None:
    backends = layout({"a": 100, STABLE: 800, "b": 100}, STABLE)
    joined = resplit(backends, {"a": 100, STABLE: 700, "b": 100, "c": 100}, STABLE)
    assert [(b.deployment, b.weight) for b in joined] == [
        ("a", 100),
        (STABLE, 350),
        ("c", 100),
        (STABLE, 350),
        ("b", 100),
    ]


def test_a_hand_made_order_is_kept_and_obeys_the_law() -> None:
    before = route((Backend(deployment=STABLE, weight=800), *(Backend(deployment=n, weight=100) for n in "bc")))
    after = route(resplit(before.backends, {STABLE: 700, "b": 100, "c": 200}, STABLE))
    assert moved(before, after) == {(STABLE, "c"): 100}


def test_a_return_to_earlier_weights_is_a_return_to_earlier_users() -> None:
    start = layout({"a": 100, STABLE: 900}, STABLE)
    there = resplit(start, {"a": 1000, STABLE: 0}, STABLE)
    assert resplit(there, {"a": 100, STABLE: 900}, STABLE) == start


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({STABLE: 900}, "sum to 900, not 1000"),
        ({STABLE: 1100, "a": -100}, "below 0"),
        ({STABLE: 991, **{f"a{i}": 1 for i in range(9)}}, "more than 8"),
    ],
)
def test_impossible_weights_are_refused(weights: dict[str, int], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        layout(weights, STABLE)
    with pytest.raises(ConfigError, match=says):
        resplit((Backend(deployment=STABLE, weight=1000),), weights, STABLE)


def test_an_arm_that_outgrows_its_slot_is_refused_in_a_fresh_layout() -> None:
    with pytest.raises(ConfigError, match="'a' does not fit its slot of 334"):
        layout({"a": 400, "b": 1, "c": 1, STABLE: 598}, STABLE)


def test_taking_a_deployment_away_joins_the_slots_beside_it() -> None:
    backends = resplit(layout({"a": 1, STABLE: 998, "b": 1}, STABLE), {"a": 1, STABLE: 998, "b": 1, "c": 0}, STABLE)
    assert [(b.deployment, b.weight) for b in without(backends, "c")] == [("a", 1), (STABLE, 998), ("b", 1)]


def test_the_pick_is_envoys() -> None:
    split = route(layout({"a": 100, STABLE: 900}, STABLE))
    picks = [assign(f"user-{index}", split) for index in range(2000)]
    assert 160 < picks.count("a") < 240


@settings(deadline=None)  # the first call imports numpy
@given(arm_weights(ARMS[:2]), st.lists(st.text(min_size=1).filter(lambda text: text.isprintable()), max_size=30))
def test_many_users_at_once_are_dealt_as_each_alone(arms: dict[str, int], users: list[str]) -> None:
    split = route(layout(weights_of(arms), STABLE))
    assert owners(split)[places(users, split.salt)].tolist() == [assign(user, split) for user in users]


def test_an_empty_user_id_has_no_bucket() -> None:
    with pytest.raises(ConfigError, match="request id"):
        assign("", route((Backend(deployment=STABLE, weight=1000),)))
    with pytest.raises(ConfigError, match="request id"):
        places(["ann", ""], "s")


def test_another_salt_deals_everybody_anew() -> None:
    split = layout({"a": 100, STABLE: 900}, STABLE)
    assert moved_share(route(split), route(split)) == 0
    assert moved_share(route(split), route(split, salt="other")) == pytest.approx(2 * 0.1 * 0.9)
