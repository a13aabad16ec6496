"""What a model expects: the columns of its signature, as far as a client needs them to cast what it sends.

Read from an ``MLmodel`` file or from an endpoint's v2 metadata. Enforces nothing; the server does.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from mlflow_deploy_plugin.errors import ModelError

_V2_KINDS: Final = {
    "BOOL": "boolean",
    "BYTES": "string",
    "FP16": "float",
    "FP32": "float",
    "FP64": "double",
    "INT8": "integer",
    "INT16": "integer",
    "INT32": "integer",
    "INT64": "long",
    "UINT8": "integer",
    "UINT16": "integer",
    "UINT32": "long",
    "UINT64": "long",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One input. ``kind`` is MLflow's name of a type: string, long, double, datetime, tensor, object and so on."""

    name: str
    """Empty for the single unnamed input of a tensor signature."""
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Inputs and parameters of a model; :data:`NO_SIGNATURE` where it states none."""

    columns: tuple[Column, ...] = ()
    params: tuple[Column, ...] = ()
    is_from_type_hint: bool = False
    """Such a model accepts the key ``inputs`` alone."""

    @property
    def is_tensor(self) -> bool:
        """Whether the inputs are tensors, not columns of a frame."""
        return any(column.kind == "tensor" for column in self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the named inputs."""
        return tuple(column.name for column in self.columns if column.name)

    def kind(self, name: str) -> str:
        """Type of the input of that name; empty where the signature does not know it."""
        return next((column.kind for column in self.columns if column.name == name), "")

    @classmethod
    def from_mlmodel(cls, text: str) -> Self:
        """The signature that an ``MLmodel`` file states.

        Raises:
            ModelError: the text is no MLmodel file.
        """
        from ruamel.yaml import YAML  # noqa: PLC0415  a light command must not pay for it
        from ruamel.yaml.error import YAMLError  # noqa: PLC0415

        try:
            document = YAML(typ="safe").load(text)
            stated = document.get("signature") or {}
            return cls(
                columns=_columns(json.loads(stated.get("inputs") or "[]")),
                params=_columns(json.loads(stated.get("params") or "[]")),
                is_from_type_hint=bool(document.get("is_signature_from_type_hint")),
            )
        except (AttributeError, TypeError, KeyError, ValueError, YAMLError) as error:
            raise ModelError(f"the model's MLmodel file does not read as one ({error}); log the model again") from error

    @classmethod
    def from_v2_metadata(cls, metadata: Mapping[str, Any]) -> Self:
        """The signature that ``GET /v2/models/NAME`` of the Open Inference Protocol states.

        >>> Signature.from_v2_metadata({"inputs": [{"name": "zip", "datatype": "BYTES", "shape": [-1]}]}).kind("zip")
        'string'
        """
        inputs = [item for item in metadata.get("inputs") or () if isinstance(item, Mapping)]
        return cls(columns=tuple(Column(name=str(item.get("name", "")), kind=_v2_kind(item)) for item in inputs))


NO_SIGNATURE: Final = Signature()
"""Of a model that states none: nothing is cast."""


def _v2_kind(item: Mapping[str, Any]) -> str:
    shape: Sequence[Any] = item.get("shape") or ()
    is_column = len(shape) == 1 or (len(shape) == 2 and shape[-1] == 1)  # noqa: PLR2004  rows, or rows by one
    return _V2_KINDS.get(str(item.get("datatype", "")), "") if is_column else "tensor"


def _columns(specs: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    return tuple(
        Column(name=str(spec.get("name") or ""), kind=str(spec.get("type") or spec.get("dtype") or ""))
        for spec in specs
    )
