"""HTTP headers that clients, the gateway and the Bentos exchange. All lower case, as on the wire of HTTP/2."""

from typing import Final

USER_ID: Final = "x-user-id"
"""Request: who asks. The gateway hashes it with the route's salt, so that a user keeps a version."""

MODEL_VERSION: Final = "x-model-version"
"""Request: answer from this deployment, outside the split. Response (set by the Bento): who answered."""

MODEL_ASSIGNED: Final = "x-model-assigned"
"""Set by the gateway towards the Bento and the client: the deployment that the split meant."""

MODEL_FAILED: Final = "x-model-failed"
"""Response, set by the Bento to ``1`` where the model failed and the protocol says 4xx all the same, as MLflow's does.
The gateway's log counts such an attempt as failed."""

REQUEST_ID: Final = "x-request-id"
"""Set by the gateway (by the Bento where there is none); the key that joins attempts, predictions and labels."""

ENDPOINT: Final = "x-endpoint"
"""gRPC metadata that names the endpoint, since the model's name lies in the body."""
