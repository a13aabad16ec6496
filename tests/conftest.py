"""What every test stands on: no telemetry, no colours, nobody's home but the test's own."""

import os
import signal
from pathlib import Path

import pytest

QUIET = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "NO_COLOR": "1",
}
OURS = ("MODELSERVE_", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_DEPLOYMENTS_TARGET")

os.environ.update(QUIET)  # before the first import of mlflow or bentoml, which read them once


def pytest_configure() -> None:
    """Hear Ctrl-C: a shell that starts tests in the background has them ignore it, and their children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-bodies", type=int, default=1600, help="spoiled bodies to send, over all models")


@pytest.fixture(scope="session")
def fuzz_bodies(pytestconfig: pytest.Config) -> int:
    return int(pytestconfig.getoption("--fuzz-bodies"))


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty MODELSERVE_HOME, and none of the caller's settings."""
    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("MODELSERVE_HOME", str(home))
    return home
