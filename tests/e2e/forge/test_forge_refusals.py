"""How forges say no: what is tried again, what is told to a person, and what is never shown."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin.errors import GitError, ModelserveError, RetryLaterError
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.repository import Repository

pytestmark = pytest.mark.e2e

NEVER_SHOWN = "s3cret-token"
Promote = Callable[[Repository, str, str], Any]


@pytest.fixture
def url(forge: Any) -> str:
    return str(forge.create({"README.md": "served\n"}))


@pytest.fixture
def repository(url: str, tmp_path: Path) -> Repository:
    return Repository.open(url, clones=tmp_path / "clones")


@pytest.mark.parametrize(
    "words",
    [
        "failed to update ref",
        f"cannot lock ref 'refs/heads/main': is at {'a' * 40} but expected {'b' * 40}",
        "incorrect old value provided",
        "non-fast-forward",
    ],
    ids=["git", "GitHub", "GitLab", "another git"],
)
def test_a_lost_race_is_run_again_in_whatever_words_it_is_told(
    forge: Any, repository: Repository, promote: Promote, words: str
) -> None:
    forge.rejections.append(words)
    assert promote(repository, "churn", "o1").changed
    assert forge.operations() == ["o1", "begin"]
    assert forge.pushes == 2


def test_a_push_that_comes_too_late_is_decided_again_on_the_winners_tree(
    forge: Any, url: str, repository: Repository, tmp_path: Path, promote: Promote
) -> None:
    rival = Repository.open(url, clones=tmp_path / "rivals")
    looks: list[dict[str, str]] = []

    def intent(files: Any) -> tuple[dict[str, str], Message]:
        looks.append(dict(files))
        if len(looks) == 1:
            promote(rival, "churn", "rivals")
        return {**files, "mine.txt": "x\n"}, Message(subject="Mine", trailers=Trailers(operation="o1"))

    assert repository.change(intent, operation="o1").changed
    assert ["stages/production/churn/route.yaml" in files for files in looks] == [False, True]
    assert forge.operations() == ["o1", "rivals", "begin"]


def test_a_protected_branch_is_told_with_the_way_out(forge: Any, repository: Repository, promote: Promote) -> None:
    forge.protect()
    with pytest.raises(GitError, match=r"Changes must be made through a pull request.*mode=pull-request"):
        promote(repository, "churn", "o1")
    assert forge.operations() == ["begin"]


def test_a_wrong_password_is_a_persons_to_mend_and_never_shown(forge: Any, url: str, tmp_path: Path) -> None:
    with pytest.raises(GitError, match="check the credentials") as caught:
        Repository.open(url.replace(NEVER_SHOWN, "wr0ng-token"), clones=tmp_path / "clones")
    assert "wr0ng-token" not in str(caught.value)
    assert "robot" not in str(caught.value)
    assert forge.pushes == 0


def test_credentials_are_in_no_error_no_text_and_no_argument_that_is_kept(
    forge: Any, repository: Repository, promote: Promote, tmp_path: Path
) -> None:
    assert NEVER_SHOWN not in repr(repository)
    forge.hook("pre-receive", "echo 'policy: no steps on Fridays' >&2\nexit 1")
    told = [str(_failure(lambda: promote(repository, "churn", "o1")))]
    forge.faults.extend(["never arrives"] * 10)
    told.append(str(_failure(lambda: promote(repository, "churn", "o2"))))
    forge.faults.clear()
    told.append(str(_failure(lambda: Repository.open(f"{forge.url('team/absent.git')}", clones=tmp_path / "clones"))))
    assert "no steps on Fridays" in told[0]
    for text in told:
        assert NEVER_SHOWN not in text
    kept = [path for path in (tmp_path / "clones").rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if NEVER_SHOWN.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    "name",
    ["--upload-pack=touch pwned", "$(touch pwned)", "a'b\"c", "new\nModelserve-Operation: forged", "ünï/../cödé"],
)
def test_hostile_names_are_text_and_nothing_else(
    forge: Any, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)

    def intent(files: Any) -> tuple[dict[str, str], Message]:
        trailers = Trailers(operation=name, endpoint=name, reason=name)
        return {**files, "stages/production/x.yaml": name}, Message(subject=name, body=(name,), trailers=trailers)

    assert repository.change(intent, operation=name).changed
    assert not repository.change(intent, operation=name).changed
    assert forge.git("show", "main:stages/production/x.yaml") == name
    assert len(forge.git("rev-list", "main").split()) == 2
    head = repository.head()
    assert head is not None
    assert head.trailers is not None
    assert head.trailers.operation == " ".join(name.split())
    assert not list(tmp_path.rglob("pwned"))


def test_a_dirty_checkout_of_the_same_repository_stays_as_it_is(
    forge: Any, url: str, repository: Repository, tmp_path: Path, promote: Promote
) -> None:
    checkout = tmp_path / "checkout"
    subprocess.run(["git", "clone", "--quiet", url, str(checkout)], check=True)
    (checkout / "README.md").write_text("half a thought\n")
    (checkout / "new.txt").write_text("untracked\n")
    subprocess.run(["git", "-C", str(checkout), "add", "README.md"], check=True)
    before = _state(checkout)

    promote(repository, "churn", "o1")
    assert _state(checkout) == before
    assert forge.operations() == ["o1", "begin"]


def _state(checkout: Path) -> dict[str, bytes]:
    return {str(path.relative_to(checkout)): path.read_bytes() for path in checkout.rglob("*") if path.is_file()}


def _failure(act: Callable[[], object]) -> ModelserveError:
    with pytest.raises((GitError, RetryLaterError)) as caught:
        act()
    return caught.value
