"""One commit at a time, whatever happens around it."""

import stat
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from mlflow_deploy_plugin.errors import ConflictError, GitError, RetryLaterError
from mlflow_deploy_plugin.manifests.model import Files
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.repository import Intent, Repository
from mlflow_deploy_plugin.repository.git import Completed

pytestmark = pytest.mark.e2e

Setting = Callable[..., Intent]
Log = Callable[..., list[str]]


def test_a_change_is_one_commit_with_trailers(repository: Repository, setting: Setting, log: Log) -> None:
    before = repository.head()
    result = repository.change(
        setting("b.txt", "b", subject="b: set", endpoint="b", reason="two\nlines"), operation="op1"
    )
    head = repository.head()
    assert before is not None
    assert head is not None
    assert (result.sha, result.changed, result.before) == (head.sha, True, before.sha)
    assert head.trailers == Trailers(operation="op1", endpoint="b", reason="two lines")
    assert log() == ["b: set", "Begin"]
    assert repository.files(result.sha)["b.txt"] == "b"


def test_who_has_no_identity_commits_as_modelserve(repository: Repository, setting: Setting) -> None:
    repository.change(setting("b.txt", "b"), operation="op1")
    head = repository.head()
    assert head is not None
    assert (head.author, head.email) == ("modelserve", "modelserve@localhost")


def test_a_configured_identity_is_used(repository: Repository, setting: Setting, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n", encoding="utf-8")
    repository.change(setting("b.txt", "b"), operation="op1")
    head = repository.head()
    assert head is not None
    assert (head.author, head.email) == ("Ada", "ada@example.org")


def test_nothing_to_change_is_no_commit(repository: Repository, setting: Setting, log: Log) -> None:
    head = repository.head()
    assert head is not None
    result = repository.change(setting("README.md", "hello\n"), operation="op1")
    assert (result.sha, result.changed) == (head.sha, False)
    assert log() == ["Begin"]


def test_the_same_operation_is_committed_once(repository: Repository, setting: Setting, log: Log, person: Any) -> None:
    first = repository.change(setting("b.txt", "1"), operation="op1")
    person.push("b.txt", "2")
    again = repository.change(setting("b.txt", "1"), operation="op1")
    assert (again.sha, again.changed) == (first.sha, False)
    assert log() == ["By hand", "Set", "Begin"]


def test_an_operation_whose_name_begins_another_is_another(repository: Repository, setting: Setting) -> None:
    repository.change(setting("b.txt", "1"), operation="op11")
    assert repository.change(setting("b.txt", "2"), operation="op1").changed


def test_a_lost_race_is_decided_again_on_the_winners_tree(
    bare: Path, tmp_path: Path, watched: Any, person: Any, log: Log
) -> None:
    repository = Repository.open(bare, clones=tmp_path / "clones", git=watched)
    watched.before_push.append(lambda: person.push("count.txt", "10"))
    watched.before_push.append(lambda: person.push("other.txt", "x"))

    def count(files: Files) -> tuple[Files, Message]:
        value = int(files.get("count.txt", "0")) + 1
        return {**files, "count.txt": str(value)}, Message(subject=f"Count {value}", trailers=Trailers(operation=""))

    result = repository.change(count, operation="op1")
    assert repository.files(result.sha)["count.txt"] == "11"
    assert log() == ["Count 11", "By hand", "By hand", "Begin"]
    assert not any("force" in command for command in watched.commands if command.startswith("push"))


def test_an_intent_may_refuse_the_winners_tree(bare: Path, tmp_path: Path, watched: Any, person: Any, log: Log) -> None:
    repository = Repository.open(bare, clones=tmp_path / "clones", git=watched)
    watched.before_push.append(lambda: person.push("mine.txt", "taken"))

    def take(files: Files) -> tuple[Files, Message]:
        if "mine.txt" in files:
            raise ConflictError("somebody was quicker")
        return {**files, "mine.txt": "me"}, Message(subject="Mine", trailers=Trailers(operation=""))

    with pytest.raises(ConflictError, match="quicker"):
        repository.change(take, operation="op1")
    assert log() == ["By hand", "Begin"]


def test_who_loses_every_race_is_told_to_come_back(
    bare: Path, tmp_path: Path, watched: Any, person: Any, setting: Setting
) -> None:
    pauses: list[float] = []
    opened = Repository.open(bare, clones=tmp_path / "clones", git=watched)
    repository = replace(opened, sleep=pauses.append, clock=lambda: sum(pauses), patience_s=2.0)
    watched.before_push += [lambda index=index: person.push("x.txt", str(index)) for index in range(20)]
    with pytest.raises(RetryLaterError, match=r"others were quicker \d+ times \(fetch first\)"):
        repository.change(setting("b.txt", "b"), operation="op1")
    assert 2 <= sum(pauses) < 3
    assert all(0 < pause < 1 for pause in pauses)


def test_who_loses_forty_races_wins_the_next(
    bare: Path, tmp_path: Path, watched: Any, person: Any, setting: Setting
) -> None:
    repository = replace(Repository.open(bare, clones=tmp_path / "clones", git=watched), sleep=lambda _: None)
    watched.before_push += [lambda index=index: person.push("x.txt", str(index)) for index in range(40)]
    assert repository.change(setting("b.txt", "b"), operation="op1").changed


def test_a_lost_acknowledgement_is_found_out(
    bare: Path, tmp_path: Path, watched: Any, setting: Setting, log: Log
) -> None:
    repository = Repository.open(bare, clones=tmp_path / "clones", git=watched)
    watched.after_push.append(
        lambda done: replace(done, status=128, out=b"", err="fatal: the remote end hung up unexpectedly")
    )
    result = repository.change(setting("b.txt", "b"), operation="op1")
    assert result.changed
    assert log() == ["Set", "Begin"]


def test_a_push_that_never_arrived_is_made_again(
    bare: Path, tmp_path: Path, watched: Any, setting: Setting, log: Log
) -> None:
    repository = replace(Repository.open(bare, clones=tmp_path / "clones", git=watched), sleep=lambda _: None)
    head = repository.head()
    assert head is not None

    def lose(done: Completed) -> Completed:
        repository.objects.git.run(bare, ["update-ref", "refs/heads/main", head.sha])
        return replace(done, status=128, out=b"", err="fatal: the remote end hung up unexpectedly")

    watched.after_push.append(lose)
    assert repository.change(setting("b.txt", "b"), operation="op1").changed
    assert log() == ["Set", "Begin"]


def test_a_crash_before_the_push_leaves_nothing_and_after_it_the_commit(
    bare: Path, tmp_path: Path, watched: Any, setting: Setting, log: Log
) -> None:
    def crash(*_: object) -> Completed:
        raise KeyboardInterrupt

    repository = Repository.open(bare, clones=tmp_path / "clones", git=watched)
    watched.before_push.append(crash)
    with pytest.raises(KeyboardInterrupt):
        repository.change(setting("b.txt", "b"), operation="op1")
    assert log() == ["Begin"]
    watched.after_push.append(crash)
    with pytest.raises(KeyboardInterrupt):
        repository.change(setting("b.txt", "b"), operation="op1")
    again = Repository.open(bare, clones=tmp_path / "clones").change(setting("b.txt", "b"), operation="op1")
    assert not again.changed
    assert log() == ["Set", "Begin"]


def test_two_writers_on_one_clone_wait_for_each_other(repository: Repository, setting: Setting, log: Log) -> None:
    def write(name: str) -> None:
        for index in range(2):
            repository.change(setting(f"{name}.txt", str(index), subject=f"{name}{index}"), operation=f"{name}{index}")

    threads = [Thread(target=write, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(log()) == ["Begin", "a0", "a1", "b0", "b1"]


def test_an_empty_repository_gets_its_first_commit(tmp_path: Path, setting: Setting) -> None:
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(tmp_path / "empty.git")], check=True)
    repository = Repository.open(tmp_path / "empty.git", clones=tmp_path / "clones")
    assert repository.head() is None
    assert repository.history() == ()
    assert repository.files("") == {}
    assert repository.find("op1") is None
    result = repository.change(setting("a.txt", "a"), operation="op1")
    assert (result.changed, result.before) == (True, "")
    assert repository.files(result.sha) == {"a.txt": "a"}


def test_a_tree_may_lie_in_a_folder_of_the_repository(
    bare: Path, tmp_path: Path, setting: Setting, person: Any
) -> None:
    person.push("gitops/stages/a.yaml", "1")
    repository = Repository.open(bare, clones=tmp_path / "clones", root="gitops")
    head = repository.head()
    assert head is not None
    assert repository.files(head.sha) == {"stages/a.yaml": "1"}
    result = repository.change(setting("stages/b.yaml", "2"), operation="op1")
    assert repository.files(result.sha, "stages") == {"stages/a.yaml": "1", "stages/b.yaml": "2"}
    assert [commit.subject for commit in repository.history(path="stages")] == ["Set", "By hand"]
    assert person.git("ls-tree", "-r", "--name-only", "HEAD").splitlines()[-1] == "stages/production/a/route.yaml"


HOSTILE = ["with space.txt", "ünï\ncode.txt", '"quoted".txt', "-n", "*.txt", ":(top)x", "tab\t.txt", "~x", "a/-b/c d"]


def test_hostile_paths_and_texts_survive(repository: Repository) -> None:
    text = 'x\0\r\n"$(touch pwned)" \udcff\n--\n'

    def add(files: Files) -> tuple[Files, Message]:
        hostile = {path: f"{path}{text}" for path in HOSTILE}
        return {**files, **hostile}, Message(subject="x: --exec=x $(y)", trailers=Trailers(operation=""))

    def remove(files: Files) -> tuple[Files, Message]:
        kept = {path: text for path, text in files.items() if path not in HOSTILE}
        return kept, Message(subject="-n", trailers=Trailers(operation=""))

    result = repository.change(add, operation="op1")
    found = repository.files(result.sha)
    assert {path: found[path] for path in HOSTILE} == {path: f"{path}{text}" for path in HOSTILE}
    assert [commit.sha for commit in repository.history(path="*.txt")] == [result.sha]
    assert [commit.sha for commit in repository.history(path=":(top)x")] == [result.sha]
    gone = repository.change(remove, operation="op2")
    assert repository.files(gone.sha).keys().isdisjoint(HOSTILE)


def test_what_is_no_text_is_left_alone(repository: Repository, setting: Setting, person: Any) -> None:
    (person.folder / "link").symlink_to("README.md")
    (person.folder / "run.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    (person.folder / "run.sh").chmod(stat.S_IRWXU)
    person.git("add", "--", "link", "run.sh")
    person.git("commit", "--quiet", "-m", "Link")
    person.push("other.txt", "x")
    result = repository.change(setting("run.sh", "#!/bin/bash\n"), operation="op1")
    person.git("pull", "--quiet")
    modes = [line.split()[0] for line in person.git("ls-tree", "HEAD", "link", "run.sh").splitlines()]
    assert modes == ["120000", "100755"]
    assert "link" not in repository.files(result.sha)


def test_a_push_that_always_breaks_off_is_told(
    bare: Path, tmp_path: Path, watched: Any, setting: Setting, log: Log
) -> None:
    repository = replace(Repository.open(bare, clones=tmp_path / "clones", git=watched), sleep=lambda _: None)
    (bare / "config").write_text((bare / "config").read_text() + "[receive]\n\tunpackLimit = x\n", encoding="utf-8")
    with pytest.raises(RetryLaterError, match="the push broke off 3 times"):
        repository.change(setting("b.txt", "b"), operation="op1")
    assert log() == ["Begin"]


def test_a_refusing_hook_is_quoted(repository: Repository, bare: Path, setting: Setting, log: Log) -> None:
    hook = bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'no weights on Fridays' >&2\nexit 1\n", encoding="utf-8")
    hook.chmod(stat.S_IRWXU)
    with pytest.raises(GitError, match=r"refused \(pre-receive hook declined: no weights on Fridays\)"):
        repository.change(setting("b.txt", "b"), operation="op1")
    assert log() == ["Begin"]
