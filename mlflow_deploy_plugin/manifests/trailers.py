r"""The message of a commit and its trailers: the audit log, in git's own form. Pure.

Nothing else stores history. A value is one line, whatever was put into it; a squash merge that puts our trailers in
the middle of its message loses none.

>>> text = Message(subject="churn: created", trailers=Trailers(operation="4f1", endpoint="churn", stage="production",
...     action="create", to="churn=100")).render()
>>> print(text)
churn: created
<BLANKLINE>
Modelserve-Operation: 4f1
Modelserve-Endpoint: churn
Modelserve-Stage: production
Modelserve-Action: create
Modelserve-To: churn=100
>>> Trailers.parse(text).to
'churn=100'
"""

import re
from dataclasses import dataclass, fields, replace
from typing import Final, Self

PREFIX: Final = "Modelserve-"
MAX_SUBJECT: Final = 200
MAX_VALUE: Final = 1000

_TRAILER: Final = re.compile(rf"(?: {{4}})?{PREFIX}([A-Z][a-z]+):[ \t]*(.*)")  # `git merge --squash` indents by four
_UNSPEAKABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def one_line(text: str, *, limit: int = MAX_VALUE) -> str:
    r"""``text`` on one line that git and terminals take as it is.

    >>> one_line("bad\nModelserve-Operation: forged\x1b[31m")
    'bad Modelserve-Operation: forged [31m'
    """
    line = " ".join(_UNSPEAKABLE.sub(" ", text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trailers:
    """What a commit did, for machines. Empty: not said."""

    operation: str
    """Names the act of deciding an intent on a state; the same act is committed once."""
    endpoint: str = ""
    stage: str = ""
    action: str = ""
    from_: str = ""
    to: str = ""
    reason: str = ""
    evidence: str = ""
    """Path of the evidence file, or its digest."""
    by: str = ""
    """Who said so, where it is not the commit's author."""
    fingerprint: str = ""
    """Of what people are told of it."""

    def render(self) -> str:
        """The trailer block, without a line end."""
        values = ((field.name.strip("_").title(), one_line(getattr(self, field.name))) for field in fields(self))
        return "\n".join(f"{PREFIX}{key}: {value}" for key, value in values if value)

    @classmethod
    def parse(cls, message: str) -> Self | None:
        """The trailers of a commit's message; ``None`` where it carries none of ours."""
        return next(reversed(cls.parse_all(message)), None)

    @classmethod
    def parse_all(cls, message: str) -> tuple[Self, ...]:
        """The trailers of every change in a message, oldest first: a squash merge puts several into one commit."""
        paragraphs = re.split(r"\n[ \t]*\n", message.replace("\r\n", "\n"))
        return tuple(found for paragraph in paragraphs if (found := cls._of_paragraph(paragraph)))

    @classmethod
    def _of_paragraph(cls, paragraph: str) -> Self | None:
        hits = (_TRAILER.fullmatch(line.rstrip()) for line in paragraph.split("\n"))
        found = {hit[1]: hit[2] for hit in hits if hit}
        if not found.get("Operation"):
            return None
        return cls(**{field.name: found.get(field.name.strip("_").title(), "") for field in fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a commit says: the news, details for people, trailers for machines."""

    subject: str
    body: tuple[str, ...] = ()
    trailers: Trailers

    def for_operation(self, operation: str) -> Self:
        """The same message under the operation id that the repository looks for."""
        return replace(self, trailers=replace(self.trailers, operation=operation))

    def render(self) -> str:
        """The text of the commit."""
        # A line of the body that reads like a trailer would be one: the indentation takes that away.
        lines = [one_line(line) for line in self.body]
        body = "\n".join(f"  {line}" if line.startswith(PREFIX) else line for line in lines)
        subject = one_line(self.subject, limit=MAX_SUBJECT)
        parts = [f"modelserve: {subject}" if subject.startswith(PREFIX) else subject or "modelserve: change", body]
        return "\n\n".join(part for part in (*parts, self.trailers.render()) if part)
