"""Options of a target that say how, and where in the repository, changes are made."""

import pytest

from mlflow_deploy_plugin.config.target import Target
from mlflow_deploy_plugin.errors import ConfigError


def test_changes_are_pushed_directly_unless_a_person_merges_them() -> None:
    assert Target.parse("modelserve:/srv/r.git").mode == "direct"
    assert Target.parse("modelserve:/srv/r.git?mode=pull-request").mode == "pull-request"
    with pytest.raises(ConfigError, match="mode=direct or mode=pull-request"):
        Target.parse("modelserve:/srv/r.git?mode=pr")


def test_the_tree_may_lie_in_a_folder() -> None:
    assert Target.parse("modelserve:/srv/r.git?root=teams/a/gitops/").root == "teams/a/gitops"


@pytest.mark.parametrize("root", ["..", "a/../../etc", "a//b", ".", "a/./b", "a b", "%00"])
def test_a_root_outside_the_repository_is_refused(root: str) -> None:
    with pytest.raises(ConfigError, match="is not a folder of the repository"):
        Target.parse(f"modelserve:/srv/r.git?root={root}")


def test_a_target_s_text_means_the_same_target() -> None:
    target = Target.parse("modelserve:/srv/r.git?stage=dev&mode=pull-request&root=gitops")
    assert Target.parse(str(target)) == target
