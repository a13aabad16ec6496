"""Reading ``-C``: from the mapping that MLflow hands over to a frozen value, or to one line that says what to type.

Also the table of the help, made from the same fields that do the reading.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from mlflow_deploy_plugin.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One ``-C`` key, as the help shows it."""

    name: str
    kind: str
    """What may be written: ``whole number, at least 1``."""
    default: str
    unit: str
    about: str


def key(default: Any, *, kind: str, about: str, unit: str = "", alias: str | None = None) -> Any:  # noqa: ANN401
    """A field of :class:`Keys`. ``kind`` is read by people, in the help and in the refusal."""
    return Field(default=default, description=about, alias=alias, json_schema_extra={"kind": kind, "unit": unit})


class Keys(BaseModel):
    """The keys of one command: frozen, and none but these."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    elsewhere: ClassVar[Mapping[str, str]] = {}
    """Keys that people will try here, and where they belong."""

    @classmethod
    def parse(cls, config: Mapping[str, Any] | None) -> Self:
        """The values that ``config`` sets, the defaults for the rest; ``None`` sets nothing.

        Raises:
            ConfigError: a key is unknown or a value breaks its rule.
        """
        given = dict(config or {})
        known = {k.name for k in keys(cls)}
        for name in given:
            if name not in known:
                raise ConfigError(_unknown(str(name), sorted(known), cls.elsewhere))
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise ConfigError(_broken(cls, given, error)) from error

    @property
    def explicit(self) -> frozenset[str]:
        """The keys that were set, by the names that ``-C`` gives them."""
        return frozenset(_name(name, type(self).model_fields[name]) for name in self.model_fields_set)


def keys(model: type[Keys]) -> tuple[Key, ...]:
    """Every key of ``model``, in the order of the help."""
    return tuple(_key(name, info) for name, info in model.model_fields.items())


def describe(model: type[Keys]) -> str:
    """The keys of ``model`` as a table for a terminal: key, type, default, unit, what it does."""
    rows = [("KEY", "TYPE", "DEFAULT", "UNIT", "ABOUT")]
    rows += [(k.name, k.kind, k.default or "-", k.unit or "-", k.about) for k in keys(model)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join("  ".join([*map(str.ljust, row[:4], widths), row[4]]) for row in rows)


def _key(name: str, info: FieldInfo) -> Key:
    extra = info.json_schema_extra
    shown: Mapping[str, Any] = extra if isinstance(extra, dict) else {}
    return Key(
        name=_name(name, info),
        kind=str(shown.get("kind", "")),
        default="" if info.default is None else str(info.default),
        unit=str(shown.get("unit", "")),
        about=info.description or "",
    )


def _name(name: str, info: FieldInfo) -> str:
    return info.alias or name


def _unknown(name: str, known: list[str], elsewhere: Mapping[str, str]) -> str:
    if name in elsewhere:
        return f"-C {name} cannot be used here; {elsewhere[name]}"
    near = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return f"-C {name} is unknown; {hint}"


def _broken(model: type[Keys], given: Mapping[str, Any], error: ValidationError) -> str:
    """One sentence about the first value that breaks a rule; the rest follow once it is mended."""
    first = error.errors(include_url=False, include_context=False)[0]
    name = str(first["loc"][0])
    rule = next(k for k in keys(model) if k.name == name)
    why = first["msg"].removeprefix("Value error, ") if first["type"] == "value_error" else ""
    detail = f" ({why})" if why and not why.startswith(("is ", "does ")) else ""
    default = f"; leave it out for {rule.default}" if rule.default else ""
    return f"-C {name}={given[name]!r} must be {rule.kind}{detail}: {rule.about}{default}"
