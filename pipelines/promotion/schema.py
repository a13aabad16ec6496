"""``rollout.yaml`` as a whole: a strategy with its fields and the terms that all share; nothing that is not known.

The same models make the text of ``python -m pipelines schema``.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mlflow_deploy_plugin.errors import ConfigError, ManifestError
from pipelines.promotion.plan import Plan
from pipelines.promotion.strategies.blue_green import BlueGreenForm
from pipelines.promotion.strategies.canary import CanaryForm
from pipelines.promotion.strategies.experiment import AbForm
from pipelines.promotion.strategies.shadow import ShadowForm

DEFAULT_STRATEGY: Final = "canary"
STRATEGIES: Final = (DEFAULT_STRATEGY, "blue-green", "shadow", "ab")


def _strategy(written: Any) -> str:  # noqa: ANN401  whatever stands in the file
    found = written.get("strategy", DEFAULT_STRATEGY) if isinstance(written, Mapping) else DEFAULT_STRATEGY
    return str(found)


StrategyForm = Annotated[
    Annotated[CanaryForm, Tag("canary")]
    | Annotated[BlueGreenForm, Tag("blue-green")]
    | Annotated[ShadowForm, Tag("shadow")]
    | Annotated[AbForm, Tag("ab")],
    Discriminator(_strategy),
]


class RolloutForm(BaseModel):
    """``rollout.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_version: Literal["modelserve.io/v1alpha1"] = Field(alias="apiVersion", description="always this")
    kind: Literal["Rollout"] = Field(description="always this")
    metadata: dict[str, Any] = Field(default_factory=dict, description="name and the local-config annotation")
    spec: StrategyForm = Field(description="the plan; empty: nothing is promoted by automation")


def read_plan(text: str, *, path: str) -> Plan | None:
    """The plan in ``text``; ``None`` where its spec is empty: then automation promotes nothing.

    Raises:
        ManifestError: it breaks a rule; the message begins with ``path`` and the field.
    """
    try:
        written = YAML(typ="safe").load(text)
        if isinstance(written, dict) and written.get("kind") == "Rollout" and not written.get("spec", "?"):
            return None
        spec = RolloutForm.model_validate(written).spec
        return Plan(strategy=spec.value(), terms=spec.terms())
    except YAMLError as error:
        raise ManifestError(f"{path}: is no YAML ({str(error).splitlines()[0]})") from error
    except ValidationError as error:
        raise ManifestError(f"{path}: {_first(error)}; `python -m pipelines schema` lists the fields") from error
    except ConfigError as error:
        raise ManifestError(f"{path}: {error}") from error


def _first(error: ValidationError) -> str:
    """The first field at fault, as people write its place: without the tag that chose the strategy."""
    first = error.errors()[0]
    place = [str(part) for index, part in enumerate(first["loc"]) if index != 1 or part not in STRATEGIES]
    if first["type"] == "union_tag_invalid":
        return f"spec.strategy: is {first['ctx']['tag']!r}; known: {', '.join(STRATEGIES)}"
    return f"{'.'.join(place) or 'file'}: {first['msg']}"
