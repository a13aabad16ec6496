"""What git's answers mean, and how it is run; no repository needed."""

import threading
import time
from pathlib import Path

import pytest

from mlflow_deploy_plugin.errors import ConfigError, GitError, RetryLaterError
from mlflow_deploy_plugin.repository.address import normal
from mlflow_deploy_plugin.repository.git import Completed, Git, environment, failure
from mlflow_deploy_plugin.repository.lock import locked
from mlflow_deploy_plugin.repository.push import Accepted, Pushed, Refused, Rejected, Unknown, judge


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        ("[rejected] (non-fast-forward)", Rejected("non-fast-forward")),
        ("[rejected] (fetch first)", Rejected("fetch first")),
        ("[rejected] (stale info)", Rejected("stale info")),
        ("[remote rejected] (incorrect old value provided)", Rejected("incorrect old value provided")),
        (
            "[remote rejected] (cannot lock ref 'refs/heads/main': is at 1a but expected 2b)",
            Rejected("cannot lock ref 'refs/heads/main': is at 1a but expected 2b"),
        ),
        ("[remote rejected] (failed to update ref)", Rejected("failed to update ref")),
        ("[remote rejected] (protected branch hook declined)", Refused("protected branch hook declined", "GH006: no")),
        ("[remote rejected] (pre-receive hook declined)", Refused("pre-receive hook declined", "GH006: no")),
    ],
)
def test_rejections_of_git_github_and_gitlab_are_told_apart(line: str, outcome: Pushed) -> None:
    porcelain = f"To https://host/r.git\n!\t1a:refs/heads/main\t{line}\nDone\n"
    assert judge(1, porcelain, "remote: GH006: no\nerror: failed to push some refs\n") == outcome


def test_silence_is_neither_yes_nor_no() -> None:
    assert judge(0, "", "") == Accepted()
    assert judge(128, "", "fatal: the remote end hung up unexpectedly") == Unknown()


@pytest.mark.parametrize(
    ("err", "kind", "says"),
    [
        ("fatal: Authentication failed for 'https://me:secret@host/r.git'", GitError, "access refused"),
        ("git@host: Permission denied (publickey).\nfatal: Could not read from remote repository.", GitError, "access"),
        (
            "remote: Repository not found.\nfatal: repository 'https://host/r.git/' not found",
            GitError,
            "no git repository",
        ),
        ("fatal: unable to access 'https://host/': Could not resolve host: host", RetryLaterError, "try again later"),
        ("error: The requested URL returned error: 503", RetryLaterError, "try again later"),
        ("fatal: bad object", GitError, "git fetch failed"),
    ],
)
def test_a_failure_says_who_can_mend_it(err: str, kind: type[Exception], says: str) -> None:
    error = failure(Completed(arguments=("fetch",), status=128, err=err), doing="repository x")
    assert type(error) is kind
    assert says in str(error)
    assert "secret" not in str(error)


def test_git_that_hangs_is_ended(tmp_path: Path) -> None:
    done = Git().run(tmp_path, ["-c", "alias.hang=!sleep 60", "hang"], timeout_s=0.3)
    assert done.timed_out
    assert isinstance(failure(done, doing="x"), RetryLaterError)


def test_a_lock_that_is_held_is_waited_for_and_then_told(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with (
        locked(path, timeout_s=1),
        pytest.raises(RetryLaterError, match="held by another process"),
        locked(path, timeout_s=0.05),
    ):
        pass
    with locked(path, timeout_s=30):  # whoever gave up lets go of what it is given too late
        assert path.exists()


def test_a_lock_passes_to_who_waits_as_soon_as_it_is_free(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    order: list[str] = []

    def wait() -> None:
        with locked(path, timeout_s=30):
            order.append("second")

    waiting = threading.Thread(target=wait)
    with locked(path, timeout_s=0):
        waiting.start()
        time.sleep(0.05)
        order.append("first")
    waiting.join(30)
    assert order == ["first", "second"]


def test_git_is_given_no_terminal_and_no_surrounding_repository() -> None:
    given = environment({"GIT_DIR": "/x", "PATH": "/bin", "GIT_SSH_COMMAND": "ssh -i key", "GIT_AUTHOR_NAME": "Ada"})
    assert given.keys() >= {"PATH", "GIT_SSH_COMMAND", "GIT_AUTHOR_NAME"}
    assert "GIT_DIR" not in given
    assert given["GIT_TERMINAL_PROMPT"] == "0"


def test_addresses_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert normal("repo") == str(tmp_path / "repo")
    for url in ("https://host/r.git", "ssh://git@host:22/r.git", "git@host:r.git", "file:///r"):
        assert normal(url) == url


@pytest.mark.parametrize("address", ["", "--upload-pack=x", "ext::sh -c x", "a\nb", "gopher://x/y", "fd::3"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError):
        normal(address)
