import stat
from pathlib import Path

import pytest

from mlflow_deploy_plugin.config.environment import agent_stage, gateway_port
from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.errors import ConfigError, ModelserveError


def test_the_home_is_the_named_folder_or_one_in_the_users_own() -> None:
    assert Home.from_environment({"MODELSERVE_HOME": "/srv/m", "HOME": "/h"}).root == Path("/srv/m")
    assert Home.from_environment({"HOME": "/h"}).root == Path("/h/.modelserve")
    assert Home.from_environment({"MODELSERVE_HOME": "~/m", "HOME": "/h"}).root == Path("/h/m")


def test_a_relative_home_is_made_absolute_since_the_agent_works_elsewhere() -> None:
    assert Home.from_environment({"MODELSERVE_HOME": "here"}).root.is_absolute()


def test_without_any_home_the_way_out_is_said() -> None:
    with pytest.raises(ConfigError, match="set MODELSERVE_HOME"):
        Home.from_environment({})


def test_folders_are_their_owners_alone(tmp_path: Path) -> None:
    root = tmp_path / "home"
    root.mkdir(mode=0o755)
    home = Home(root=root).ensure()
    for folder in (home.root, home.bentoml, home.agent, home.events, home.clones, home.environments):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    assert home.ensure() == home


def test_a_home_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelserveError, match="set MODELSERVE_HOME"):
        Home(root=tmp_path / "file" / "home").ensure()


@pytest.mark.parametrize("tag", ["churn", "churn:", ":1", "../x:1", "a:../../x"])
def test_a_tag_cannot_lead_out_of_the_store(tag: str) -> None:
    with pytest.raises(ConfigError, match="NAME:VERSION"):
        Home(root=Path("/h")).bento(tag)


def test_every_path_lies_in_the_home() -> None:
    home = Home(root=Path("/h"))
    names = [name for name, member in vars(Home).items() if isinstance(member, property)]
    assert len(names) > 10
    for name in names:
        assert getattr(home, name).is_relative_to(home.root)


@pytest.mark.parametrize("text", ["0", "65536", "http", "-1"])
def test_a_port_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="MODELSERVE_PORT"):
        gateway_port({"MODELSERVE_PORT": text})


def test_the_agents_stage_is_a_label() -> None:
    assert agent_stage({"MODELSERVE_STAGE": "staging"}) == "staging"
    with pytest.raises(ConfigError, match="MODELSERVE_STAGE"):
        agent_stage({"MODELSERVE_STAGE": "My Stage"})
