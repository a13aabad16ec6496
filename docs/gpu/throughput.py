"""A torch model behind the serving launcher against the bare loop ``model(batch)``, on one device: rows/s and p99.

``python docs/gpu/throughput.py --device cuda:0``; ``--device cpu`` runs anywhere. The load is a process of its own, or
several (``--clients``): keep-alive connections that send binary tensors of the Open Inference Protocol, and check every
answer's shape. Prints one JSON object. The server's figures include HTTP, batching, metrics and both copies; the
loop's only the copies.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, CLASSES = 256, 10
PATIENCE_S = 300.0


def main() -> None:
    """Measure both, one after the other."""
    options = arguments()
    if options.load:
        print(json.dumps(asyncio.run(load(options.load, options))))
        return
    if options.connections % options.clients:
        raise SystemExit(f"--connections {options.connections} cannot be shared evenly by --clients {options.clients}")
    with tempfile.TemporaryDirectory() as folder:
        bento = make_bento(Path(folder), network(options.hidden))
        loop = bare_loop(options)
        with server(bento, options) as url:
            served = drive(url, options)
    ratio = served["rows_per_s"] / loop["rows_per_s"]
    print(json.dumps({"device": options.device, "loop": loop, "server": served, "server_to_loop": round(ratio, 3)}))


def arguments() -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda:0", help="torch device (default cuda:0)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement (default 10)")
    parser.add_argument(
        "--rows", type=int, default=64, help="of one request, and of one batch of the loop (default 64)"
    )
    parser.add_argument("--connections", type=int, default=16, help="open at once (default 16)")
    parser.add_argument("--clients", type=int, default=1, help="processes that share the connections (default 1)")
    parser.add_argument("--hidden", type=int, default=4096, help="width of the hidden layers (default 4096)")
    parser.add_argument("--precision", default="fp32", help="fp32, tf32, bf16 or fp16 (default fp32)")
    parser.add_argument("--compile", action="store_true", help="-C torch_compile=on")
    parser.add_argument("--graphs", action="store_true", help="-C cuda_graphs=on")
    parser.add_argument("--load", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def network(hidden: int) -> Any:
    """The model: three layers."""
    import torch

    torch.manual_seed(0)
    layers = [torch.nn.Linear(WIDTH, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, hidden), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(hidden, CLASSES)).eval()


def make_bento(folder: Path, model: Any) -> Path:
    """A torch model of rows of ``WIDTH`` numbers as a Bento's source folder, as a deployment has it."""
    from mlflow_deploy_plugin.spec.bento import MODEL_FOLDER, SPEC_FILE, BentoSpec

    digests = dict.fromkeys(("model_digest", "serving_digest", "environment_digest"), "sha256:0")
    spec = BentoSpec(model_uri="models:/wide/1", model_name="wide", model_version="1", **digests)
    (folder / SPEC_FILE).write_text(spec.to_json())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of itself when it is imported
        import mlflow
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        signature = ModelSignature(inputs=Schema([TensorSpec(np.dtype("float32"), (-1, WIDTH))]))
        options = {"signature": signature, "serialization_format": "pickle", "pip_requirements": ["torch"]}
        mlflow.pytorch.save_model(model, folder / MODEL_FOLDER, **options)
    return folder


def bare_loop(options: argparse.Namespace) -> dict[str, float]:
    """``model(batch)`` and nothing around it, but for the copies that any caller needs."""
    import torch

    model, batch = network(options.hidden).to(options.device), torch.randn(options.rows, WIDTH)
    seconds = []
    with torch.inference_mode():
        for _ in range(5):
            model(batch.to(options.device)).cpu()
        until = time.perf_counter() + options.seconds
        while (began := time.perf_counter()) < until:
            model(batch.to(options.device)).cpu()
            seconds.append(time.perf_counter() - began)
    return figures(seconds, options.rows, sum(seconds))


def figures(seconds: list[float], rows: int, whole_s: float) -> dict[str, float]:
    """Rows per second, and milliseconds of the slowest hundredth."""
    p99 = float(np.percentile(seconds, 99)) * 1000
    return {"rows_per_s": round(len(seconds) * rows / whole_s, 1), "p99_ms": round(p99, 3), "batches": len(seconds)}


@contextlib.contextmanager
def server(bento: Path, options: argparse.Namespace) -> Iterator[str]:
    """The launcher's address, once it is ready."""
    settings = {
        "DEVICE": options.device,
        "PRECISION": options.precision,
        "TORCH_COMPILE": "on" if options.compile else "off",
        "CUDA_GRAPHS": "on" if options.graphs else "off",
        "MAX_BATCH_SIZE": str(options.rows * options.connections),
        "MAX_QUEUE": str(options.rows * options.connections * 4),
        "LOG": "off",
    }
    environment = {**os.environ, **{f"MODELSERVE_{name}": value for name, value in settings.items()}}
    command = [sys.executable, "-m", "mlflow_deploy_plugin.serving.launch", "--bento", str(bento), "--port", "0"]
    log = bento / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stderr=stderr, env=environment)
    try:
        yield wait_ready(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        sys.stderr.writelines(line + "\n" for line in log.read_text().splitlines() if "served by" in line)


def wait_ready(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """The address that the launcher's log names, after its warm-up."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and process.poll() is None:
        said = log.read_text()
        found = re.search(r"listening on http://(\S+)", said)
        if found and re.search(r"modelserve\.app: ready", said):
            return found[1]
        time.sleep(0.1)
    raise SystemExit(log.read_text())


def request(rows: int) -> bytes:
    """One request on the wire."""
    tensor = np.random.default_rng(0).normal(size=(rows, WIDTH)).astype("<f4").tobytes()
    described = {
        "name": "x",
        "datatype": "FP32",
        "shape": [rows, WIDTH],
        "parameters": {"binary_data_size": len(tensor)},
    }
    head = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    lines = [
        "POST /v2/models/wide/infer HTTP/1.1", "host: wide", "content-type: application/octet-stream",
        f"inference-header-content-length: {len(head)}", f"content-length: {len(head) + len(tensor)}",
    ]  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode() + head + tensor


def drive(url: str, options: argparse.Namespace) -> dict[str, float]:
    """What the clients saw, from processes of their own."""
    again = [sys.executable, __file__, *sys.argv[1:], "--load", url]
    running = [subprocess.Popen(again, stdout=subprocess.PIPE, text=True) for _ in range(options.clients)]
    told = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit("a client failed; its words are above")
    seen = [json.loads(one) for one in told]
    seconds = [one for each in seen for one in each["seconds"]]
    return figures(seconds, options.rows, float(np.mean([each["whole_s"] for each in seen])))


async def load(address: str, options: argparse.Namespace) -> dict[str, Any]:
    """One client's share of the connections: seconds of each answer, and of all of it."""
    sent, began = request(options.rows), time.perf_counter()
    share, until = options.connections // options.clients, began + options.seconds
    asked = await asyncio.gather(*(client(address, sent, options.rows, until) for _ in range(share)))
    return {"seconds": [one for seconds in asked for one in seconds], "whole_s": time.perf_counter() - began}


async def client(address: str, sent: bytes, rows: int, until: float) -> list[float]:
    """One connection: seconds of each answer."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    seconds = []
    while (began := time.perf_counter()) < until:
        writer.write(sent)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status, size = re.match(r"HTTP/1.1 (\d+)", head), re.search(r"content-length: (\d+)", head)
        body = await reader.readexactly(int(size[1]) if size else 0)
        if status is None or status[1] != "200" or len(body) < rows * CLASSES * 4:
            raise SystemExit(f"{head}\n{body[:500]!r}")
        seconds.append(time.perf_counter() - began)
    writer.close()
    return seconds


if __name__ == "__main__":
    main()
