"""torch's modules become ONNX graphs in single precision, held against the pyfunc on rows of several sizes.

The graph is recorded from one run of the module, so that a module whose way depends on its values is refused, and so is
one whose answers to other numbers of rows are not the recorded ones. Tolerance is that of the straight path of torch:
another order of additions, and no more.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from mlflow_deploy_plugin.serving.compiled import store
from mlflow_deploy_plugin.serving.compiled.form import Typing
from mlflow_deploy_plugin.serving.compiling import graphs
from mlflow_deploy_plugin.serving.compiling.compare import Measure, compare
from mlflow_deploy_plugin.serving.compiling.refusal import RefusedError, first_line
from mlflow_deploy_plugin.serving.compiling.verdict import Verdict, taken
from mlflow_deploy_plugin.serving.predictors.base import Output
from mlflow_deploy_plugin.serving.predictors.pyfunc import PyfuncPredictor
from mlflow_deploy_plugin.serving.predictors.torch_module import TOLERANCES
from mlflow_deploy_plugin.serving.request import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from mlflow_deploy_plugin.serving.compiled.form import Form
    from mlflow_deploy_plugin.serving.compiled.store import Comparison
    from mlflow_deploy_plugin.serving.signature import TensorSpec

OPSET: Final = 17
"""Operators that onnxruntime has known since 1.12."""
MOST_BYTES: Final = 256 * 1024 * 1024
"""Of a module's weights; the products of larger ones take so long that no form of them is much faster."""
SEED: Final = 20260101
SCALES: Final = (1.0, 100.0, 0.01)
MOST_VALUES: Final = 1 << 20
"""Of all rows of one scale."""
ROWS: Final = 64


def compile_module(model: Any, folder: Path, spec: TensorSpec, out: Path) -> Verdict:  # noqa: ANN401  MLflow's own
    """Write the graph of the loaded ``model`` of ``folder`` to ``out``.

    Raises:
        RefusedError: it has none that answers alike.
    """
    module = getattr(getattr(model, "_model_impl", None), "pytorch_model", None)
    if module is None:
        raise RefusedError("MLflow's wrapper holds no module")
    batches = [*_batches(folder, spec)]
    expected = [_ask(PyfuncPredictor(model), batch) for batch in batches]
    path = out / store.FILES["onnx"]
    path.write_bytes(graph_of(module, spec))
    form = graphs.opened(path)
    typing = Typing(dtype=expected[0].dtype.str, is_flat=expected[0].ndim == 1)
    return taken(form, typing, compare_batches(form, typing, batches, expected), out)


def graph_of(module: Any, spec: TensorSpec) -> bytes:  # noqa: ANN401  a torch.nn.Module
    """The ONNX graph of a module: input ``x``, one output, any number of rows.

    Raises:
        RefusedError: it has no such graph.
    """
    import torch  # noqa: PLC0415  the model has imported it

    weights = sum(part.numel() * part.element_size() for part in (*module.parameters(), *module.buffers()))
    if weights > MOST_BYTES:
        raise RefusedError(f"its weights have {weights} bytes; forms are made of at most {MOST_BYTES}")
    written, any_rows = io.BytesIO(), {0: "rows"}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            torch.onnx.export(
                _recordable(module),
                (torch.zeros((2, *spec.shape[1:])),),
                written,
                dynamo=False,
                opset_version=OPSET,
                input_names=["x"],
                output_names=["y"],
                dynamic_axes={"x": any_rows, "y": any_rows},
            )
        except Exception as error:  # of torch and of the module
            raise RefusedError(f"torch records no graph of it ({first_line(error)})") from error
    may_decide = not isinstance(module, torch.fx.GraphModule)  # of which an exported one is made: a single way
    if may_decide and any(issubclass(one.category, torch.jit.TracerWarning) for one in told):
        raise RefusedError("what it does may depend on its values, and one record is not all of it")
    return written.getvalue()


def _recordable(module: Any) -> Any:  # noqa: ANN401
    """A module as the recorder takes it: one that was exported has no mode, which the recorder would set."""
    import torch  # noqa: PLC0415

    class Wrapper(torch.nn.Module):  # type: ignore[misc]
        def forward(self, batch: Any) -> Any:  # noqa: ANN401
            return module(batch)

    for weights in module.parameters():
        weights.requires_grad_(requires_grad=False)
    return Wrapper().eval()


def compare_batches(
    form: Form, typing: Typing, batches: list[NDArray[np.float32]], expected: list[NDArray[Any]]
) -> Comparison:
    """The record of a form that answers each of the batches as the pyfunc did.

    Raises:
        RefusedError: it does not; the message says by how much.
    """
    found = [
        compare(form, typing, batch, Output(answer), Measure(TOLERANCES["fp32"], _of_the_largest))
        for batch, answer in zip(batches, expected, strict=True)
    ]
    return replace(found[0], rows=sum(one.rows for one in found), worst=max(one.worst for one in found))


def _of_the_largest(answers: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a difference is relative to, as the straight path of torch has it: sums of many terms may cancel out."""
    largest = max(float(np.abs(answers).max()), np.finfo(np.float64).tiny)
    return np.full_like(answers, largest)


def _ask(pyfunc: PyfuncPredictor, batch: NDArray[np.float32]) -> NDArray[Any]:
    try:
        answer = pyfunc.predict(Tensor(array=batch), None, "prediction").prediction
    except Exception as error:
        raise RefusedError(f"it refuses generated rows ({type(error).__name__})") from error
    if not isinstance(answer, np.ndarray) or answer.dtype.kind not in "fiub" or len(answer) != len(batch):
        raise RefusedError("its answer is not one array of a number or more for each row")
    return answer


def _batches(folder: Path, spec: TensorSpec) -> Iterator[NDArray[np.float32]]:
    """The input example, and generated rows of several scales: many at once, and one alone."""
    generator = np.random.default_rng(SEED)
    sizes = spec.shape[1:]
    rows = max(3, min(ROWS, MOST_VALUES // max(1, int(np.prod(sizes, dtype=np.int64)))))
    if (example := _example(folder, sizes)) is not None:
        yield example[:rows]
    for scale in SCALES:
        batch = (generator.normal(size=(rows, *sizes)) * scale).astype(np.float32)
        yield from (batch, batch[:1])
    yield np.zeros((3, *sizes), np.float32)


def _example(folder: Path, sizes: tuple[int, ...]) -> NDArray[np.float32] | None:
    """The rows of the saved input example, where they are finite numbers of this shape."""
    try:
        given = orjson.loads((folder / "serving_input_example.json").read_bytes())["inputs"]
        values = np.array(given, dtype=np.float32)
    except (OSError, KeyError, TypeError, ValueError):
        return None
    return values if values.shape[1:] == sizes and len(values) and np.isfinite(values).all() else None
