"""What is served: a small tabular model and a small network, their rows, and their own answers. Seeded.

The weights are saved twice: as the MLflow model that is packaged, and as plain arrays from which each peer builds the
same model in its own environment (``servers/models.py``), so that no pickle has to survive another version.
"""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.benchmark.wires import Format, column_names

ROWS: Final = 256
"""Rows that the load asks for in turn: no cache of answers may pass for a server."""
SEED: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One model and how it is asked."""

    name: str
    about: str
    formats: tuple[Format, ...]
    features: int
    dtype: str
    tolerance: float
    """Absolute; what another order of additions may change in an answer."""
    save: "Callable[[Path, Work], None]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A work whose model lies on disk."""

    work: Work
    folder: Path
    rows: NDArray[Any]  # (ROWS, features)
    answers: NDArray[Any]  # (ROWS, outputs), by the model itself, one row at a time

    @property
    def model(self) -> Path:
        """The MLflow model folder."""
        return self.folder / "model"

    def is_right(self, index: int, answer: NDArray[Any]) -> bool:
        """Whether ``answer`` is the model's own to row ``index``."""
        own = self.answers[index]
        return answer.shape == own.shape and bool(np.allclose(answer, own, rtol=0.0, atol=self.work.tolerance))


def prepare(work: Work, folder: Path) -> Prepared:
    """Train and save the model of ``work`` in ``folder``.

    Raises:
        ConfigError: a library that the model needs is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow warns of itself, and of models without examples
            logging.disable(logging.WARNING)  # and again, through a logger that it sets up itself
            work.save(folder, work)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"work {work.name!r} needs {error.name}, which is not installed; pip install 'modelserve[benchmark]'"
        ) from error
    finally:
        logging.disable(logging.NOTSET)
    rows, answers = np.load(folder / "rows.npy"), np.load(folder / "answers.npy")
    return Prepared(work=work, folder=folder, rows=rows, answers=answers)


def _rows(work: Work) -> NDArray[Any]:
    return np.random.default_rng(SEED).normal(size=(ROWS, work.features)).astype(work.dtype)


def _write(folder: Path, rows: NDArray[Any], answers: Sequence[NDArray[Any]], weights: Mapping[str, Any]) -> None:
    np.save(folder / "rows.npy", rows)
    np.save(folder / "answers.npy", np.stack([np.asarray(answer, dtype=float).ravel() for answer in answers]))
    np.savez(folder / "weights.npz", **weights)


def _save_tabular(folder: Path, work: Work) -> None:
    import mlflow.sklearn  # noqa: PLC0415  seconds
    import pandas as pd  # noqa: PLC0415
    from mlflow.models import infer_signature  # noqa: PLC0415
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    rows = _rows(work)
    table = pd.DataFrame(rows, columns=column_names(work.features))
    labels = (rows[:, :3].sum(axis=1) + 0.3 * rows[:, 3] > 0).astype(int)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(table, labels)
    mlflow.sklearn.save_model(
        pipeline,
        folder / "model",
        signature=infer_signature(table, pipeline.predict(table)),
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
    )
    scaler, regression = pipeline[0], pipeline[1]
    weights = {
        "mean": scaler.mean_,
        "scale": scaler.scale_,
        "coef": regression.coef_,
        "intercept": regression.intercept_,
        "classes": regression.classes_,
    }
    _write(folder, rows, [pipeline.predict(table[index : index + 1]) for index in range(len(table))], weights)


def _save_tensor(folder: Path, work: Work) -> None:
    import mlflow.pytorch  # noqa: PLC0415  seconds
    import torch  # noqa: PLC0415
    from mlflow.models import ModelSignature  # noqa: PLC0415
    from mlflow.types import Schema, TensorSpec  # noqa: PLC0415

    torch.manual_seed(SEED)
    linear, relu = torch.nn.Linear, torch.nn.ReLU
    network = torch.nn.Sequential(linear(work.features, 1024), relu(), linear(1024, 1024), relu(), linear(1024, 10))
    rows = _rows(work)
    number = np.dtype(work.dtype)
    schemas = (Schema([TensorSpec(number, (-1, width), name)]) for width, name in ((work.features, None), (10, None)))
    mlflow.pytorch.save_model(
        network.eval(),
        folder / "model",
        signature=ModelSignature(*schemas),
        pip_requirements=["torch"],
        serialization_format="pickle",
    )
    with torch.no_grad():
        answers = [network(torch.from_numpy(rows[index : index + 1])).numpy() for index in range(len(rows))]
    _write(folder, rows, answers, {name: value.numpy() for name, value in network.state_dict().items()})


_WORKS: Final = (
    Work(
        name="tabular",
        about="30 floats, standard scaler and logistic regression of scikit-learn, one row per request",
        formats=("json",),
        features=30,
        dtype="float64",
        tolerance=0.0,
        save=_save_tabular,
    ),
    Work(
        name="tensor",
        about="256 floats, torch network 256 → 1024 → 1024 → 10, one row per request",
        formats=("json", "binary"),
        features=256,
        dtype="float32",
        tolerance=1e-4,
        save=_save_tensor,
    ),
)
WORKS: Final[Mapping[str, Work]] = MappingProxyType({work.name: work for work in _WORKS})
"""Every work by its name."""
