"""What lies inside a Bento of ours, and the description that travels with it.

::

    bento.yaml
    src/service.py               the BentoML service; imports mlflow_deploy_plugin.serving
    src/modelserve.json          this module's BentoSpec
    src/model/                   the MLflow model, as logged
    src/compiled/                a form of it that needs no MLflow, where one answers alike
    src/reference.parquet        the training sample, where one was logged
    src/mlflow_deploy_plugin/    errors, version, spec, attribution and serving: all that the process imports of ours
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

SPEC_FILE: Final = "modelserve.json"
MODEL_FOLDER: Final = "model"
COMPILED_FOLDER: Final = "compiled"
REFERENCE_FILE: Final = "reference.parquet"
SERVICE_IMPORT: Final = "service:ModelService"


@dataclass(frozen=True, slots=True, kw_only=True)
class BentoSpec:
    """One packaged model. Its identity is (model digest, serving digest, environment digest)."""

    model_uri: str
    """``models:/NAME/VERSION`` or the URI it was given by; an alias never."""
    model_name: str
    """Registered name, or a slug of the source's last segment."""
    model_version: str = ""
    """Registry version; empty for an unregistered model."""
    run_id: str = ""
    model_id: str = ""
    flavor: str = "python_function"
    loader: str = ""
    """``loader_module`` of the pyfunc flavor."""
    model_digest: str
    """``sha256:`` over the sorted relative paths and contents of the model folder."""
    serving_digest: str
    """``sha256:`` over our own code inside the Bento."""
    environment_digest: str
    """``sha256:`` over the sorted requirement lines."""
    env_manager: str = "local"
    python_version: str = ""
    requirements: tuple[str, ...] = ()
    reference_digest: str = ""
    """``sha256:`` of the reference file; empty where there is none."""
    compile: str = "auto"
    """Whether a compiled form was asked for: ``auto`` or ``off``."""
    predictor: str = "pyfunc"
    """Registered name of the predictor that serves: ``pyfunc``, or ``compiled`` where that was found equal to it."""
    predictor_reason: str = ""
    """How it was found equal, or why the model is not compiled."""
    has_socket: bool = False
    """Whether its serving code listens on the socket of :mod:`.sockets` too, as that of earlier versions does not."""
    metadata: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Deterministic text of this description."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The description that :meth:`to_json` wrote; unknown keys of a later version are an error."""
        values: dict[str, Any] = json.loads(text)
        values["requirements"] = tuple(values.get("requirements", ()))
        return cls(**values)
