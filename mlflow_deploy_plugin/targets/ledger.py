"""Reading and writing one stage of one GitOps repository: what local and remote targets share."""

from collections.abc import Callable
from dataclasses import dataclass

from mlflow_deploy_plugin.manifests.model import Files, Stage
from mlflow_deploy_plugin.manifests.tree import endpoint_folder, stage_folder
from mlflow_deploy_plugin.repository import Commit, CommitResult, Intent, RepositoryDoor
from mlflow_deploy_plugin.targets import intents
from mlflow_deploy_plugin.targets.base import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """One stage in one repository; opened when first used."""

    stage_name: str
    open: Callable[[], RepositoryDoor]

    def head(self) -> str:
        """The newest commit; empty where there is none."""
        store = self.open()
        store.fetch()
        commit = store.head()
        return commit.sha if commit else ""

    def files_at(self, commit: str, under: str = "") -> Files:
        """The tree of ``commit``, or one folder of it; empty where there is none."""
        return self.open().files(commit, under) if commit else {}

    def files(self) -> Files:
        """The newest tree."""
        return self.files_at(self.head())

    def read(self) -> Reading:
        """The newest commit and its say on this stage, in one look.

        Raises:
            ManifestError: the tree breaks a rule.
        """
        commit = self.head()
        return Reading(commit=commit, stage=intents.read_stage(self.files_at(commit), self.stage_name))

    def stage(self) -> Stage:
        """The newest tree's say on this stage; errors as :meth:`read`."""
        return self.read().stage

    def change(self, edit: Intent, *, operation: str) -> CommitResult:
        """One commit.

        Raises:
            GitError, RetryLaterError: the repository refused.
        """
        return self.open().change(edit, operation=operation)

    def history(self, endpoint: str, *, at: str = "") -> tuple[Commit, ...]:
        """Commits that touched the stage, or one endpoint of it; newest first, up to ``at``: then nobody looks anew."""
        at = at or self.head()
        path = endpoint_folder(self.stage_name, endpoint) if endpoint else stage_folder(self.stage_name)
        return self.open().history(path=path, at=at) if at else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerTarget:
    """The half of a target that reads: whoever applies its commits, what they say is in the ledger."""

    uri: str
    ledger: Ledger

    @property
    def stage_name(self) -> str:
        """Which stage."""
        return self.ledger.stage_name

    def head(self) -> str:
        """The newest commit; empty where there is none."""
        return self.ledger.head()

    def files(self) -> Files:
        """The newest tree."""
        return self.ledger.files()

    def files_at(self, commit: str, under: str = "") -> Files:
        """The tree of ``commit``, or one folder of it; empty where there is none."""
        return self.ledger.files_at(commit, under)

    def stage(self) -> Stage:
        """The newest tree's say on this stage."""
        return self.ledger.stage()

    def read(self) -> Reading:
        """The newest commit and its say on this stage, in one look."""
        return self.ledger.read()

    def history(self, endpoint: str = "", *, at: str = "") -> tuple[Commit, ...]:
        """Commits that touched the stage, or one endpoint of it; newest first, up to ``at``: then nobody looks anew."""
        return self.ledger.history(endpoint, at=at)
