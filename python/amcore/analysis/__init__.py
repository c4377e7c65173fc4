"""From the trace of a run to a certificate: what the convergence theory says about it."""

from amcore.analysis.certificate import Certificate, certify
from amcore.analysis.decrease import (
    StrongDecrease,
    SufficientDecrease,
    strong_decrease,
    sufficient_decrease,
)
from amcore.analysis.kl import KLFit, fit_kl
from amcore.analysis.many import Certificates, certify_many
from amcore.analysis.rates import RateBound, bounds, rate_bound
from amcore.analysis.verdict import Verdict

__all__ = [
    "Certificate",
    "Certificates",
    "KLFit",
    "RateBound",
    "StrongDecrease",
    "SufficientDecrease",
    "Verdict",
    "bounds",
    "certify",
    "certify_many",
    "fit_kl",
    "rate_bound",
    "strong_decrease",
    "sufficient_decrease",
]
