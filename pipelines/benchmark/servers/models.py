"""The model of a work, built from its saved arrays, in whatever environment this runs. Imported by its neighbours.

``load(FOLDER)`` is a function from rows (n, features) to answers (n, ...): labels of the scikit-learn pipeline, or the
torch network's outputs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Model = Callable[[Any], Any]


def load(folder: str) -> Model:
    """The model whose ``weights.npz`` lies in ``folder``."""
    weights = dict(np.load(Path(folder) / "weights.npz"))
    return _tabular(weights) if "coef" in weights else _tensor(weights)


def _tabular(weights: dict[str, Any]) -> Model:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  one of the two libraries
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    scaler, regression = StandardScaler(), LogisticRegression()
    scaler.mean_, scaler.scale_, scaler.var_ = weights["mean"], weights["scale"], weights["scale"] ** 2
    scaler.n_features_in_ = regression.n_features_in_ = len(weights["mean"])
    regression.coef_, regression.intercept_ = weights["coef"], weights["intercept"]
    regression.classes_, regression.n_iter_ = weights["classes"], np.array([1])
    pipeline = make_pipeline(scaler, regression)
    return lambda rows: pipeline.predict(np.asarray(rows, dtype=np.float64))


def _tensor(weights: dict[str, Any]) -> Model:
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    linear, relu = torch.nn.Linear, torch.nn.ReLU
    network = torch.nn.Sequential(linear(256, 1024), relu(), linear(1024, 1024), relu(), linear(1024, 10))
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    network.eval()

    def predict(rows: Any) -> Any:  # noqa: ANN401  arrays or lists
        with torch.inference_mode():
            return network(torch.from_numpy(np.array(rows, dtype=np.float32))).numpy()

    return predict
