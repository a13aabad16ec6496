"""The laws of the waiting room, for any order of arrivals, failures and clocks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from mlflow_deploy_plugin.serving.batching import Batcher, ServiceTime, Ticket

FOREVER = float("inf")
GROUPS = ("a", "b", None)


def make(*, max_rows: int = 4, max_waiting: int = 100, latency_s: float = 1.0, is_joining: bool = True) -> Batcher[int]:
    return Batcher(max_rows=max_rows, max_waiting=max_waiting, latency_s=latency_s, is_joining=is_joining)


def ticket(item: int, *, rows: int = 1, group: str | None = "a", deadline: float = FOREVER) -> Ticket[int]:
    return Ticket(item, rows, group, deadline)


def items(tickets: list[Ticket[int]]) -> list[int]:
    return [each.item for each in tickets]


def nobody(_: int) -> bool:
    return False


def take(batcher: Batcher[int], now: float = 0.0) -> list[int]:
    return items(batcher.take(now, nobody).batch)


def fill(batcher: Batcher[int], *tickets: Ticket[int]) -> None:
    assert all(batcher.offer(each) for each in tickets)


def test_a_lone_request_is_taken_at_once() -> None:
    batcher = make()
    fill(batcher, ticket(1))
    assert take(batcher) == [1]


def test_rows_are_counted_not_requests() -> None:
    batcher = make(max_rows=4)
    fill(batcher, ticket(1, rows=2), ticket(2, rows=2), ticket(3, rows=1))
    assert take(batcher) == [1, 2]
    assert take(batcher) == [3]


def test_a_request_larger_than_a_batch_runs_alone_and_whole() -> None:
    batcher = make(max_rows=4)
    fill(batcher, ticket(1, rows=9), ticket(2))
    assert take(batcher) == [1]


def test_the_oldest_decides_the_group_and_others_keep_their_order() -> None:
    batcher = make()
    fill(batcher, ticket(1, group="a"), ticket(2, group="b"), ticket(3, group="a"), ticket(4, group="b"))
    assert take(batcher) == [1, 3]
    assert take(batcher) == [2, 4]


def test_a_request_without_group_is_never_joined() -> None:
    batcher = make()
    fill(batcher, ticket(1, group=None), ticket(2, group=None), ticket(3))
    assert [take(batcher) for _ in range(3)] == [[1], [2], [3]]


def test_without_joining_every_request_runs_alone() -> None:
    batcher = make(is_joining=False)
    fill(batcher, ticket(1), ticket(2))
    assert take(batcher) == [1]


def test_a_failed_batch_runs_again_one_by_one_before_the_others() -> None:
    batcher = make()
    fill(batcher, ticket(1), ticket(2))
    failed = batcher.take(0.0, nobody).batch
    fill(batcher, ticket(3))
    batcher.put_back(failed)
    assert [take(batcher) for _ in range(3)] == [[1], [2], [3]]


def test_what_is_late_or_gone_costs_no_batch() -> None:
    batcher = make()
    fill(batcher, ticket(1, deadline=1.0), ticket(2), ticket(3))
    taken = batcher.take(2.0, lambda item: item == 2)
    assert (items(taken.expired), items(taken.gone), items(taken.batch)) == ([1], [2], [3])


def test_a_full_room_refuses_but_an_empty_one_never_does() -> None:
    batcher = make(max_waiting=3)
    assert batcher.offer(ticket(1, rows=50))
    assert not batcher.offer(ticket(2))


def test_a_batch_shrinks_to_keep_the_latency_target() -> None:
    batcher = make(max_rows=64, latency_s=0.1)
    for rows in (1, 2, 4, 8):
        batcher.service.learn(rows, 0.010 + 0.005 * rows)
    assert batcher.row_limit == 8  # 10 ms + 8 rows of 5 ms fill half of 100 ms


def test_a_cheap_row_lets_a_batch_grow_to_its_most() -> None:
    batcher = make(max_rows=64, latency_s=0.1)
    for rows in (1, 2, 4, 8):
        batcher.service.learn(rows, 0.0004)
    assert batcher.row_limit == 64


def test_where_one_row_is_too_slow_batches_grow_for_the_queue_behind() -> None:
    service = ServiceTime()
    for rows in (1, 2, 1, 2):
        service.learn(rows, 1.0 + 0.01 * rows)
    assert service.rows_within(0.1, 64) == 64


@given(
    fixed=st.floats(0.0, 0.5),
    per_row=st.floats(1e-6, 0.1),
    sizes=st.lists(st.integers(1, 64), min_size=2, max_size=50),
)
def test_the_fit_finds_the_cost_that_it_was_shown(fixed: float, per_row: float, sizes: list[int]) -> None:
    service = ServiceTime()
    for rows in sizes:
        service.learn(rows, fixed + per_row * rows)
    found_fixed, found_per_row = service.fit()
    if len(set(sizes)) > 1:
        mean = sum(sizes) / len(sizes)
        assert found_fixed + found_per_row * mean == pytest.approx(fixed + per_row * mean, rel=0.05, abs=1e-4)
    assert found_fixed >= 0.0
    assert found_per_row >= 0.0


@given(latency_s=st.floats(0.001, 10), most=st.integers(1, 512), seconds=st.lists(st.floats(1e-6, 5), max_size=20))
def test_the_limit_is_always_a_possible_batch(latency_s: float, most: int, seconds: list[float]) -> None:
    service = ServiceTime()
    for at, second in enumerate(seconds):
        service.learn(1 + at % 7, second)
    assert 1 <= service.rows_within(latency_s, most) <= most


class WaitingRoom(RuleBasedStateMachine):
    """Arrivals, batches, failures and lost clients in any order: nobody is lost, doubled or mixed."""

    taken_batches = Bundle("taken_batches")

    def __init__(self) -> None:
        super().__init__()
        self.batcher = make(max_rows=8, max_waiting=40)
        self.now = 0.0
        self.next_item = 0
        self.waiting: dict[int, int] = {}
        self.running: set[int] = set()
        self.done: set[int] = set()
        self.lost: set[int] = set()

    @rule(rows=st.integers(1, 12), group=st.sampled_from(GROUPS), patience=st.sampled_from([1.0, 5.0, FOREVER]))
    def arrive(self, rows: int, group: str | None, patience: float) -> None:
        item = self.next_item
        is_let_in = self.batcher.offer(ticket(item, rows=rows, group=group, deadline=self.now + patience))
        room = sum(self.waiting.values()) + rows <= 40 or not self.waiting
        assert is_let_in == room
        if is_let_in:
            self.next_item += 1
            self.waiting[item] = rows

    @rule(target=taken_batches, step=st.sampled_from([0.0, 2.0]))
    def take(self, step: float) -> list[Ticket[int]]:
        self.now += step
        taken = self.batcher.take(self.now, self.lost.__contains__)
        for each in taken.expired:
            assert each.deadline <= self.now
        for each in [*taken.expired, *taken.gone]:
            del self.waiting[each.item]
            self.done.add(each.item)
        rows = [self.waiting.pop(item) for item in items(taken.batch)]
        assert sum(rows) <= 8 or len(rows) == 1
        assert len({each.group for each in taken.batch}) <= 1
        assert len(rows) <= 1 or taken.batch[0].group is not None
        assert not self.lost & set(items(taken.batch))
        self.running |= set(items(taken.batch))
        return taken.batch

    @rule(batch=consumes(taken_batches))
    def succeed(self, batch: list[Ticket[int]]) -> None:
        self.running -= set(items(batch))
        self.done |= set(items(batch))

    @rule(batch=consumes(taken_batches))
    def fail(self, batch: list[Ticket[int]]) -> None:
        if len(batch) < 2:
            self.succeed(batch)
            return
        self.running -= set(items(batch))
        self.batcher.put_back(batch)
        self.waiting |= {each.item: each.rows for each in batch}

    @rule(choice=st.randoms(use_true_random=False))
    def lose_a_client(self, choice: st.DataObject) -> None:
        if self.waiting:
            self.lost.add(choice.choice(sorted(self.waiting)))  # type: ignore[attr-defined]

    @invariant()
    def nobody_is_lost(self) -> None:
        assert set(range(self.next_item)) == set(self.waiting) | self.running | self.done
        assert self.batcher.waiting_rows == sum(self.waiting.values())
        assert len(self.batcher) == len(self.waiting)


WaitingRoom.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestWaitingRoom = WaitingRoom.TestCase
