"""How many threads the mathematics of one worker may use, so that the Bentos of a machine share it. Pure.

NumPy, scikit-learn and torch each start a thread per core unless they are told otherwise, in every process: two models
on eight cores are sixteen threads that wait for each other. A worker gets what its deployment's ``cpu`` says; one that
says nothing gets a single thread, since batches already use it well and nobody said that it may have more.
"""

from typing import Final

VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""OpenMP (torch, scikit-learn), OpenBLAS (NumPy, SciPy), MKL. ONNX Runtime has settings of its own."""
_SUFFIXES: Final = {"m": 0.001, "u": 1e-6, "n": 1e-9, "k": 1e3}


def math_threads(cpu: str, *, workers: int) -> int:
    """Threads of one of ``workers`` processes that share the Kubernetes quantity ``cpu``; at least one.

    >>> math_threads("4", workers=2), math_threads("2500m", workers=1), math_threads("500m", workers=1)
    (2, 2, 1)
    >>> math_threads("", workers=1)
    1
    """
    return max(1, int(_cores(cpu) / workers + 1e-9))


def thread_environment(cpu: str, *, workers: int) -> dict[str, str]:
    """The variables that say so."""
    return dict.fromkeys(VARIABLES, str(math_threads(cpu, workers=workers)))


def _cores(quantity: str) -> float:
    """Cores of a quantity; 0 for none, and for one that only Kubernetes can read."""
    factor = _SUFFIXES.get(quantity[-1:], 1.0)
    try:
        return float(quantity[:-1] if quantity[-1:] in _SUFFIXES else quantity) * factor
    except ValueError:
        return 0.0
