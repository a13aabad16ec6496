"""What an analysis says: Successful, Failed, Inconclusive or Error, with its reason and its numbers.

The four words are Argo Rollouts'. Bad news is a verdict, not an exception. Rules: ``Failed`` is claimed only where an
anytime-valid statistic says so, ``Successful`` only where non-inferiority is proven, everything else is
``Inconclusive`` and holds. ``Error`` is for an analysis that could not be made (a source that failed).

Does not decide what happens next: that is the promotion's business.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import assert_never

Number = float | int
Numbers = Mapping[str, Number]


@dataclass(frozen=True, slots=True, kw_only=True)
class Successful:
    """The canary is proven not worse than stable by more than the margin."""

    reason: str
    numbers: Numbers = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The canary is proven worse than the margin, or beyond an absolute guardrail."""

    reason: str
    numbers: Numbers = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inconclusive:
    """Nothing is proven either way, or the data must not be trusted: hold."""

    reason: str
    numbers: Numbers = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """The analysis itself could not be made."""

    reason: str
    numbers: Numbers = field(default_factory=dict)


Verdict = Successful | Failed | Inconclusive | Error


def word(verdict: Verdict) -> str:
    """Name the verdict in lower case, as subjects of commits and labels of metrics spell it.

    >>> word(Failed(reason="errors"))
    'failed'
    """
    match verdict:
        case Successful():
            return "successful"
        case Failed():
            return "failed"
        case Inconclusive():
            return "inconclusive"
        case Error():
            return "error"
        case _:
            assert_never(verdict)


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """Merge the verdicts of all gates into one: the worst speaks, none at all is Inconclusive.

    Order, worst first: Failed (any one gate may stop a rollout), Error, Inconclusive, Successful. The reason is that of
    the first verdict of the worst kind; the numbers are its numbers.

    >>> combine([Successful(reason="latency"), Failed(reason="errors")])
    Failed(reason='errors', numbers={})
    >>> word(combine([]))
    'inconclusive'
    """
    seen = tuple(verdicts)
    for kind in (Failed, Error, Inconclusive, Successful):
        for verdict in seen:
            if isinstance(verdict, kind):
                return verdict
    return Inconclusive(reason="no gate was judged")
