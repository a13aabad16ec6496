"""What a deployment's model expects: from its Bento where that lies on this machine, else by asking the model."""

from collections.abc import Mapping

from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.manifests.model import Deployment
from mlflow_deploy_plugin.scoring import NO_SIGNATURE, Address, Scorer, Signature
from mlflow_deploy_plugin.spec.bento import MODEL_FOLDER


def signature_of(deployment: Deployment, *, home: Home, scorer: Scorer, address: Address) -> Signature:
    """The signature that inputs for ``deployment`` are cast to; empty where nobody knows one.

    Raises:
        ModelError: the Bento's MLmodel file is not one.
    """
    path = home.bento(deployment.model.bento) / "src" / MODEL_FOLDER / "MLmodel"
    if path.is_file():
        return Signature.from_mlmodel(path.read_text(encoding="utf-8"))
    metadata = scorer.metadata(address)
    return Signature.from_v2_metadata(metadata) if isinstance(metadata, Mapping) else NO_SIGNATURE
