"""Services of gRPC that a Bento serves, and where: routes, manifests and Bentos must agree on them."""

from typing import Final

SERVICES: Final = (
    "inference.GRPCInferenceService",
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
)

ADDRESS: Final = "MODELSERVE_GRPC_ADDRESS"
"""Variable of :class:`.settings.ServingSettings`; set by whoever runs a Bento, and no part of what is deployed."""
