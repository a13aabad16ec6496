"""One promoter in a process of its own: `writer.py URL CLONES COUNT ENDPOINT…`; a promotion adds a line to a route.

With CRASH=POINT it kills itself there, as the kernel or a runner would: no handler runs.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.repository import CommitResult, Repository
from mlflow_deploy_plugin.repository.git import LOCAL_TIMEOUT_S, Completed, Git

Files = Mapping[str, str]
POINTS = {
    "before the commit": ("commit-tree", "before"),
    "between commit and push": ("commit-tree", "after"),
    "between push and record": ("push", "after"),
}


class MortalGit(Git):
    """Git whose caller dies at one point."""

    def __init__(self, point: str) -> None:
        self._verb, self._when = POINTS[point]

    def run(
        self,
        folder: Path,
        arguments: Sequence[str],
        *,
        feed: bytes = b"",
        variables: Mapping[str, str] | None = None,
        timeout_s: float = LOCAL_TIMEOUT_S,
    ) -> Completed:
        self._die(arguments, "before")
        completed = super().run(folder, arguments, feed=feed, variables=variables, timeout_s=timeout_s)
        self._die(arguments, "after")
        return completed

    def _die(self, arguments: Sequence[str], when: str) -> None:
        if self._verb in arguments and self._when == when:
            os.kill(os.getpid(), signal.SIGKILL)


def promote(repository: Repository, endpoint: str, operation: str) -> CommitResult:
    """Append ``operation`` to the endpoint's route."""
    path = f"stages/production/{endpoint}/route.yaml"

    def intent(files: Files) -> tuple[Files, Message]:
        trailers = Trailers(operation=operation, endpoint=endpoint, stage="production", action="step")
        return {**files, path: files.get(path, "") + f"{operation}\n"}, Message(
            subject=f"{endpoint}: step {operation}", trailers=trailers
        )

    return repository.change(intent, operation=operation)


def main() -> None:
    url, clones, name, count, *endpoints = sys.argv[1:]
    git = MortalGit(os.environ["CRASH"]) if "CRASH" in os.environ else Git()
    repository = Repository.open(url, clones=Path(clones), git=git)
    made = 0
    for index in range(int(count)):
        made += promote(repository, endpoints[index % len(endpoints)], f"{name}-{index}").changed
    sys.stdout.write(json.dumps({"made": made}))


if __name__ == "__main__":
    main()
