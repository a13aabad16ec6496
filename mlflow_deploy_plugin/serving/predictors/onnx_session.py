"""The straight path of ONNX models: batches go to ONNX Runtime's session, without MLflow's enforcement and frames.

What MLflow's wrapper does with its inputs is done here too: doubles become float32 where the graph takes float32, a
table is one matrix or a vector for each input, and the answer is a frame for a table and arrays by name for tensors.
Taken where it answers generated rows as the pyfunc does, to the last bit.

MLflow's session takes a thread for every core of the machine, and lets them spin. Where the model does not say
otherwise, it is given as many as this worker has (``OMP_NUM_THREADS``), which sleep when there is nothing to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from mlflow_deploy_plugin.serving.compiled.onnx import open_session, worker_threads
from mlflow_deploy_plugin.serving.predictors import samples
from mlflow_deploy_plugin.serving.predictors.base import Loaded, Output
from mlflow_deploy_plugin.serving.predictors.checks import are_alike, fits
from mlflow_deploy_plugin.serving.request import Matrix, Tensor, Tensors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlflow_deploy_plugin.serving.predictors.base import LoadRequest, Predictor
    from mlflow_deploy_plugin.serving.request import Payload, Wants
    from mlflow_deploy_plugin.serving.signature import Signature

    Array = np.ndarray[Any, np.dtype[Any]]

LOADER: Final = "mlflow.onnx"
SINGLE: Final = "tensor(float)"
_CPU: Final = ["CPUExecutionProvider"]


class Graph(NamedTuple):
    """A session, and what its graph takes and gives."""

    session: Any
    inputs: tuple[tuple[str, str], ...]
    """Name and ONNX's type of each."""
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, session: Any) -> Graph:  # noqa: ANN401  onnxruntime has no types
        """What a session says of itself."""
        inputs = tuple((one.name, one.type) for one in session.get_inputs())
        return cls(session, inputs, tuple(one.name for one in session.get_outputs()))

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """All outputs, doubles being narrowed where the graph takes float32, as MLflow's wrapper does."""
        narrowed = {
            name: feeds[name].astype(np.float32) if kind == SINGLE and feeds[name].dtype == np.float64 else feeds[name]
            for name, kind in self.inputs
        }
        outputs: list[Array] = self.session.run(self.outputs, narrowed)
        return outputs


class OnnxPredictor:
    """Runs tables and tensors on the session, and anything else on ``plain``."""

    name = "onnx"

    def __init__(self, plain: Predictor, graph: Graph, signature: Signature) -> None:
        self._plain = plain
        self._graph = graph
        self._specs = {spec.name: spec for spec in signature.tensors}
        self._names = {name for name, _ in graph.inputs}

    def predict(self, payload: Payload, params: Mapping[str, Any] | None, wants: Wants) -> Output:
        """Ask the session directly; parameters are for MLflow to pass on or refuse."""
        feeds = None if params else self._feeds(payload)
        if feeds is None:
            return self._plain.predict(payload, params, wants)
        answers = self._graph.run(feeds)
        if type(payload) is Matrix:
            return Output(_as_frame(dict(zip(self._graph.outputs, answers, strict=True))))
        return Output(dict(zip(self._graph.outputs, answers, strict=True)))

    def stream(self, payload: Payload, params: Mapping[str, Any] | None) -> Iterator[Any]:
        """As the pyfunc does, which refuses."""
        return self._plain.stream(payload, params)

    def _feeds(self, payload: Payload) -> Mapping[str, Array] | None:
        """The session's inputs; None where MLflow must say what becomes of it."""
        (first, _), *more = self._graph.inputs
        match payload:
            case Matrix() if len(payload.values):
                if not more:
                    return {first: payload.values}
                if not self._names <= set(payload.columns):
                    return None
                return {name: payload.values[:, at] for at, name in enumerate(payload.columns) if name in self._names}
            case Tensor() if not more and "" in self._specs and fits(payload.array, self._specs[""]):
                return {first: payload.array}
            case Tensors() if self._specs.keys() == self._names == payload.arrays.keys():
                is_whole = all(fits(array, self._specs[name]) for name, array in payload.arrays.items())
                return payload.arrays if is_whole else None
            case _:
                return None


def _as_frame(answers: Mapping[str, Any]) -> Any:  # noqa: ANN401  pandas is imported lazily
    import pandas as pd  # noqa: PLC0415  the pyfunc has imported it

    return pd.DataFrame({name: np.asarray(answer).reshape(-1) for name, answer in answers.items()})


def straighten(plain: Predictor, model: Any, request: LoadRequest) -> Loaded:  # noqa: ANN401  MLflow's own
    """The straight path where it is proven; else ``plain``, and why."""
    wrapper: Any = getattr(model, "_model_impl", None)
    sample = samples.payload(request.signature)
    if not hasattr(wrapper, "rt") or sample is None:
        return Loaded(predictor=plain, reason="the signature is neither a table nor tensors of numbers")
    try:
        expected = plain.predict(sample, None, "prediction").prediction
        threads = _own_threads(wrapper, request)
        straight = OnnxPredictor(plain, Graph.of(wrapper.rt), request.signature)
        found = straight.predict(sample, None, "prediction").prediction
    except Exception as error:  # noqa: BLE001  any refusal of generated rows just means: not proven
        return Loaded(predictor=plain, reason=f"not proven on generated rows ({type(error).__name__})")
    if not are_alike(expected, found):
        return Loaded(predictor=plain, reason="the session and the pyfunc answer differently")
    reason = f"the pyfunc's answers on generated rows, to the last bit{threads}"
    return Loaded(predictor=straight, reason=reason, may_run_inline=True)


def _own_threads(wrapper: Any, request: LoadRequest) -> str:  # noqa: ANN401
    """Give the wrapper a session with this worker's threads, where nothing else is asked for; words for the log."""
    flavor: Mapping[str, Any] = request.mlmodel.get("flavors", {}).get("onnx", {})
    threads = worker_threads()
    if flavor.get("onnx_session_options") or wrapper.rt.get_providers() != _CPU or threads is None:
        return ""
    wrapper.rt = open_session(request.folder / str(flavor.get("data", "model.onnx")), threads=threads)
    return f"; {threads} threads"
