"""What a BLAS makes of the machine at the moment: NumPy's product of a layer and samples.

Where others share the cores, a product that reads memory slows down while the multiply-adds in
registers of `peak.cpp` do not.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np
from common import answer, child


def gflops(dtype: str, threads: int, width: int) -> float:
    """GFLOP/s of W (width × width) times 3000 samples, in a process of its own."""
    return float(child(__file__, {"dtype": dtype, "width": width}, threads))


def work(dtype: str, width: int, samples: int = 3000, seconds: float = 0.5) -> float:
    rng = np.random.default_rng(0)
    W = rng.standard_normal((width, width)).astype(dtype)
    X = rng.standard_normal((width, samples)).astype(dtype)
    out = W @ X  # starts the threads
    products = 0
    start = perf_counter()
    while perf_counter() - start < seconds:
        np.matmul(W, X, out=out)
        products += 1
    return 2 * products * W.size * samples / (perf_counter() - start) / 1e9


if __name__ == "__main__":
    answer(work)
