"""The local certificate: what f is like at the end point of a run, in the pattern it has there."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from amcore.analysis.verdict import Verdict

__all__ = ["LocalCertificate"]


@dataclass(frozen=True)
class LocalCertificate:
    """What the end point of a run says of the limit, where a trace can only show a trend.

    Attributes
    ----------
    verdict : Verdict
        Whether the end point is near enough to a minimiser for the numbers to hold there.
    mu : float or None
        The smallest nonzero eigenvalue of the Hessian: f_K − f* ≤ g_K²/(2μ).
    theta, c : float or None
        Exponent and constant of the KL inequality at the limit, ½ and 1/√(2μ) where f is
        Morse–Bott.
    eta : float or None
        Factor by which f_k − f* falls per sweep, the square of that of the steps.
    remainder : float or None
        Upper end of f_K − f*.
    """

    verdict: Verdict
    mu: float | None = None
    theta: float | None = None
    c: float | None = None
    eta: float | None = None
    remainder: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain data."""
        return asdict(self)
