"""torch's modules become ONNX graphs in single precision, held against the pyfunc on rows of several sizes.

The graph is recorded from one run of the module, so that a module whose way depends on its values is refused, and so is
one whose answers to other numbers of rows are not the recorded ones. Tolerance is that of the straight path of torch:
another order of additions, and no more.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from mlflow_deploy_plugin.serving.compiled import store
from mlflow_deploy_plugin.serving.compiled.form import Typed, Typing
from mlflow_deploy_plugin.serving.compiled.onnx import OnnxForm
from mlflow_deploy_plugin.serving.compiled.store import Comparison
from mlflow_deploy_plugin.serving.compiling.refusal import RefusedError, first_line
from mlflow_deploy_plugin.serving.compiling.verdict import NO_RUNTIME, Verdict, taken
from mlflow_deploy_plugin.serving.predictors.pyfunc import PyfuncPredictor
from mlflow_deploy_plugin.serving.request import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from mlflow_deploy_plugin.serving.compiled.form import Form
    from mlflow_deploy_plugin.serving.signature import TensorSpec

OPSET: Final = 17
"""Operators that onnxruntime has known since 1.12."""
TOLERANCE: Final = 1e-5
"""Relative to the largest answer to the same rows, as ``predictors.torch_module.TOLERANCES`` has it for fp32."""
MOST_BYTES: Final = 256 * 1024 * 1024
"""Of a module's weights; the products of larger ones take so long that no form of them is much faster."""
SEED: Final = 20260101
SCALES: Final = (1.0, 100.0, 0.01)
MOST_VALUES: Final = 1 << 20
"""Of all rows of one scale."""
ROWS: Final = 64


def compile_module(folder: Path, spec: TensorSpec, out: Path) -> Verdict:
    """Write the graph of the model in ``folder`` to ``out``, where it answers alike."""
    import mlflow.pyfunc  # noqa: PLC0415  seconds

    path = out / store.FILES["onnx"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = mlflow.pyfunc.load_model(str(folder))
            module = model._model_impl.pytorch_model  # noqa: SLF001  MLflow has no other way to it
        except Exception as error:  # noqa: BLE001  whatever unpickling raises
            return Verdict(form="", reason=f"it does not load here ({type(error).__name__})")
    batches = [*_batches(folder, spec)]
    try:
        expected = [_ask(PyfuncPredictor(model), batch) for batch in batches]
        path.write_bytes(graph_of(module, spec))
        form = OnnxForm.of_file(path)
        typing = Typing(dtype=expected[0].dtype.str, is_flat=expected[0].ndim == 1)
        return taken(form, typing, compare(form, typing, batches, expected), out)
    except RefusedError as error:
        return Verdict(form="", reason=str(error))
    except ImportError:
        return Verdict(form="", reason=NO_RUNTIME)
    except RuntimeError as error:
        return Verdict(form="", reason=f"onnxruntime refuses the graph ({str(error)[:120]})")


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


def compare(form: Form, typing: Typing, batches: list[NDArray[np.float32]], expected: list[NDArray[Any]]) -> Comparison:
    """The record of a form that answers each of the batches as the pyfunc did.

    Raises:
        RefusedError: it does not; the message says by how much.
    """
    worst = 0.0
    for batch, wanted in zip(batches, expected, strict=True):
        try:
            found, _ = Typed(form, typing).answer(batch, "prediction")
        except Exception as error:  # whatever the runtime raises, it only means that this form is not taken
            raise RefusedError(f"the graph fails on {len(batch)} rows ({first_line(error)})") from error
        if (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
            raise RefusedError(f"the graph answers {found.dtype}{found.shape}, not {wanted.dtype}{wanted.shape}")
        worst = max(worst, _apart(found, wanted))
    if not worst <= TOLERANCE:
        raise RefusedError(f"the graph is off by {worst:.2g}, more than {TOLERANCE:g}")
    return Comparison(rows=sum(map(len, batches)), tolerance=TOLERANCE, worst=worst)


def _apart(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """The largest difference, relative to the largest answer; infinite where other places are not finite."""
    if found.dtype.kind != "f":
        return 0.0 if np.array_equal(found, wanted) else np.inf
    finite = np.isfinite(wanted)
    if not np.array_equal(found[~finite], wanted[~finite], equal_nan=True) or not np.isfinite(found[finite]).all():
        return np.inf
    left, right = found[finite].astype(np.float64), wanted[finite].astype(np.float64)
    worst, largest = (float(np.abs(values).max(initial=0.0)) for values in (left - right, right))
    return worst / largest if worst and largest else worst


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
