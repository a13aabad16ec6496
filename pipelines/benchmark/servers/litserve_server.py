"""LitServe's own way, batched. ``FOLDER PORT``."""

import sys
from typing import Any

import litserve
import models


class Api(litserve.LitAPI):  # type: ignore[misc]
    """The model behind ``/predict``."""

    def setup(self, device: str) -> None:
        """Build the model, which stays on the CPU."""
        del device
        self._predict = models.load(sys.argv[1])

    def decode_request(self, request: dict[str, Any]) -> Any:  # noqa: ANN401  one row
        """The row of a request."""
        return request["features"][0]

    def predict(self, rows: list[Any]) -> list[Any]:
        """Answer a batch of rows."""
        answers: list[Any] = self._predict(rows).tolist()
        return answers

    def encode_response(self, output: Any) -> dict[str, Any]:  # noqa: ANN401
        """The answer to one."""
        return {"prediction": [output]}


if __name__ == "__main__":
    api = Api(max_batch_size=64, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")
