"""Which commits the tree's own policy lets be served: those that one of ``policy/signers`` signed.

The file's presence is the policy. Rules:

- Who signs a commit vouches for the tree that it carries, whatever lies between it and the last one that was trusted.
- The signers of a commit are those of the tree before it: nobody admits or dismisses signers but a signer, and a push
  that deletes the list is refused like any other. Only the commit that brings the first list is judged by its own.
- A reader that trusts a commit already (the agent) says so by ``since``; without it the list's whole history is walked
  from its beginning, which is trust on first use.
"""

from dataclasses import dataclass
from typing import Final

from mlflow_deploy_plugin.repository.objects import Objects
from mlflow_deploy_plugin.repository.signing import Signature, verify

SIGNERS: Final = "policy/signers"
_SHORT: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The policy of one repository."""

    objects: Objects
    path: str
    """Of the list of signers."""

    def refusal(self, sha: str, *, since: str = "") -> str:
        """Why the commit ``sha`` must not be served; empty: it may.

        Args:
            sha: the commit.
            since: one before it that is trusted already; empty: none.
        """
        signers = self._signers(since) if since else None
        for commit in self._to_judge(sha, since):
            own = self._signers(commit)
            required = own if signers is None else signers
            signature = Signature() if required is None else self._verify(commit, required)
            if not signature.is_good:
                return (
                    f"commit {commit[:_SHORT]} is not signed by one of {self.path}: {signature.reason}; a signer who"
                    " vouches for the tree signs a commit on top of it (`git commit --allow-empty -S`)"
                )
            signers = own
        return ""

    def _to_judge(self, sha: str, since: str) -> list[str]:
        """The commits that changed the list, oldest first, and at last ``sha`` itself."""
        span = f"{since}..{sha}" if since else sha
        touched = [commit.sha for commit in self.objects.log("--first-parent", "--reverse", span, "--", self.path)]
        return [*(one for one in touched if one != sha), sha]

    def _signers(self, sha: str) -> str | None:
        """The list in the tree of ``sha``; ``None`` where it has none. An empty one admits nobody."""
        return self.objects.texts(self.objects.blobs(sha, self.path)).get(self.path)

    def _verify(self, sha: str, signers: str) -> Signature:
        return verify(self.objects.git, self.objects.folder, sha, signers)
