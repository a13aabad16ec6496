"""Many writers on one repository: every commit lands, once."""

import subprocess
import sys
from pathlib import Path

import pytest

from mlflow_deploy_plugin.repository import Repository

pytestmark = pytest.mark.e2e

WRITER = """
import sys
from pathlib import Path
from mlflow_deploy_plugin.repository import Message, Repository, Trailers

bare, clones, name, count = sys.argv[1:]
repository = Repository.open(bare, clones=Path(clones))
for index in range(int(count)):
    def intent(files):
        total = int(files.get("total", "0")) + 1
        message = Message(subject=f"{name}-{index}", trailers=Trailers(operation="", endpoint=name))
        return {**files, "total": f"{total}", f"{name}.txt": f"{index}"}, message
    assert repository.change(intent, operation=f"{name}-{index}").changed
"""


@pytest.mark.parametrize("shared", [False, True], ids=["own clones", "one clone"])
def test_four_processes_lose_no_commit_and_double_none(bare: Path, tmp_path: Path, *, shared: bool) -> None:
    writers = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                WRITER,
                str(bare),
                str(tmp_path / f"clones{0 if shared else index}"),
                f"w{index}",
                "5",
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(4)
    ]
    errors = [writer.communicate(timeout=120)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4, errors
    repository = Repository.open(bare, clones=tmp_path / "judge")
    head = repository.head()
    assert head is not None
    assert repository.files(head.sha)["total"] == "20"
    operations = [commit.trailers.operation for commit in repository.history() if commit.trailers]
    assert sorted(operations) == sorted(["begin", *(f"w{index}-{step}" for index in range(4) for step in range(5))])
