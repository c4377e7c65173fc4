"""Make the runs, plots and certificates of docs/certificates.md: python docs/make_certificates.py.

Needs matplotlib. Writes certificate-*.png beside itself and prints the certificates.
"""

from pathlib import Path

import numpy as np

import amcore

HERE = Path(__file__).parent


def network_of_sigmoids() -> amcore.Problem:
    """Return a regression on 60 points, widths 6-9-8-3."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 6))
    Y = 0.3 * rng.standard_normal((60, 3))
    return amcore.Problem(amcore.Network([6, 9, 8, 3], activation="sigmoid"), X, Y)


def with_ridge(problem: amcore.Problem, lam: float) -> amcore.Problem:
    """Return the same problem with λ/2‖W‖²."""
    ridge = amcore.regularizers.ridge(lam)
    return amcore.Problem(problem.network, problem.X, problem.Y, weight_regularizer=ridge)


def runs() -> dict[str, amcore.Solution]:
    """Return one run that is certified, and two that are not."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((60, 6))
    relu = amcore.Problem(amcore.Network([6, 8, 3]), X, rng.standard_normal((60, 3)))
    sigmoids = network_of_sigmoids()
    return {
        "converges": amcore.solve(
            with_ridge(sigmoids, 1.0), amcore.ThreeSplitBCD(alpha=0.1), max_iter=2000
        ),
        "rises": amcore.solve(
            with_ridge(sigmoids, 1e-3),
            amcore.ADMM(beta=[10, 10, 10], dual_init="backprop"),
            max_iter=400,
        ),
        "stalls": amcore.solve(relu, amcore.MDLAM(rho=1.0, epsilon=0.01), max_iter=3000),
    }


def main() -> None:
    """Print the certificates and draw them."""
    for name, run in runs().items():
        cert = amcore.certify(run.trace, constants=run.scheme.constants(run.state))
        print(f"{name}\n\n{cert}\n")
        cert.plot(HERE / f"certificate-{name}.png")


if __name__ == "__main__":
    main()
