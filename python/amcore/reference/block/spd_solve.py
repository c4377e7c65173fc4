"""Symmetric positive definite systems of a layer's width, in float64."""

import numpy as np

from amcore.errors import NumericalError
from amcore.reference.operator import Array


def cholesky(matrix: Array, variables: str, block: str) -> Array:
    """L of the matrix of the least-squares system of `variables`, a block of a layer.

    Raises
    ------
    NumericalError
        If the matrix is not positive definite to rounding, with its condition number.
    """
    if not np.isfinite(matrix).all():
        raise NumericalError(
            f"the least-squares system of the {variables} is not finite", layer=0, block=block
        )
    try:
        return np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        eigenvalues = np.linalg.eigvalsh(matrix)
        least, most = float(eigenvalues.min()), float(np.abs(eigenvalues).max())
        raise NumericalError(
            f"the least-squares system of the {variables} is not positive definite to rounding",
            layer=0,
            block=block,
            condition=most / least if least > 0 else np.inf,
        ) from None
