"""Triton with its Python backend, by PyTriton, its own batcher on. ``FOLDER PORT GRPC_PORT METRICS_PORT``."""

import sys
from typing import Any

import models
import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


def main(folder: str, port: int, grpc_port: int, metrics_port: int) -> None:
    """Serve until told to stop."""
    predict = models.load(folder)
    probe = np.load(f"{folder}/rows.npy")[:1]
    answer = np.asarray(predict(probe))

    @batch  # type: ignore[untyped-decorator]
    def infer(input: Any) -> list[Any]:  # noqa: A002, ANN401  the name is the tensor's
        return [np.asarray(predict(input)).reshape(len(input), -1)]

    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=port,
        grpc_address="127.0.0.1",
        grpc_port=grpc_port,
        metrics_address="127.0.0.1",
        metrics_port=metrics_port,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="bench",
            infer_func=infer,
            inputs=[Tensor(name="input", dtype=probe.dtype.type, shape=probe.shape[1:])],
            outputs=[Tensor(name="output", dtype=answer.dtype.type, shape=(answer.reshape(1, -1).shape[1],))],
            config=ModelConfig(max_batch_size=64),
        )
        triton.serve()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
