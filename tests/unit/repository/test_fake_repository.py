"""The fake keeps the rules of the real one."""

import pytest

from mlflow_deploy_plugin.errors import RetryLaterError
from mlflow_deploy_plugin.manifests.model import Files
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.repository import FakeRepository, RepositoryDoor
from mlflow_deploy_plugin.repository.fake import MAX_LOSSES


def count(files: Files) -> tuple[Files, Message]:
    value = int(files.get("count", "0")) + 1
    return {**files, "count": str(value)}, Message(subject=f"Count {value}", trailers=Trailers(operation=""))


def test_it_is_a_door() -> None:
    door: RepositoryDoor = FakeRepository()
    assert door.head() is None
    assert door.files("") == {}
    assert door.change(count, operation="op1").changed


def test_a_rival_makes_the_push_lose_and_the_intent_is_asked_again() -> None:
    repository = FakeRepository({"count": "1"}, rivals=[lambda door: door.push({"count": "10"}, "By hand")])
    result = repository.change(count, operation="op1")
    assert repository.files(result.sha) == {"count": "11"}
    assert [commit.subject for commit in repository.history(path="count")] == ["Count 11", "By hand", "Begin"]


def test_an_operation_is_committed_once_and_nothing_is_no_commit() -> None:
    repository = FakeRepository({})
    first = repository.change(count, operation="op1")
    assert repository.change(count, operation="op1").sha == first.sha
    same = repository.change(
        lambda files: (files, Message(subject="x", trailers=Trailers(operation=""))), operation="op2"
    )
    assert (same.sha, same.changed) == (first.sha, False)


def test_rivals_without_end_are_told() -> None:
    rival = [lambda door, n=n: door.push({"n": str(n)}, "By hand") for n in range(MAX_LOSSES)]
    with pytest.raises(RetryLaterError, match=f"quicker {MAX_LOSSES} times"):
        FakeRepository({}, rivals=rival).change(count, operation="op1")


def test_a_rewrite_is_seen() -> None:
    repository = FakeRepository({})
    gone = repository.change(count, operation="op1").sha
    repository.rewrite(1)
    head = repository.head()
    assert head is not None
    assert not repository.is_ancestor(gone, head.sha)
    assert repository.files(head.sha, "count") == {}
