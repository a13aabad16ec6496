"""Commits signed by SSH keys, and a tree whose policy lets no other one be served. Real keys, real ssh-keygen."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin.errors import ConfigError, ConflictError
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.repository import Repository

pytestmark = pytest.mark.e2e

Promote = Callable[[Repository, str, str], Any]
VARIABLE = "MODELSERVE_SIGNING_KEY"


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Private keys of a robot, of Ada and of a stranger."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("robot", "ada", "stranger"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(command, check=True)
    return folder


def signers(keys: Path, *names: str) -> str:
    """The list of signers in OpenSSH's form."""
    return "".join(f"{name}@example.org {(keys / f'{name}.pub').read_text()}" for name in names)


@pytest.fixture(autouse=True)
def served(forge: Any) -> None:
    forge.create({"README.md": "served\n"})


@pytest.fixture
def maintainer(forge: Any, keys: Path, tmp_path: Path) -> Callable[..., str]:
    """Somebody who commits by hand, as `signer` or unsigned; the commit's name."""
    checkout = tmp_path / "maintainer"

    def push(path: str, text: str | None, *, signer: str = "") -> str:
        if not checkout.exists():
            subprocess.run(["git", "clone", "--quiet", forge.url(), str(checkout)], check=True)
        git = ["git", "-C", str(checkout), "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        subprocess.run([*git, "pull", "--quiet", "--rebase"], check=True)
        target = checkout / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            target.unlink()
        else:
            target.write_text(text)
        subprocess.run([*git, "add", "-A"], check=True)
        key = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={keys / signer}"] if signer else []
        sign = ["-S"] if signer else []
        subprocess.run([*git, *key, "commit", "--quiet", "--allow-empty", "-m", "By hand", *sign], check=True)
        subprocess.run([*git, "push", "--quiet"], check=True)
        answer = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
        return answer.stdout.strip()

    return push


@pytest.fixture
def opened(forge: Any, tmp_path: Path) -> Callable[..., Repository]:
    """The repository as a machine with a clone of its own sees it."""
    return lambda name="clones": Repository.open(forge.url(), clones=tmp_path / name)


@pytest.fixture
def refusal(opened: Callable[..., Repository]) -> Callable[..., str]:
    """Why a commit is refused, by a machine that looks now."""
    return lambda sha, *, since="": opened().refusal(sha, since=since)


@pytest.mark.parametrize("form", ["path", "key itself"])
def test_a_commit_is_signed_by_the_key_of_the_variable(
    opened: Any, keys: Path, promote: Promote, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv(VARIABLE, str(keys / "robot") if form == "path" else (keys / "robot").read_text())
    repository = opened()
    sha = promote(repository, "churn", "o1").sha
    assert repository.verify(sha, signers(keys, "ada", "robot")).signer == "robot@example.org"
    private = (keys / "robot").read_text().splitlines()[1]
    kept = [path for path in repository.objects.folder.rglob("*") if path.is_file()]
    assert not [path for path in kept if private.encode() in path.read_bytes()]
    assert private not in repr(repository)


def test_a_commit_is_signed_as_the_users_git_is_configured(
    opened: Any, keys: Path, promote: Promote, nobodys_git: Path
) -> None:
    (nobodys_git / ".gitconfig").write_text(
        f"[commit]\n\tgpgSign = true\n[gpg]\n\tformat = ssh\n[user]\n\tsigningKey = {keys / 'ada'}\n"
    )
    repository = opened()
    sha = promote(repository, "churn", "o1").sha
    assert repository.verify(sha, signers(keys, "ada")).is_good


def test_a_key_that_is_none_is_refused_without_showing_it(
    forge: Any, opened: Any, promote: Promote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "b3BlbnNzaC1rZXktdjEAAAA")
    with pytest.raises(ConfigError, match="neither a file nor a private key") as caught:
        promote(opened(), "churn", "o1")
    assert "b3Blb" not in str(caught.value)
    assert forge.operations() == ["begin"]


def test_a_signature_counts_only_if_one_of_the_signers_made_it_of_this_content(
    forge: Any, opened: Any, keys: Path, maintainer: Any, nobodys_git: Path
) -> None:
    by_stranger = maintainer("a.txt", "1", signer="stranger")
    by_ada = maintainer("a.txt", "2", signer="ada")
    unsigned = maintainer("a.txt", "3")
    raw = forge.git("cat-file", "commit", by_ada).replace("By hand", "By another hand") + "\n"
    forged = subprocess.run(
        ["git", f"--git-dir={forge.root / 'team/models.git'}", "hash-object", "-t", "commit", "-w", "--stdin"],
        input=raw,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    # What this machine trusts besides must not matter.
    (nobodys_git / "all").write_text(signers(keys, "stranger", "ada"))
    (nobodys_git / ".gitconfig").write_text(f'[gpg "ssh"]\n\tallowedSignersFile = {nobodys_git / "all"}\n')

    repository = opened()
    forge.git("update-ref", "refs/heads/main", forged)
    repository.fetch()
    known = signers(keys, "ada")
    assert repository.verify(by_ada, known).signer == "ada@example.org"
    assert repository.verify(by_stranger, known).reason == "its key belongs to none of them"
    assert repository.verify(forged, known).reason == "its signature does not fit its content"
    assert repository.verify(unsigned, known).reason == "it is not signed"
    assert not repository.verify(by_ada, "").is_good


def test_a_tree_without_a_list_asks_for_no_signature(refusal: Any, maintainer: Any) -> None:
    assert not refusal(maintainer("a.txt", "1"))


def test_with_a_list_the_newest_commit_must_be_signed_by_one_of_it(refusal: Any, keys: Path, maintainer: Any) -> None:
    maintainer("policy/signers", signers(keys, "ada"), signer="ada")
    unsigned = maintainer("a.txt", "1")
    said = f"commit {unsigned[:10]} is not signed by one of policy/signers: it is not signed"
    assert said in refusal(unsigned)
    assert "by one of policy/signers: its key belongs to none" in refusal(maintainer("a.txt", "2", signer="stranger"))
    assert not refusal(maintainer("a.txt", "3", signer="ada"))  # Ada vouches for the tree as it is now


def test_only_a_signer_admits_signers(refusal: Any, keys: Path, maintainer: Any) -> None:
    trusted = maintainer("policy/signers", signers(keys, "ada"), signer="ada")
    admitted = maintainer("policy/signers", signers(keys, "ada", "robot"), signer="ada")
    by_robot = maintainer("a.txt", "1", signer="robot")
    for since in ("", trusted, admitted):
        assert not refusal(by_robot, since=since)

    maintainer("policy/signers", signers(keys, "stranger"), signer="stranger")
    by_stranger = maintainer("a.txt", "2", signer="stranger")
    for since in ("", trusted, by_robot):
        assert refusal(by_stranger, since=since)


@pytest.mark.parametrize("text", [None, ""], ids=["deleted", "emptied"])
def test_a_list_is_not_disarmed_by_who_is_not_on_it(
    refusal: Any, keys: Path, maintainer: Any, text: str | None
) -> None:
    trusted = maintainer("policy/signers", signers(keys, "ada"), signer="ada")
    disarmed = maintainer("policy/signers", text)
    after = maintainer("a.txt", "1")
    for since in ("", trusted):
        assert refusal(disarmed, since=since)
        assert refusal(after, since=since)


def test_a_signer_may_end_the_policy(refusal: Any, keys: Path, maintainer: Any) -> None:
    trusted = maintainer("policy/signers", signers(keys, "ada"), signer="ada")
    maintainer("policy/signers", None, signer="ada")
    assert not refusal(maintainer("a.txt", "1"), since=trusted)


def test_history_that_joins_from_elsewhere_brings_no_list_of_its_own(
    refusal: Any, forge: Any, keys: Path, maintainer: Any, tmp_path: Path
) -> None:
    """A merge whose first parent is foreign: its line of first parents never met our list."""
    trusted = maintainer("policy/signers", signers(keys, "ada"), signer="ada")
    git = ["git", "-C", str(tmp_path / "maintainer"), "-c", "user.name=S", "-c", "user.email=s@s"]
    key = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={keys / 'stranger'}"]
    (tmp_path / "maintainer/policy/signers").write_text(signers(keys, "stranger"))
    subprocess.run([*git, "checkout", "--quiet", "--orphan", "foreign"], check=True)
    subprocess.run([*git, *key, "commit", "--quiet", "-a", "-S", "-m", "Foreign"], check=True)
    merge = [*git, *key, "merge", "--quiet", "-S", "-m", "Join", "-s", "ours", "--allow-unrelated-histories", "main"]
    subprocess.run(merge, check=True)
    subprocess.run([*git, "push", "--quiet", "origin", "HEAD:main"], check=True)
    joined = forge.git("rev-parse", "main")
    assert refusal(joined, since=trusted)


def test_a_machine_does_not_push_what_would_be_refused(
    forge: Any, opened: Any, keys: Path, maintainer: Any, promote: Promote
) -> None:
    maintainer("policy/signers", signers(keys, "ada", "robot"), signer="ada")
    with pytest.raises(ConfigError, match=rf"it is not signed; set {VARIABLE}"):
        promote(opened(), "churn", "o1")
    assert forge.operations() == ["begin"]


def test_a_machine_does_not_vouch_for_what_nobody_vouched_for(
    opened: Any, keys: Path, maintainer: Any, promote: Promote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(keys / "robot"))
    maintainer("policy/signers", signers(keys, "ada", "robot"), signer="ada")
    assert promote(opened(), "churn", "o1").changed

    smuggled = maintainer("stages/production/churn/route.yaml", "all to the stranger\n")
    for clones in ("clones", "a new machine"):
        with pytest.raises(ConflictError, match=f"commit {smuggled[:10]} is not signed"):
            promote(opened(clones), "churn", "o2")

    maintainer("stages/production/churn/route.yaml", "o1\n", signer="ada")
    repository = opened()
    promoted = promote(repository, "churn", "o2")
    assert promoted.changed
    assert not repository.refusal(promoted.sha)


def test_the_policy_lies_where_the_tree_lies(forge: Any, keys: Path, maintainer: Any, tmp_path: Path) -> None:
    maintainer("gitops/policy/signers", signers(keys, "ada"), signer="ada")
    repository = Repository.open(forge.url(), clones=tmp_path / "clones", root="gitops")

    def intent(files: Any) -> tuple[dict[str, str], Message]:
        return {**files, "x.yaml": "x\n"}, Message(subject="X", trailers=Trailers(operation="o1"))

    with pytest.raises(ConfigError, match="policy/signers"):
        repository.change(intent, operation="o1")
