import pytest

from mlflow_deploy_plugin.config.target import Target
from mlflow_deploy_plugin.errors import ConfigError


@pytest.mark.parametrize(
    "uri", ["modelserve", "ModelServe", "modelserve:", "modelserve:/", "modelserve:/?stage=production"]
)
def test_the_bare_target_is_this_machine(uri: str) -> None:
    target = Target.parse(uri)
    assert target == Target()
    assert target.is_local
    assert target.stage == "production"


def test_the_bare_target_takes_the_stage_of_its_own_agent() -> None:
    assert Target.parse("modelserve", own_stage="staging").stage == "staging"


@pytest.mark.parametrize(
    ("uri", "repository"),
    [
        ("modelserve:/srv/gitops.git", "/srv/gitops.git"),
        ("modelserve:/ssh://git@host/repo.git", "ssh://git@host/repo.git"),
        ("modelserve:/ssh://git@host:2222/repo.git", "ssh://git@host:2222/repo.git"),
        ("modelserve:/https://host/team/repo.git", "https://host/team/repo.git"),
        ("modelserve:/HTTPS://host/team/repo.git", "https://host/team/repo.git"),
        ("modelserve:/file:///srv/gitops.git", "file:///srv/gitops.git"),
        ("modelserve:/git@host:team/repo.git", "git@host:team/repo.git"),
        ("modelserve:git@host:team/repo.git", "git@host:team/repo.git"),
        ("modelserve:https://host/repo.git", "https://host/repo.git"),
        ("MODELSERVE:/srv/My Repo", "/srv/My Repo"),
    ],
)
def test_a_target_names_any_repository_that_git_takes(uri: str, repository: str) -> None:
    target = Target.parse(uri)
    assert target.repository == repository
    assert not target.is_local
    assert (target.stage, target.branch, target.gateway) == ("production", "main", "")


def test_options_choose_stage_branch_and_gateway() -> None:
    target = Target.parse("modelserve:/srv/g?stage=staging&branch=release/1&gateway=http%3A//10.0.0.1:80/")
    assert (target.stage, target.branch, target.gateway) == ("staging", "release/1", "http://10.0.0.1:80")
    assert Target.parse(str(target)) == target


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("modelserv", "does not begin with 'modelserve'"),
        ("http://host", "does not begin with 'modelserve'"),
        ("modelserve://host/repo.git", "modelserve:/ssh://host/repo.git"),
        ("modelserve:///srv/repo.git", "write modelserve:/srv/repo.git"),
        ("modelserve://https://host/repo.git", "write modelserve:/https://host/repo.git"),
        ("modelserve:srv/repo", "not absolute"),
        ("modelserve:/~/repo", "not absolute"),
        ("modelserve:/s3://bucket/repo", "git is reached by ssh, https"),
        ("modelserve:/ssh:///repo.git", "lacks the host"),
        ("modelserve:/ssh://-oProxyCommand=x/repo.git", "lacks the host"),
        ("modelserve:/https://host", "or the path"),
        ("modelserve:/https://host:x/repo", "is not a URL"),
        ("modelserve:/srv/g?stge=x", "did you mean 'stage'?"),
        ("modelserve:/srv/g?zzz=x", "known: stage, branch, gateway"),
        ("modelserve:/srv/g?stage=a&stage=b", "twice"),
        ("modelserve:/srv/g?stage=", "no value"),
        ("modelserve:/srv/g?stage=My Stage", "use 'my-stage'"),
        ("modelserve:/srv/g?branch=-x", "check-ref-format"),
        ("modelserve:/srv/g?branch=a..b", "check-ref-format"),
        ("modelserve:/srv/g?gateway=host:80", "gateway=http://HOST:PORT"),
        ("modelserve:/srv/g?gateway=http://host:99999", "is not a URL"),
        ("modelserve:/?stage=staging", "a second home"),
        ("modelserve:/?branch=x", "names no repository"),
    ],
)
def test_a_wrong_target_is_refused_in_one_line_with_the_way_out(uri: str, says: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        Target.parse(uri)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_password_is_not_shown() -> None:
    target = Target.parse("modelserve:/https://me:secret@host/repo.git")
    assert "secret" not in str(target)
    assert "secret" in str(target.repository)
