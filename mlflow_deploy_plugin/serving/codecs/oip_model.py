"""One model in the words of the Open Inference Protocol: what its REST and its gRPC form say alike. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

from mlflow_deploy_plugin.serving.codecs import oip_management
from mlflow_deploy_plugin.serving.codecs.arrays import ArrayReader
from mlflow_deploy_plugin.serving.codecs.oip_metadata import model_metadata, probability_name
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.outputs import named_arrays
from mlflow_deploy_plugin.serving.request import Request

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy as np

    from mlflow_deploy_plugin.serving.codecs.base import Host
    from mlflow_deploy_plugin.serving.request import Response


EXTENSIONS: Final = ["binary_tensor_data", "model_configuration", "statistics"]
"""Of those that Triton lists; of its repository there is only the index."""


class OipModel:
    """Versions, inputs, outputs and parameters of the served model."""

    def __init__(self, host: Host) -> None:
        model = host.model
        self._model = model
        self._is_ready = host.is_ready
        self._totals = host.totals
        self._reader = ArrayReader(model.signature)
        self._outputs = [spec.name for spec in model.signature.outputs]
        self._params = {param.name for param in model.signature.params}
        self._probability = probability_name(model)
        self.version = model.model_version or "1"

    def serves(self, version: str) -> bool:
        """Whether a version is this one; empty means any."""
        return version in {"", self.version, self._model.deployment}

    def check_version(self, version: str) -> None:
        """Refuse a version that is not this one.

        Raises:
            RequestError: UNKNOWN_PATH.
        """
        if not self.serves(version):
            raise RequestError(
                Fault.UNKNOWN_PATH,
                f"version {version!r} is not served here; this is {self.version!r}. Leave the version out, or name a"
                " deployment in the header x-model-version",
            )

    def request(
        self, arrays: Mapping[str, np.ndarray], given: Mapping[str, Any], outputs: Collection[str], *, echo: object
    ) -> Request:
        """The neutral request for ``outputs`` (empty: all); of the parameters ``given`` those that the model declares.

        Raises:
            RequestError: INVALID.
        """
        return Request(
            payload=self._reader.read(arrays),
            params={name: value for name, value in given.items() if name in self._params} or None,
            wants="probability" if self._probability and self._probability in outputs else "prediction",
            echo=echo,
        )

    def outputs(self, response: Response, asked: Collection[str]) -> Mapping[str, np.ndarray]:
        """The outputs that were asked for, in that order; all of the model's where none was.

        Raises:
            RequestError: INVALID; the model gives no output of that name.
            TypeError: an output is no tensor.
            ValueError: the same.
        """
        arrays = dict(named_arrays(response.prediction, self._outputs))
        if response.probability is not None and self._probability:
            arrays |= named_arrays(response.probability, [self._probability])
        if unknown := [name for name in asked if name not in arrays]:
            raise RequestError(
                Fault.INVALID, f"unknown output {unknown[0]!r}; the model gives {', '.join(map(repr, arrays))}"
            )
        return {name: arrays[name] for name in asked} if asked else arrays

    def metadata(self, name: str) -> dict[str, Any]:
        """Metadata under the name that the client used."""
        return model_metadata(self._model, name=name or self._model.model_name, version=self.version)

    def configuration(self, name: str) -> dict[str, Any]:
        """Its configuration, as Triton tells one."""
        return oip_management.configuration(self.metadata(name))

    def statistics(self, name: str) -> dict[str, Any]:
        """What its workers have done since they started."""
        told = oip_management.statistics(self._totals(), name=name or self._served_as, version=self.version)
        return {"model_stats": [told]}

    def index(self) -> list[dict[str, str]]:
        """The only entry of the repository's index."""
        state = "READY" if self._is_ready() else "UNAVAILABLE"
        return [{"name": self._served_as, "version": self.version, "state": state, "reason": ""}]

    def refuse_control(self) -> NoReturn:
        """Refuse to load or unload.

        Raises:
            RequestError: WRONG_METHOD, with the way out.
        """
        raise RequestError(
            Fault.WRONG_METHOD,
            "git decides what is served, so this server cannot be changed by a request; use: mlflow deployments update"
            f" -t modelserve --name {self._model.deployment} -m models:/NAME/VERSION",
        )

    @property
    def _served_as(self) -> str:
        return self._model.endpoint or self._model.model_name
