"""Annotations and labels of the manifests. One prefix, so that ``kubectl get -o yaml`` shows what is ours."""

from typing import Final

PREFIX: Final = "modelserve.io/"

# On a Deployment: what is served.
BENTO: Final = PREFIX + "bento"  # Bento tag, name:version
MODEL_URI: Final = PREFIX + "model-uri"  # as resolved: models:/NAME/VERSION, never an alias
MODEL_NAME: Final = PREFIX + "model-name"  # registered name, free text
MODEL_VERSION: Final = PREFIX + "model-version"
MODEL_DIGEST: Final = PREFIX + "model-digest"  # sha256:…
RUN_ID: Final = PREFIX + "run-id"
FLAVOR: Final = PREFIX + "flavor"

# On an HTTPRoute: the state of the split.
STABLE: Final = PREFIX + "stable"  # deployment
SALT: Final = PREFIX + "salt"  # text that is hashed before the user id
ROLLOUT: Final = PREFIX + "rollout"  # operation id that began the rollout; empty when none runs
PHASE: Final = PREFIX + "phase"
STEP: Final = PREFIX + "step"  # index into the plan's steps
SINCE: Final = PREFIX + "since"  # RFC 3339, UTC: when this step began
APPROVALS: Final = PREFIX + "approvals"  # how many approvals the step has
HOLD: Final = PREFIX + "hold"  # JSON: deployment, digest, reason, until; a list of several
BASELINE: Final = PREFIX + "baseline"  # deployment: a fresh copy of stable for as long as the rollout runs
OVERRIDE: Final = PREFIX + "override"  # off: the header x-model-version picks nobody; absent or on: it does
GATEWAY_ADDRESS: Final = PREFIX + "gateway-address"

# Labels.
ENDPOINT_LABEL: Final = PREFIX + "endpoint"
DEPLOYMENT_LABEL: Final = PREFIX + "deployment"
