"""The errors of every room, each with the exit code that a command ends with.

A message says the value, the rule and the way out, in one line. Foreign errors are wrapped with ``from``.
Bad news that was looked for, such as a canary that is worse than stable, is a verdict and not an error.
"""

from typing import ClassVar, Final

EXIT_DONE: Final = 0
EXIT_BAD_VERDICT: Final = 1
EXIT_USER: Final = 2
EXIT_PROGRAM: Final = 3
EXIT_RETRY_LATER: Final = 75  # EX_TEMPFAIL of sysexits.h


class ModelserveError(Exception):
    """A program that this one stands on failed: git, Envoy, a Bento, the disk."""

    exit_code: ClassVar[int] = EXIT_PROGRAM


class UserError(ModelserveError):
    """The person who typed the command, or wrote the file, can mend it."""

    exit_code = EXIT_USER


class ConfigError(UserError):
    """A value breaks its rule: a ``-C`` key, a target URI, a name, a field of a plan."""


class ManifestError(UserError):
    """A file of the GitOps tree is not what the rules of the tree allow; the message begins with its path."""


class NotFoundError(UserError):
    """The named thing does not exist."""


class AlreadyExistsError(UserError):
    """A thing of that name exists already and would be overwritten."""


class ConflictError(UserError):
    """The state that an intent was decided on has changed, or the intent contradicts a rule of that state."""


class ModelError(UserError):
    """A model cannot be packaged, loaded or warmed up, or refuses its input."""


class GitError(ModelserveError):
    """git refused or failed; the message ends with what it printed."""


class PackagingError(ModelserveError):
    """A Bento could not be built, and no half of one was left behind."""


class AgentError(ModelserveError):
    """The agent could not start, or could not bring the newest commit to life."""


class GatewayError(ModelserveError):
    """Envoy could not start or refused its configuration."""


class ScoringError(ModelserveError):
    """A model server answered a request with an error."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class EventStoreError(ModelserveError):
    """The event store could not be read or written."""


class RetryLaterError(ModelserveError):
    """Nothing is wrong that time will not mend: a lock is held, a remote is away, a server is starting."""

    exit_code = EXIT_RETRY_LATER
