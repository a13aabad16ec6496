"""The straight path of torch: batches go to the module itself, on the device and in the precision that are asked for.

MLflow's wrapper copies pageable memory and waits after each step; here batches go by :mod:`.accelerators`. Taken only
where the module answers generated rows as the pyfunc does: alike in fp32, within :data:`TOLERANCES` in less. Everything
that is no batch of one tensor still goes through the pyfunc.

- ``precision``: fp32 and tf32 keep the weights as they are, bf16 and fp16 convert them; on a GPU alone.
- Whether rows see each other is judged in full single precision, whatever serves: a row that half precision rounds
  otherwise in company differs by as much as one that a model normalizes over its batch.
- Buckets: with ``torch_compile`` or ``cuda_graphs`` a batch is filled up with zeros to the next power of two, so that
  few shapes are compiled or recorded, all of them before the worker is ready. Only where a row's answer is proven not
  to depend on its company.
- Out of memory: the batch is run in halves, down to single rows; a row that finds no room is answered 503.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.payloads import rows_between
from mlflow_deploy_plugin.serving.predictors import samples
from mlflow_deploy_plugin.serving.predictors.accelerators import accelerator
from mlflow_deploy_plugin.serving.predictors.base import Loaded, Output
from mlflow_deploy_plugin.serving.predictors.checks import are_alike, fits
from mlflow_deploy_plugin.serving.request import Matrix, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mlflow_deploy_plugin.serving.predictors.accelerators import Accelerator, Array, Module
    from mlflow_deploy_plugin.serving.predictors.base import LoadRequest, Predictor
    from mlflow_deploy_plugin.serving.request import Payload, Wants
    from mlflow_deploy_plugin.serving.signature import TensorSpec
    from mlflow_deploy_plugin.spec.settings import ServingSettings

TOLERANCES: Final = {"fp32": 1e-5, "tf32": 1e-2, "bf16": 5e-2, "fp16": 1e-2}
"""Relative to the largest answer. A mantissa has 24, 11, 8 and 11 bits; layers add their roundings up."""
RETRY_S: Final = 1.0

_logger = logging.getLogger("modelserve.torch")


def buckets(most_rows: int) -> tuple[int, ...]:
    """Sizes that batches are filled up to.

    >>> buckets(48)
    (1, 2, 4, 8, 16, 32, 48)
    """
    powers = [1 << power for power in range(most_rows.bit_length()) if 1 << power < most_rows]
    return (*powers, most_rows)


@dataclass(slots=True, kw_only=True)
class TorchPredictor:
    """Runs tensors on the module, and anything else on ``plain``."""

    plain: Predictor
    module: Module
    device: Accelerator
    spec: TensorSpec | None = None
    """What a tensor must be like; None: the pyfunc takes a table, and so answers with one."""
    sizes: tuple[int, ...] = ()
    """Buckets; empty: batches run as they come."""
    recorded: dict[tuple[Any, ...], Module] = field(default_factory=dict)
    """The form of the module for a batch of one shape and type."""
    name: str = "torch"

    def predict(self, payload: Payload, params: Mapping[str, Any] | None, wants: Wants) -> Output:
        """Ask the module directly; parameters are for MLflow to hand over."""
        batch = None if params else self._batch(payload)
        try:
            if batch is None:
                return self.plain.predict(payload, params, wants)
            answer = self._halving(batch)
        except Exception as error:
            if self.device.is_out_of_memory(error):
                raise self._no_room(error) from error
            raise
        return Output(_as_frame(answer) if self.spec is None else answer)

    def stream(self, payload: Payload, params: Mapping[str, Any] | None) -> Iterator[Any]:
        """As the pyfunc does, which refuses."""
        return self.plain.stream(payload, params)

    def warm_up(self, like: Array, *, wants_graphs: bool) -> None:
        """Compute, and record where it is wanted, every bucket before the first client comes."""
        for size in self.sizes:
            batch = np.repeat(like[:1], size, axis=0)
            faster = self.device.record(self.module, batch) if wants_graphs else None
            if faster is not None:
                self.recorded[_kind(batch)] = faster
            self.device.run(self.recorded.get(_kind(batch), self.module), batch)

    def _batch(self, payload: Payload) -> Array | None:
        match payload:
            case Tensor() if self.spec is not None and fits(payload.array, self.spec):
                return np.ascontiguousarray(payload.array)
            case Matrix() if self.spec is None and len(payload.values):
                return np.ascontiguousarray(payload.values, dtype=np.float32)  # as MLflow's wrapper does
            case _:
                return None

    def _halving(self, batch: Array) -> Array:
        try:
            return self._whole(batch)
        except Exception as error:
            if len(batch) == 1 or not self.device.is_out_of_memory(error):
                raise
            _logger.warning("no room on %s for %d rows; running them in halves", self.device.name, len(batch))
        self.device.free()
        middle = len(batch) // 2
        return np.concatenate([self._halving(batch[:middle]), self._halving(batch[middle:])])

    def _whole(self, batch: Array) -> Array:
        rows = len(batch)
        size = next((size for size in self.sizes if size >= rows), rows)
        if size > rows:
            batch = np.concatenate([batch, np.zeros((size - rows, *batch.shape[1:]), dtype=batch.dtype)])
        return self.device.run(self.recorded.get(_kind(batch), self.module), batch)[:rows]

    def _no_room(self, error: Exception) -> RequestError:
        self.device.free()
        words = (str(error).splitlines() or [""])[0]
        return RequestError(
            Fault.UNAVAILABLE, f"no room on {self.device.name} for even one row: {words}", retry_after_s=RETRY_S
        )


def _kind(batch: Array) -> tuple[Any, ...]:
    return (batch.dtype, batch.shape)


def _as_frame(answer: Array) -> Any:  # noqa: ANN401  pandas is imported lazily
    import pandas as pd  # noqa: PLC0415  the pyfunc has imported it

    return pd.DataFrame(answer)


def straighten(plain: Predictor, model: Any, request: LoadRequest, device: str) -> Loaded:  # noqa: ANN401
    """The straight path where it is proven; else ``plain``, and why."""
    module = getattr(getattr(model, "_model_impl", None), "pytorch_model", None)
    sample = samples.payload(request.signature)
    if module is None or not isinstance(sample, (Tensor, Matrix)):
        return Loaded(predictor=plain, reason=f"the signature is no single tensor of numbers; device {device}")
    expected = plain.predict(sample, None, "prediction").prediction
    spec = request.signature.tensors[0] if isinstance(sample, Tensor) else None
    base = TorchPredictor(plain=plain, module=module, device=accelerator(device), spec=spec)
    return prove(base, sample, expected, settings=request.settings)


def prove(
    base: TorchPredictor,
    sample: Tensor | Matrix,
    expected: Any,  # noqa: ANN401  an array or a frame
    *,
    settings: ServingSettings,
    compiler: Callable[[Module], Module] | None = None,
) -> Loaded:
    """``base`` with all that is asked for and proven to answer as ``expected``; what is not, is left out and told."""
    fallbacks: list[str] = []
    predictor, precision = _in_precision(base, sample, expected, settings.precision, fallbacks)
    if "on" in {settings.torch_compile, settings.cuda_graphs}:
        compile_module = (compiler or _compile) if settings.torch_compile == "on" else None
        predictor = _in_buckets(predictor, sample, settings, TOLERANCES[precision], compile_module, fallbacks)
    if not _answers(predictor, sample, expected, TOLERANCES[precision]):
        return Loaded(predictor=base.plain, reason="the module and the pyfunc answer differently")
    forms = f", {len(predictor.sizes)} buckets to {predictor.sizes[-1]} rows" if predictor.sizes else ""
    reason = f"the pyfunc's answers on generated rows, within {TOLERANCES[precision]:g}; {precision} on"
    return Loaded(
        predictor=predictor,
        reason=f"{reason} {predictor.device.name}{forms}",
        may_run_inline=True,
        judge=None if precision == "fp32" else InFull(base.plain),
        fallbacks=tuple(fallbacks),
    )


def _in_precision(
    base: TorchPredictor,
    sample: Tensor | Matrix,
    expected: Any,  # noqa: ANN401
    precision: str,
    fallbacks: list[str],
) -> tuple[TorchPredictor, str]:
    """The predictor in a precision, or in fp32 where that is not to be had."""
    import torch  # noqa: PLC0415  the model has imported it

    is_gpu = base.device.name.startswith("cuda")
    _allow_tf32(is_allowed=precision == "tf32" and is_gpu)
    if precision == "fp32":
        return base, precision
    if not is_gpu:
        fallbacks.append(f"precision={precision}: it is arithmetic of a GPU, and this is {base.device.name}")
        return base, "fp32"
    if precision == "tf32":
        return base, precision
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
    lower = _replaced(base, module=_Lower(base.module, kinds[precision]))
    if _answers(lower, sample, expected, TOLERANCES[precision]):
        return lower, precision
    fallbacks.append(f"precision={precision}: answers differ by more than {TOLERANCES[precision]:g}; served in fp32")
    return base, "fp32"


def _in_buckets(  # noqa: PLR0913, PLR0917  what is known by now
    predictor: TorchPredictor,
    sample: Tensor | Matrix,
    settings: ServingSettings,
    tolerance: float,
    compile_module: Callable[[Module], Module] | None,
    fallbacks: list[str],
) -> TorchPredictor:
    """The predictor with buckets, compiled and recorded as asked; as it was, where that fails or answers otherwise."""
    module = predictor.module if compile_module is None else compile_module(predictor.module)
    sizes = buckets(settings.max_batch_size)
    formed = _replaced(predictor, module=module, sizes=sizes)
    batch = formed._batch(sample)  # noqa: SLF001  its own
    if batch is None:
        return predictor
    try:
        formed.warm_up(batch, wants_graphs=settings.cuda_graphs == "on")
        if settings.cuda_graphs == "on" and not formed.recorded:
            fallbacks.append(f"cuda_graphs=on: {predictor.device.name} has none")
        padded = [formed.predict(rows_between(sample, 0, rows), None, "prediction").prediction for rows in (1, 3)]
        alone = [predictor.predict(rows_between(sample, 0, rows), None, "prediction").prediction for rows in (1, 3)]
    except Exception as error:  # noqa: BLE001  compilers fail in many ways, and the module itself is there
        words = (str(error).splitlines() or [""])[0]
        fallbacks.append(f"buckets: {type(error).__name__}: {words}")
        return predictor
    if all(are_alike(one, other, tolerance=tolerance) for one, other in zip(padded, alone, strict=True)):
        return formed
    fallbacks.append("buckets: a row is answered otherwise beside rows that fill a batch up")
    return predictor


def _answers(predictor: TorchPredictor, sample: Tensor | Matrix, expected: Any, tolerance: float) -> bool:  # noqa: ANN401
    try:
        found = predictor.predict(sample, None, "prediction").prediction
    except Exception as error:  # noqa: BLE001  whatever the module says: not proven
        _logger.info("the module refuses generated rows: %s", error)
        return False
    return are_alike(expected, found, tolerance=tolerance)


def _replaced(base: TorchPredictor, *, module: Any, sizes: tuple[int, ...] = ()) -> TorchPredictor:  # noqa: ANN401
    return TorchPredictor(plain=base.plain, module=module, device=base.device, spec=base.spec, sizes=sizes)


def _allow_tf32(*, is_allowed: bool) -> None:
    import torch  # noqa: PLC0415

    torch.set_float32_matmul_precision("high" if is_allowed else "highest")
    torch.backends.cudnn.allow_tf32 = is_allowed


@dataclass(slots=True)
class InFull:
    """The pyfunc, whose weights are in single precision, without the shortcuts of tf32."""

    plain: Predictor
    name: str = "pyfunc"

    def predict(self, payload: Payload, params: Mapping[str, Any] | None, wants: Wants) -> Output:
        """As the pyfunc in fp32; what is allowed afterwards is what was allowed before."""
        import torch  # noqa: PLC0415  the model has imported it

        before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        _allow_tf32(is_allowed=False)
        try:
            return self.plain.predict(payload, params, wants)
        finally:
            torch.set_float32_matmul_precision(before[0])
            torch.backends.cudnn.allow_tf32 = before[1]

    def stream(self, payload: Payload, params: Mapping[str, Any] | None) -> Iterator[Any]:
        """As the pyfunc does, which refuses."""
        return self.plain.stream(payload, params)


def _compile(module: Module) -> Module:
    import torch  # noqa: PLC0415

    compiled: Module = torch.compile(module, dynamic=False)
    return compiled


class _Lower:
    """A module in half precision: floats go in and come out as such, whole numbers (tokens) as they are."""

    def __init__(self, module: Any, dtype: Any) -> None:  # noqa: ANN401
        import copy  # noqa: PLC0415

        self._dtype = dtype
        self._module = copy.deepcopy(module).to(dtype)

    def __call__(self, batch: Any) -> Any:  # noqa: ANN401
        return self._module(batch.to(self._dtype) if batch.is_floating_point() else batch)
