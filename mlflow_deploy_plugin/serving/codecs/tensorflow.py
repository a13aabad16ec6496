"""TensorFlow Serving's REST API: predict (row and column format), classify, regress, status and metadata.

After https://github.com/tensorflow/serving/blob/master/tensorflow_serving/g3doc/api_rest.md and what the server does
(its classify and regress answer ``results``). As there, ``NaN`` and ``Infinity`` may stand in a body and in an answer,
and binary values are ``{"b64": …}``. Any model name in a path is ours; a version must be the model's registered one or
the deployment's name, a label the deployment's name. There is one signature, ``serving_default``.

``classify`` gives the class probabilities of a classifier, and is refused for any other model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.serving.codecs import tensorflow_values as values
from mlflow_deploy_plugin.serving.codecs.arrays import ArrayReader
from mlflow_deploy_plugin.serving.codecs.base import JSON, Answer, Call, Infer, Reply
from mlflow_deploy_plugin.serving.codecs.blame import status_of
from mlflow_deploy_plugin.serving.codecs.json_body import json_type, retry_headers
from mlflow_deploy_plugin.serving.codecs.tensorflow_metadata import signature_definition
from mlflow_deploy_plugin.serving.codecs.tensorflow_model import SIGNATURE, check_signature, check_version, version_of
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.outputs import named_arrays
from mlflow_deploy_plugin.serving.request import Request, Response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from mlflow_deploy_plugin.serving.codecs.base import Host, Route

VERBS: Final = ("predict", "classify", "regress")

_MODELS: Final = ("/v1/models/{model}", "/v1/models/{model}/versions/{version}", "/v1/models/{model}/labels/{label}")


class TensorflowCodec:
    """``/v1/models``."""

    name = "tensorflow"

    def __init__(self, host: Host) -> None:
        self._model = host.model
        self._is_ready = host.is_ready
        self._reader = ArrayReader(host.model.signature)
        self._outputs = [spec.name for spec in host.model.signature.outputs]
        self._version = version_of(host.model)
        signature = host.model.signature
        is_mixed = signature.has_names and len(signature.columns) > 1 and not signature.matrix_type
        self._mixed = [column.name for column in signature.columns] if is_mixed else []

    def routes(self) -> Sequence[Route]:
        """Everything, also with a version or a label in the path."""
        whole: list[Route] = []
        for path in _MODELS:
            whole += [Infer(path=f"{path}:{verb}", verb=verb) for verb in VERBS]
            whole.append(Answer(path=f"{path}/metadata", answer=self._metadata))
            whole.append(Answer(path=path, answer=self._status))
        return whole

    def decode(self, call: Call) -> Request:
        """Read instances, inputs or examples."""
        self._check_version(call)
        document = values.loads(call.body)
        verb = call.route.verb
        if verb != "predict":
            return self._decode_examples(document, verb)
        check_signature(document.get("signature_name", ""))
        keys = [key for key in ("instances", "inputs") if key in document]
        if len(keys) != 1:
            raise RequestError(Fault.MALFORMED, "the body must have exactly one of 'instances' and 'inputs'")
        is_row = keys[0] == "instances"
        arrays = self._rows(document["instances"]) if is_row else self._columns(document["inputs"])
        return Request(payload=self._reader.read(arrays), echo=is_row)

    def encode(self, response: Response, request: Request, call: Call) -> Reply:
        """``predictions``, ``outputs`` or ``results``."""
        try:
            return Reply(200, JSON, values.dumps(self._answer(response, request, call.route.verb)))
        except (TypeError, ValueError, RecursionError) as error:
            raise RequestError(Fault.MODEL_FAILED, f"the model's output is no tensor: {error}") from None

    def encode_error(self, error: RequestError, call: Call, request: Request | None = None) -> Reply:  # noqa: ARG002
        """``{"error": …}``."""
        status = status_of(error, request, self._model.signature)
        return Reply(status, JSON, values.dumps({"error": error.message}), retry_headers(error))

    def _answer(self, response: Response, request: Request, verb: str) -> dict[str, Any]:
        if verb == "classify":
            return {"results": self._classes(response)}
        arrays = named_arrays(response.prediction, self._outputs)
        if verb == "regress":
            return {"results": values.regressions(arrays)}
        return {"predictions": values.rows(arrays)} if request.echo else {"outputs": values.columns(arrays)}

    def _classes(self, response: Response) -> list[Any]:
        labels = [str(label) for label in self._model.classes]
        rows: list[list[float]] = response.probability.tolist()
        labels = labels or [""] * len(rows[0])
        return [[list(pair) for pair in zip(labels, row, strict=True)] for row in rows]

    def _decode_examples(self, document: Mapping[str, Any], verb: str) -> Request:
        if verb == "classify" and not self._model.has_probability:
            raise RequestError(Fault.INVALID, "this model gives no class probabilities; use ':predict'")
        examples, context = document.get("examples"), document.get("context", {})
        if not isinstance(examples, list) or not examples or not all(isinstance(e, dict) for e in examples):
            raise RequestError(Fault.MALFORMED, "'examples' must be an array of at least one object")
        if not isinstance(context, dict):
            raise RequestError(Fault.MALFORMED, f"'context' must be an object, not {json_type(context)}")
        if twice := [name for name in context if any(name in example for example in examples)]:
            raise RequestError(Fault.INVALID, f"feature {twice[0]!r} stands in the context and in an example")
        payload = self._reader.read(self._rows([context | example for example in examples]))
        return Request(payload=payload, wants="probability" if verb == "classify" else "prediction")

    def _rows(self, instances: Any) -> dict[str, np.ndarray]:  # noqa: ANN401  any JSON value
        if not isinstance(instances, list) or not instances:
            raise RequestError(Fault.MALFORMED, "'instances' must be an array of at least one value")
        if self._mixed and isinstance(instances[0], list):
            instances = [self._named(instance) for instance in instances]
        if not values.is_named(instances[0]):
            return {self._only_name(): self._array(self._only_name(), instances)}
        names = instances[0].keys()
        for at, instance in enumerate(instances):
            if not values.is_named(instance) or instance.keys() != names:
                raise RequestError(Fault.MALFORMED, f"instance {at} must be an object with the names of the first")
        return {name: self._array(name, [instance[name] for instance in instances]) for name in names}

    def _named(self, instance: Any) -> Any:  # noqa: ANN401
        """An instance in the signature's order as an object, since its values have several types."""
        if isinstance(instance, list) and len(instance) == len(self._mixed):
            return dict(zip(self._mixed, instance, strict=True))
        raise RequestError(Fault.INVALID, f"each instance must be an array of {len(self._mixed)} values, or an object")

    def _columns(self, inputs: Any) -> dict[str, np.ndarray]:  # noqa: ANN401
        if values.is_named(inputs):
            return {name: self._array(name, value) for name, value in inputs.items()}
        return {self._only_name(): self._array(self._only_name(), inputs)}

    def _array(self, name: str, value: Any) -> np.ndarray:  # noqa: ANN401
        return values.to_array(value, self._reader.dtype_of(name), name)

    def _only_name(self) -> str:
        inputs = self._model.signature.inputs
        return inputs[0].name or "inputs" if len(inputs) == 1 else "inputs"

    def _check_version(self, call: Call) -> None:
        captures = call.captures
        check_version(self._model, version=captures.get("version", ""), label=captures.get("label", ""))

    def _status(self, call: Call) -> Reply:
        self._check_version(call)
        state = "AVAILABLE" if self._is_ready() else "LOADING"
        status = {"version": self._version, "state": state, "status": {"error_code": "OK", "error_message": ""}}
        return Reply(200, JSON, values.dumps({"model_version_status": [status]}))

    def _metadata(self, call: Call) -> Reply:
        self._check_version(call)
        spec = {"name": call.captures["model"], "signature_name": "", "version": self._version}
        signature = {SIGNATURE: signature_definition(self._model)}
        document = {"model_spec": spec, "metadata": {"signature_def": {"signature_def": signature}}}
        return Reply(200, JSON, values.dumps(document))
