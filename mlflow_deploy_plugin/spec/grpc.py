"""Services of gRPC that a Bento serves, and where: routes, manifests and Bentos must agree on them."""

from typing import Final

SERVICES: Final = (
    "inference.GRPCInferenceService",
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
)

HEALTH: Final = "grpc.health.v1.Health"
"""Service that every Bento has beside them; the agent's gateway routes it too, a Gateway of a cluster has its own."""

ADDRESS: Final = "MODELSERVE_GRPC_ADDRESS"
"""Variable of :class:`.settings.ServingSettings`; set by whoever runs a Bento, and no part of what is deployed."""
