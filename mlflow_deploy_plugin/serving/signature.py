"""The model's signature, read from the MLmodel file without MLflow.

Pure: takes the parsed file, gives values. Names of types are MLflow's own (``double``, ``long``, …); what a type
means to NumPy is in :data:`NUMPY_TYPES`. Types that are no plain column (array, object, map, any) are kept as
``complex``, since nobody here enforces what is inside them: MLflow does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Role = Literal["inputs", "outputs", "params"]

NUMPY_TYPES: Final = {
    "double": "float64",
    "float": "float32",
    "long": "int64",
    "integer": "int32",
    "boolean": "bool",
    "string": "object",
    "binary": "object",
    "datetime": "datetime64[ns]",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table; ``name`` is empty in an unnamed signature."""

    name: str
    type: str
    is_required: bool = True
    detail: Mapping[str, Any] | None = field(default=None, compare=False)
    """What MLflow says of a type that is ``complex`` here; for examples and schemas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One array; -1 in ``shape`` is any length."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of ``shape`` is of this one.

        >>> spec = TensorSpec(name="", dtype="float32", shape=(-1, 3))
        >>> spec.takes((7, 3)), spec.takes((7, 4)), spec.takes((7,))
        (True, False, False)
        """
        wanted = self.shape
        if len(shape) != len(wanted):
            return False
        if wanted[:1] == (-1,) and shape[1:] == wanted[1:]:  # as nearly all are
            return True
        return all(want in {-1, size} for size, want in zip(shape, wanted, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """One inference parameter; ``shape`` None is a scalar, (-1,) a list."""

    name: str
    type: str
    default: Any
    shape: tuple[int, ...] | None = None


Spec = Column | TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Inputs, outputs and parameters; empty tuples where the model declares none."""

    inputs: tuple[Spec, ...] = ()
    outputs: tuple[Spec, ...] = ()
    params: tuple[Param, ...] = ()
    is_from_type_hint: bool = False

    @property
    def columns(self) -> tuple[Column, ...]:
        """The input columns of a column-based signature; empty for any other."""
        columns = tuple(spec for spec in self.inputs if isinstance(spec, Column))
        return columns if len(columns) == len(self.inputs) else ()

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """The inputs of a tensor-based signature; empty for any other."""
        tensors = tuple(spec for spec in self.inputs if isinstance(spec, TensorSpec))
        return tensors if len(tensors) == len(self.inputs) else ()

    @property
    def has_names(self) -> bool:
        """Whether every input has a name."""
        return bool(self.inputs) and all(spec.name for spec in self.inputs)

    @property
    def matrix_type(self) -> str:
        """The NumPy type that all columns share, where they are named, required and numbers; else empty."""
        columns = self.columns
        kinds = {column.type for column in columns}
        if not self.has_names or self.is_from_type_hint or len(kinds) != 1:
            return ""
        if not all(column.is_required for column in columns):
            return ""
        kind = kinds.pop()
        return NUMPY_TYPES[kind] if kind in {"double", "float", "long", "integer"} else ""


def parse_signature(mlmodel: Mapping[str, Any]) -> Signature:
    """The signature in a parsed MLmodel file.

    >>> parse_signature({"signature": {"inputs": '[{"type": "double", "name": "x", "required": true}]'}}).columns
    (Column(name='x', type='double', is_required=True, detail=None),)
    """
    fields = mlmodel.get("signature") or {}
    return Signature(
        inputs=_specs(fields.get("inputs")),
        outputs=_specs(fields.get("outputs")),
        params=tuple(_param(item) for item in json.loads(fields.get("params") or "[]")),
        is_from_type_hint=bool(mlmodel.get("is_signature_from_type_hint")),
    )


def _specs(text: str | None) -> tuple[Spec, ...]:
    return tuple(_spec(item) for item in json.loads(text or "[]"))


def _spec(item: Mapping[str, Any]) -> Spec:
    name = item.get("name") or ""
    if item["type"] == "tensor":
        tensor = item["tensor-spec"]
        return TensorSpec(name=name, dtype=tensor["dtype"], shape=tuple(tensor["shape"]))
    kind = item["type"] if item["type"] in NUMPY_TYPES else "complex"
    detail = item if kind == "complex" else None
    return Column(name=name, type=kind, is_required=item.get("required", True), detail=detail)


def _param(item: Mapping[str, Any]) -> Param:
    shape = item.get("shape")
    kind = item.get("dtype") or item["type"]
    default = item.get("default")
    return Param(name=item["name"], type=kind, default=default, shape=None if shape is None else tuple(shape))
