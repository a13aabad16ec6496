r"""What a tick did, as Markdown for the page of a CI run. Text only; :func:`append` alone touches a file.

>>> row("churn", "a|b")
'| churn | a\\|b |'
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.manifests.diff import percent
from pipelines.commands.plan import moved

if TYPE_CHECKING:
    from datetime import datetime

    from mlflow_deploy_plugin.manifests.model import Route
    from mlflow_deploy_plugin.targets.base import DeploymentTarget
    from pipelines.commands.committing import Wish
    from pipelines.commands.endpoints import Standing
    from pipelines.promotion.decision import GateResult

_SIGNS: Final = {"successful": "✅", "failed": "❌", "inconclusive": "⏳", "error": "⚠️"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One endpoint of a summary."""

    before: "Route"
    after: "Route | None"
    """The split that is wished for; ``None``: nothing changes."""
    text: str
    """What was done, on one line."""
    gates: "Sequence[GateResult]" = ()
    notes: Sequence[str] = ()

    def render(self) -> str:
        """Headline, split, who moves, gates."""
        parts = [f"## {self.before.endpoint} ({self.before.stage})", _plain(self.text), *self._split()]
        parts += [f"- {_plain(note)}" for note in self.notes]
        parts += [_gates(self.gates)] if self.gates else []
        return "\n\n".join(parts) + "\n"

    def _split(self) -> list[str]:
        old, new = self.before.weights, (self.after or self.before).weights
        names = [name for name in dict.fromkeys((*old, *new)) if old.get(name) or new.get(name)]
        lines = [row("deployment", "before", "after"), row("---", "---:", "---:")]
        lines += [row(name, percent(old.get(name, 0)), percent(new.get(name, 0))) for name in names]
        told = [moved(self.before, self.after)] if self.after else []
        return ["\n".join(lines), *(f"Who moves: {text}." for text in told)]


def of_wish(
    target: "DeploymentTarget", standing: "Standing", wish: "Wish | None", *, now: "datetime", text: str
) -> Section:
    """The section of a wish that was decided on ``standing``; ``None``: nothing was wished for."""
    before = standing.endpoint.route
    if wish is None:
        return Section(before=before, after=None, text=text)
    tree, message = wish.apply(target.files_at(standing.commit), now=now)
    after = manifests.parse_endpoint(tree, before.stage, before.endpoint).route
    return Section(before=before, after=after, text=text, notes=(message.trailers.reason,))


def append(path: str, text: str) -> None:
    """Add ``text`` to the file ``path``; nothing where it is empty.

    Raises:
        ConfigError: the file cannot be written.
    """
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        raise ConfigError(f"summary {path!r} cannot be written ({error.strerror}); give another path") from error


def row(*cells: str) -> str:
    """One line of a table."""
    return f"| {' | '.join(_plain(cell) for cell in cells)} |"


def _gates(gates: "Iterable[GateResult]") -> str:
    lines = [row("gate", "verdict", "numbers", "reason"), row("---", "---", "---", "---")]
    lines += [
        row(gate.gate, f"{_SIGNS[gate.verdict]} {gate.verdict}", _numbers(gate.numbers), gate.reason) for gate in gates
    ]
    return "\n".join(lines)


def _numbers(numbers: Mapping[str, float | int]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())


def _plain(text: str) -> str:
    """``text`` as Markdown shows it: on one line, and neither a cell's end nor HTML."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
