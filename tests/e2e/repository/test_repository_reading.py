"""Reading a repository, and what is said of one that cannot be read."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin.errors import AlreadyExistsError, ConfigError, GitError, RetryLaterError
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.repository import Intent, Repository, head_token
from mlflow_deploy_plugin.repository.address import git_folder
from mlflow_deploy_plugin.repository.git import Git

Setting = Callable[..., Intent]
pytestmark = pytest.mark.e2e

BEGIN = Message(subject="Begin", trailers=Trailers(operation="begin"))


def test_a_push_by_a_person_is_seen_after_a_fetch(repository: Repository, person: Any) -> None:
    sha = person.push("stages/production/b/route.yaml", "x", message="Hand\n\nwhy: because")
    assert repository.remote_head() == sha
    repository.fetch()
    head = repository.head()
    assert head is not None
    assert (head.sha, head.author, head.subject, head.trailers) == (sha, "Ada", "Hand", None)
    assert repository.files(sha, "stages/production/b") == {"stages/production/b/route.yaml": "x"}


def test_history_tells_of_one_endpoint_newest_first(repository: Repository, person: Any, setting: Setting) -> None:
    repository.change(setting("stages/production/a/route.yaml", "2", subject="a: moved", endpoint="a"), operation="op1")
    person.push("stages/production/b/route.yaml", "x", message="b by hand")
    person.push("stages/production/a/route.yaml", "3", message="a by hand")
    repository.fetch()
    commits = repository.history(path="stages/production/a")
    assert [(commit.subject, commit.trailers.operation if commit.trailers else "") for commit in commits] == [
        ("a by hand", ""),
        ("a: moved", "op1"),
        ("Begin", "begin"),
    ]
    assert [commit.subject for commit in repository.history(limit=1)] == ["a by hand"]


def test_a_rewritten_history_is_noticed(repository: Repository, person: Any, setting: Setting) -> None:
    old = repository.change(setting("x.txt", "1"), operation="op1").sha
    person.git("commit", "--quiet", "--amend", "-m", "Another beginning")
    person.git("push", "--quiet", "--force")
    repository.fetch()
    head = repository.head()
    assert head is not None
    assert head.subject == "Another beginning"
    assert not repository.is_ancestor(old, head.sha)
    assert repository.is_ancestor(head.sha, head.sha)
    assert not repository.is_ancestor("0" * 40, head.sha)


def test_a_checkout_of_the_user_is_never_touched(person: Any, tmp_path: Path, setting: Setting) -> None:
    person.git("config", "receive.denyCurrentBranch", "updateInstead")
    person.git("checkout", "--quiet", "-b", "elsewhere")
    (person.folder / "README.md").write_text("dirty", encoding="utf-8")
    (person.folder / "new.txt").write_text("staged", encoding="utf-8")
    person.git("add", "new.txt")
    before = (
        person.git("status", "--porcelain"),
        person.git("config", "--list", "--local"),
        person.git("stash", "list"),
    )
    repository = Repository.open(person.folder, clones=tmp_path / "clones")
    repository.change(setting("README.md", "ours"), operation="op1")
    after = (
        person.git("status", "--porcelain"),
        person.git("config", "--list", "--local"),
        person.git("stash", "list"),
    )
    assert after == before
    assert (person.folder / "README.md").read_text(encoding="utf-8") == "dirty"
    assert person.git("show", "main:README.md") == "ours"


def test_a_branch_that_is_checked_out_is_refused_with_the_way_out(
    person: Any, tmp_path: Path, setting: Setting
) -> None:
    repository = Repository.open(person.folder, clones=tmp_path / "clones")
    with pytest.raises(GitError, match=r"'main' is checked out there.*receive\.denyCurrentBranch updateInstead"):
        repository.change(setting("x.txt", "1"), operation="op1")
    person.git("config", "receive.denyCurrentBranch", "updateInstead")
    assert repository.change(setting("x.txt", "1"), operation="op1").changed
    assert (person.folder / "x.txt").read_text(encoding="utf-8") == "1"
    (person.folder / "x.txt").write_text("dirty", encoding="utf-8")
    with pytest.raises(GitError, match="its checkout has uncommitted changes"):
        repository.change(setting("x.txt", "2"), operation="op2")


def test_hooks_and_variables_of_the_caller_do_not_reach_git(
    bare: Path, tmp_path: Path, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("pre-push", "post-commit", "pre-commit"):
        (hooks / name).write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
        (hooks / name).chmod(0o700)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".gitconfig").write_text(f"[core]\n\thooksPath = {hooks}\n", encoding="utf-8")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    repository = Repository.open(bare, clones=tmp_path / "clones")
    assert repository.change(setting("x.txt", "1"), operation="op1").changed


def test_what_is_no_repository_is_said(tmp_path: Path) -> None:
    with pytest.raises(GitError, match=r"there is no such folder; .* `git init --bare`"):
        Repository.open(tmp_path / "nothing", clones=tmp_path / "clones")
    (tmp_path / "folder").mkdir()
    with pytest.raises(GitError, match="there is no git repository; check the address"):
        Repository.open(tmp_path / "folder", clones=tmp_path / "clones")
    with pytest.raises(RetryLaterError, match="cannot be reached now; try again later"):
        Repository.open("http://127.0.0.1:9/x.git", clones=tmp_path / "clones")


@pytest.mark.parametrize("address", ["", "--upload-pack=x", "ext::sh -c x", "a\nb", "gopher://x/y", "fd::3"])
def test_what_is_no_address_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        Repository.open(address, clones=tmp_path / "clones")


def test_a_new_repository_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "new.git"
    sha = Repository.create_bare(path, {"a.txt": "a"}, BEGIN)
    head = Repository.open(path, clones=tmp_path / "clones").head()
    assert head is not None
    assert head.sha == sha
    with pytest.raises(AlreadyExistsError, match="exists already"):
        Repository.create_bare(path, {}, BEGIN)
    assert [entry.name for entry in path.parent.iterdir()] == ["new.git"]


def test_the_token_moves_with_the_branch_and_only_then(bare: Path, person: Any) -> None:
    before = head_token(bare)
    assert head_token(bare) == before
    person.push("x.txt", "1")
    moved = head_token(bare)
    assert moved != before
    Git().run(bare, ["pack-refs", "--all"])
    person.push("x.txt", "2")
    assert head_token(bare) not in (before, moved)
    assert head_token(person.folder) == head_token(person.folder / ".git")
    assert head_token(bare / "nothing") == head_token(bare / "nothing")


def test_a_worktree_shares_the_branches_of_its_repository(person: Any, tmp_path: Path) -> None:
    person.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    assert git_folder(tmp_path / "side") == person.folder / ".git" / "worktrees" / "side"
    assert head_token(tmp_path / "side") == head_token(person.folder)


def imported(folder: Path, files: dict[str, str]) -> Path:
    """A bare repository of one commit, made by git's fastest way in."""
    parts = [f"M 100644 inline {path}\ndata {len(text)}\n{text}\n" for path, text in files.items()]
    stream = "commit refs/heads/main\ncommitter Ada <ada@example.org> 0 +0000\ndata 5\nBegin\n" + "".join(parts)
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(folder)], check=True)
    command = ["git", "-C", str(folder), "fast-import", "--quiet"]
    subprocess.run(command, input=stream.encode(), check=True)
    return folder


def test_a_thousand_endpoints_are_read_by_as_few_processes_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"stages/production/e{i}/{name}": f"{name} {i}\n" * 80 for i in range(1000) for name in "abcd"}
    repository = Repository.open(imported(tmp_path / "big.git", files), clones=tmp_path / "clones")
    head = repository.head()
    assert head is not None
    trace = tmp_path / "trace"
    monkeypatch.setenv("GIT_TRACE2_EVENT", str(trace))
    assert repository.files(head.sha) == files
    assert 0 < trace.read_text().count('"event":"start"') <= 3
    assert len(repository.files(head.sha, "stages/production/e7")) == 4
