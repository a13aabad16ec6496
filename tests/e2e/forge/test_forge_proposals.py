"""A branch that takes no push: the change waits on a branch of its own, once, and keeps its trailers when merged."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin.errors import ConflictError
from mlflow_deploy_plugin.repository import Repository

pytestmark = pytest.mark.e2e

Promote = Callable[[Repository, str, str], Any]


@pytest.fixture
def repository(forge: Any, tmp_path: Path) -> Repository:
    url = forge.create({"README.md": "served\n"})
    forge.protect()
    return replace(Repository.open(url, clones=tmp_path / "clones"), mode="pull-request")


def test_a_proposal_is_the_same_commit_on_a_branch_of_its_own(
    forge: Any, repository: Repository, promote: Promote
) -> None:
    result = promote(repository, "churn", "o1")
    assert result.changed
    assert result.review == "ask for branch 'modelserve/o1' to be merged into 'main'"
    assert forge.branches() == ["main", "modelserve/o1"]
    assert forge.git("rev-parse", "modelserve/o1") == result.sha
    assert forge.git("rev-parse", "modelserve/o1^") == result.before == forge.git("rev-parse", "main")
    assert forge.operations("modelserve/o1") == ["o1", "begin"]
    head = repository.head()
    assert head is not None
    assert head.sha == result.before  # nothing is served that nobody merged


def test_a_proposal_and_a_push_have_the_same_tree_and_message(
    forge: Any, repository: Repository, promote: Promote, tmp_path: Path
) -> None:
    promote(repository, "churn", "o1")
    forge.hook("update", "exit 0")
    promote(Repository.open(forge.url(), clones=tmp_path / "direct"), "churn", "o1")
    for what in ("%P", "%T", "%B"):  # parent, tree, and the whole message
        proposed, pushed = (forge.git("log", "-1", f"--format={what}", name) for name in ("modelserve/o1", "main"))
        assert proposed == pushed


def test_an_operation_is_proposed_once(forge: Any, repository: Repository, promote: Promote, tmp_path: Path) -> None:
    first = promote(repository, "churn", "o1")
    elsewhere = replace(Repository.open(forge.url(), clones=tmp_path / "elsewhere"), mode="pull-request")
    for again in (promote(repository, "churn", "o1"), promote(elsewhere, "churn", "o1")):
        assert not again.changed
        assert (again.sha, again.review) == (first.sha, first.review)
    assert forge.pushes == 1


def test_what_reviewers_add_to_a_proposal_stays(
    forge: Any, repository: Repository, promote: Promote, tmp_path: Path
) -> None:
    first = promote(repository, "churn", "o1")
    checkout = _clone(forge, tmp_path, branch="modelserve/o1")
    (checkout / "note.md").write_text("looked at by Ada\n")
    _commit(checkout, "Look at it", "note.md")
    _git(checkout, "push", "--quiet")
    again = promote(repository, "churn", "o1")
    assert (again.sha, again.changed) == (first.sha, False)
    assert forge.text("note.md", "modelserve/o1") == "looked at by Ada"


def test_a_lost_answer_to_a_proposal_is_found_out(forge: Any, repository: Repository, promote: Promote) -> None:
    forge.faults.append("cut answer")
    result = promote(repository, "churn", "o1")
    assert result.changed
    assert result.review
    assert forge.operations("modelserve/o1") == ["o1", "begin"]


def test_the_forges_own_link_is_shown(forge: Any, repository: Repository, promote: Promote) -> None:
    link = f"http://127.0.0.1:{forge.port}/team/models/pulls/new?head=modelserve/o1"
    forge.hook("post-receive", f"echo \"Create a pull request for 'modelserve/o1' by visiting:\"\necho '     {link}'")
    assert promote(repository, "churn", "o1").review == f"open {link} to have it merged"


def test_a_link_to_another_host_is_not(forge: Any, repository: Repository, promote: Promote) -> None:
    forge.hook("post-receive", "echo 'visit https://elsewhere.example/login'")
    assert "elsewhere" not in promote(repository, "churn", "o1").review


def test_a_branch_of_that_name_that_is_not_ours_is_left_alone(
    forge: Any, repository: Repository, promote: Promote
) -> None:
    forge.git("branch", "modelserve/o1", "main")
    with pytest.raises(ConflictError, match="merge it or delete it"):
        promote(repository, "churn", "o1")


@pytest.mark.parametrize("way", ["merge", "squash as git does", "squash as a forge does", "rebase"])
def test_a_merged_proposal_is_not_made_again(
    forge: Any, repository: Repository, promote: Promote, tmp_path: Path, way: str
) -> None:
    promote(repository, "churn", "o1")
    (forge.root / "team/models.git/hooks/update").unlink()  # a maintainer may push
    _merge(_clone(forge, tmp_path), way)
    forge.git("branch", "-D", "modelserve/o1")

    again = promote(repository, "churn", "o1")
    assert not again.changed
    assert not again.review
    assert forge.branches() == ["main"]
    found = repository.find("o1")
    assert found is not None
    assert found.trailers is not None
    assert (found.trailers.endpoint, found.trailers.action) == ("churn", "step")


def test_a_squash_of_two_proposals_is_known_as_both(
    forge: Any, repository: Repository, promote: Promote, tmp_path: Path
) -> None:
    promote(repository, "churn", "o1")
    promote(repository, "fraud", "o2")
    (forge.root / "team/models.git/hooks/update").unlink()
    checkout = _clone(forge, tmp_path)
    for name in ("o1", "o2"):
        _git(checkout, "merge", "--quiet", "--no-ff", "-m", "merge", f"origin/modelserve/{name}")
    bodies = [_git(checkout, "log", "-1", "--format=* %B", f"origin/modelserve/{name}") for name in ("o1", "o2")]
    _git(checkout, "reset", "--quiet", "--soft", "origin/main")
    _git(checkout, "commit", "--quiet", "-m", "Both (#7)\n\n" + "\n\n".join(bodies) + "\n\nCo-authored-by: A <a@b.c>")
    _git(checkout, "push", "--quiet")
    for name in ("o1", "o2"):
        forge.git("branch", "-D", f"modelserve/{name}")
    assert not promote(repository, "churn", "o1").changed
    assert not promote(repository, "fraud", "o2").changed


def _merge(checkout: Path, way: str) -> None:
    branch = "origin/modelserve/o1"
    match way:
        case "merge":
            _git(checkout, "merge", "--quiet", "--no-ff", "-m", "Merge pull request #1", branch)
        case "squash as git does":
            (checkout / "README.md").write_text("served, and more\n")
            _commit(checkout, "Meanwhile", "README.md")
            _git(checkout, "merge", "--quiet", "--squash", branch)
            _git(checkout, "commit", "--quiet", "--no-edit")
        case "squash as a forge does":
            body = _git(checkout, "log", "-1", "--format=%B", branch)
            subject, _, rest = body.partition("\n")
            _git(checkout, "merge", "--quiet", "--squash", branch)
            message = (
                f"{subject} (#1)\r\n\r\n* {body}\r\n\r\n* Look at it\r\n\r\n---------\r\n\r\nCo-authored-by: A <a@b.c>"
            )
            assert rest
            _git(checkout, "commit", "--quiet", "--cleanup=verbatim", "-m", message)
        case _:
            (checkout / "README.md").write_text("served, and more\n")
            _commit(checkout, "Meanwhile", "README.md")
            _git(checkout, "cherry-pick", branch)
    _git(checkout, "push", "--quiet")


def _clone(forge: Any, tmp_path: Path, *, branch: str = "main") -> Path:
    checkout = tmp_path / "maintainer"
    subprocess.run(["git", "clone", "--quiet", "--branch", branch, forge.url(), str(checkout)], check=True)
    return checkout


def _commit(checkout: Path, message: str, *paths: str) -> None:
    _git(checkout, "add", "--", *paths)
    _git(checkout, "commit", "--quiet", "-m", message)


def _git(checkout: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    command = ["git", "-C", str(checkout), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
