"""MLServer's own way: a runtime whose ``predict`` reads and writes its tensors."""

import models
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Runtime(MLModel):  # type: ignore[misc]
    """The model named in ``model-settings.json``."""

    async def load(self) -> bool:
        """Build the model."""
        self._predict = models.load(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request, or several that were joined."""
        answer = self._predict(NumpyCodec.decode_input(payload.inputs[0]))
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("output", answer)])
