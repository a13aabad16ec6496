"""Types of the values behind ``-C``: each takes what a shell gives (text) and what Python gives (typed).

A validator that refuses says only the rule; :mod:`.reading` adds the key, the value and the way out.
"""

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT, is_label, slug

ON: Final = frozenset({"1", "true", "yes", "on"})
OFF: Final = frozenset({"0", "false", "no", "off"})
PER_CENT: Final = 100

_QUANTITY: Final = re.compile(r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_DIGEST: Final = re.compile(r"[\w.:/-]+@sha256:[0-9a-f]{64}")
_DEVICE: Final = re.compile(r"|[a-z]+(:\d+)?")


def _switch(value: object) -> object:
    """``true``, ``True``, ``1``, ``yes``, ``on`` are one word, and so are their opposites."""
    text = str(value).strip().lower()
    return "on" if text in ON else "off" if text in OFF else value


def _auto(value: object) -> object:
    word = _switch(value)
    return "auto" if word == "on" else word


def _log_mode(value: object) -> object:
    word = _switch(value)
    return "full" if word == "on" else word


def _number(value: object) -> object:
    """Python counts ``True`` as 1 and pydantic reads ``nan``; neither is a number that somebody means."""
    if isinstance(value, bool) or (isinstance(value, str) and value.strip().lower().strip("+-") in {"nan", "inf"}):
        raise ValueError("is not a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("is not finite")
    return value.strip() if isinstance(value, str) else value


def _gpu(value: object) -> object:
    return "auto" if isinstance(value, str) and value.strip().lower() == "auto" else _number(value)


def _quantity(value: object) -> object:
    text = str(value).strip()
    if isinstance(value, bool) or (text and not _QUANTITY.fullmatch(text)):
        raise ValueError("is no quantity")
    return text


def _matching(pattern: re.Pattern[str]) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError("does not match")
        return text

    return AfterValidator(check)


def per_mille(value: object) -> int:
    """A share in per cent as the route counts it.

    >>> per_mille("12.5"), per_mille(100), per_mille("0.1 %")
    (125, 1000, 1)

    Raises:
        ValueError: outside 0 to 100, or finer than 0.1.
    """
    try:
        share = Decimal(str(value).strip().removesuffix("%").strip()) * TOTAL_WEIGHT / PER_CENT
    except InvalidOperation as error:
        raise ValueError("is not a number") from error
    if isinstance(value, bool) or not share.is_finite() or not 0 <= share <= TOTAL_WEIGHT or share % 1:
        raise ValueError("is not a share")
    return int(share)


def _traffic(value: object) -> Mapping[str, int]:
    """``churn=90,churn-v4=10``, the same as JSON, or as a mapping."""
    shares = value if isinstance(value, Mapping) else _pairs(str(value))
    for name in shares:
        if not is_label(str(name)):
            raise ValueError(f"{name!r} is no deployment's name, perhaps {slug(str(name))!r}")
    weights = {str(name): per_mille(share) for name, share in shares.items()}
    if (total := sum(weights.values())) != TOTAL_WEIGHT:
        raise ValueError(f"the shares sum to {total * PER_CENT / TOTAL_WEIGHT:g}")
    return weights


def _pairs(text: str) -> dict[str, object]:
    if text.lstrip().startswith("{"):
        return dict(json.loads(text, object_pairs_hook=_once))
    return _once([_pair(part) for part in text.split(",")])


def _pair(part: str) -> tuple[str, object]:
    name, equals, share = part.partition("=")
    if not equals:
        raise ValueError(f"{part.strip()!r} has no '='")
    return name.strip(), share


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    known: dict[str, object] = {}
    for name, share in pairs:
        if name in known:
            raise ValueError(f"{name!r} comes twice")
        known[name] = share
    return known


def _json_object(value: object) -> str:
    """Canonical text of a JSON object; empty stays empty."""
    if value == "":
        return ""
    loaded = json.loads(value) if isinstance(value, str) else value
    if not isinstance(loaded, Mapping):
        raise ValueError("is no object")  # noqa: TRY004  pydantic collects ValueError alone
    return json.dumps(dict(loaded), sort_keys=True)


def _columns(value: object) -> str:
    names = value if isinstance(value, list | tuple) else str(value).split(",")
    return ",".join(filter(None, (str(name).strip() for name in names)))


def _text(value: object) -> object:
    return str(value) if hasattr(value, "__fspath__") else value


Number = BeforeValidator(_number)
Whole = Annotated[int, Number]
Positive = Annotated[int, Number, Field(ge=1)]
Seconds = Annotated[float, Number, Field(gt=0)]
Share = Annotated[float, Number, Field(ge=0, le=1)]
Weight = Annotated[int, BeforeValidator(per_mille)]
Gpu = Annotated[Annotated[int, Field(ge=0)] | Literal["auto"], BeforeValidator(_gpu)]
SwitchValue = Annotated[Literal["on", "off"], BeforeValidator(_switch)]
CompileValue = Annotated[Literal["auto", "off"], BeforeValidator(_auto)]
LogValue = Annotated[Literal["off", "predictions", "full"], BeforeValidator(_log_mode)]
Quantity = Annotated[str, BeforeValidator(_quantity)]
Device = Annotated[str, _matching(_DEVICE)]
Image = Annotated[str, _matching(_DIGEST)]
JsonObject = Annotated[str, BeforeValidator(_json_object)]
Columns = Annotated[str, BeforeValidator(_columns)]
PathText = Annotated[str, BeforeValidator(_text)]
Traffic = Annotated[Mapping[str, int], BeforeValidator(_traffic)]
