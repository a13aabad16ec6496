"""What docs/gpu.md says: its bash block runs without a GPU, and every key and metric that it names is there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlflow_deploy_plugin.config.keys import DeploymentConfig
from mlflow_deploy_plugin.serving import exposition

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/gpu.md").read_text()

pytestmark = pytest.mark.e2e


def test_the_block_that_needs_no_gpu_runs() -> None:
    (block,) = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["device"] == "cpu"
    assert told["server"]["rows_per_s"] > 0


def test_the_keys_and_metrics_that_it_names_exist() -> None:
    named = set(re.findall(r"-C (\w+)=", TEXT))
    assert named
    assert named <= DeploymentConfig.model_fields.keys()
    metrics = set(re.findall(r"model_gpu_\w+", TEXT))
    assert metrics == set(exposition.OF_DEVICES)
