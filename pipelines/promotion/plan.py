"""How a new version takes over: a strategy, and the terms that all strategies share. Values; :mod:`.schema` reads them.

A strategy is one module of :mod:`.strategies`: its value, its fields in ``rollout.yaml``, what it judges and what it
decides. To add one: write the module, name it in :data:`Strategy`, in :mod:`.schema` and in :mod:`.decide`; the type
checker points at every ``match`` that does not know it yet.
"""

from dataclasses import dataclass, field

from pipelines.promotion.strategies.blue_green import BlueGreen
from pipelines.promotion.strategies.canary import Canary
from pipelines.promotion.strategies.experiment import Ab
from pipelines.promotion.strategies.shadow import Shadow
from pipelines.promotion.terms import Terms

Strategy = Canary | BlueGreen | Shadow | Ab


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One endpoint's way to promote."""

    strategy: Strategy
    terms: Terms = field(default_factory=Terms)
