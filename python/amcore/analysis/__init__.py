"""From the trace of a run to a certificate: what the convergence theory says about it."""

from amcore.analysis.certificate import Certificate, certify
from amcore.analysis.decrease import SufficientDecrease, Verdict, sufficient_decrease

__all__ = ["Certificate", "SufficientDecrease", "Verdict", "certify", "sufficient_decrease"]
