"""A registry in memory, a builder without BentoML and a compiler without a process, for tests of whoever packages."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlflow_deploy_plugin.errors import ModelError
from mlflow_deploy_plugin.packaging.build import BuildJob
from mlflow_deploy_plugin.packaging.compiling import CompileJob, Outcome
from mlflow_deploy_plugin.packaging.registry import Entry


@dataclass(slots=True, kw_only=True)
class FakeRegistry:
    """Answers from its fields; ``offline`` makes every verb fail as an unreachable server does."""

    entries: list[Entry] = field(default_factory=list)
    aliases: dict[tuple[str, str], str] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    """Artifact URI to the folder or file that a download copies."""
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    offline: bool = False
    downloads: list[str] = field(default_factory=list)

    def version(self, name: str, version: str) -> Entry:
        """The entry of that name and version."""
        return self._only(f"models:/{name}/{version}", lambda e: (e.name, e.version) == (name, version))

    def alias(self, name: str, alias: str) -> Entry:
        """The entry that ``aliases`` points at."""
        return self.version(name, self.aliases.get((name, alias), f"@{alias}"))

    def latest(self, name: str, stage: str) -> Entry:
        """The last entry of that name; stages are not kept."""
        return self._only(f"models:/{name}/{stage or 'latest'}", lambda e: e.name == name and not stage)

    def logged(self, model_id: str) -> Entry:
        """The entry of that id."""
        return self._only(f"models:/{model_id}", lambda e: e.model_id == model_id)

    def run_tags(self, run_id: str) -> Mapping[str, str]:
        """The tags given for that run."""
        self._require_online()
        return self.tags.get(run_id, {})

    def download(self, uri: str, into: Path) -> Path:
        """A copy of what ``folders`` holds for ``uri``."""
        self._require_online()
        self.downloads.append(uri)
        if uri not in self.folders:
            raise ModelError(f"no artifact at {uri!r}; known: {', '.join(self.folders) or 'none'}")
        source = self.folders[uri]
        copied = into / source.name
        if source.is_dir():
            return Path(shutil.copytree(source, copied))
        return Path(shutil.copyfile(source, copied))

    def _only(self, what: str, matches: Callable[[Entry], bool]) -> Entry:
        self._require_online()
        found = [entry for entry in self.entries if matches(entry)]
        if not found:
            raise ModelError(f"no model {what!r}; known: {', '.join(e.name for e in self.entries) or 'none'}")
        return found[-1]

    def _require_online(self) -> None:
        if self.offline:
            raise ModelError("the registry does not answer; start it")


@dataclass(slots=True, kw_only=True)
class FakeBuilder:
    """Lays out a Bento as BentoML does, in milliseconds; remembers its jobs; fails where it is told to."""

    jobs: list[BuildJob] = field(default_factory=list)
    fails: Exception | None = None
    """Raised when the Bento is half made."""

    def __call__(self, job: BuildJob, *, keep_open: tuple[int, ...] = ()) -> Path:
        """The folder of a Bento that holds what the job names."""
        del keep_open
        self.jobs.append(job)
        bento = Path(job.home, "bentos", job.name, job.version)
        shutil.copytree(job.context, bento / "src")
        if self.fails is not None:
            raise self.fails
        (bento / "bento.yaml").write_text(f"name: {job.name}\nversion: {job.version}\n", encoding="utf-8")
        return bento


@dataclass(slots=True, kw_only=True)
class FakeCompiler:
    """Says what it was told to say, and writes a file where that is a form; remembers its jobs."""

    outcome: Outcome = field(default_factory=lambda: Outcome(reason="a fake compiles nothing"))
    jobs: list[CompileJob] = field(default_factory=list)

    def __call__(self, job: CompileJob, *, keep_open: tuple[int, ...] = ()) -> Outcome:
        """The outcome that was given."""
        del keep_open
        self.jobs.append(job)
        job.out.mkdir(parents=True)
        (job.out / "check.json").write_text("{}\n", encoding="utf-8")
        return self.outcome
