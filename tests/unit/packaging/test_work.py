import stat
from pathlib import Path

import pytest

from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.errors import RetryLaterError
from mlflow_deploy_plugin.packaging.work import exclusive, sweep, workspace


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(root=tmp_path / "home")


def test_a_workspace_is_its_owners_alone_and_gone_afterwards(home: Home) -> None:
    with workspace(home) as work:
        assert stat.S_IMODE(work.folder.stat().st_mode) == 0o700
        assert sweep(home) == 0
        assert work.folder.is_dir()
    assert list(home.packaging.iterdir()) == []


def test_a_lock_that_is_held_too_long_asks_to_try_again_later(home: Home) -> None:
    refused = pytest.raises(RetryLaterError, match="another process packages 'churn'")
    with exclusive(home, "churn"), refused, exclusive(home, "churn", wait_s=0.01):
        pytest.fail("two held the same lock")
    with exclusive(home, "churn", wait_s=0.01), exclusive(home, "other", wait_s=0.01):
        pass
