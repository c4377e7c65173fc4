"""The schemes, a file each: a dataclass of hyperparameters, which builds the engine for the sweeps.

They are found by name: the file ``two_split_bcd.py`` holds the scheme whose `stem` that is.
"""

from importlib import import_module as _import_module
from pkgutil import iter_modules as _iter_modules
from typing import TYPE_CHECKING

from amcore.report import Report
from amcore.schemes.scheme import Engine, Scheme

if TYPE_CHECKING:  # which does not look into folders
    from amcore.schemes.admm import ADMM as ADMM
    from amcore.schemes.mdlam import MDLAM as MDLAM
    from amcore.schemes.online_am import OnlineAM as OnlineAM
    from amcore.schemes.three_split_bcd import ThreeSplitBCD as ThreeSplitBCD
    from amcore.schemes.two_split_bcd import TwoSplitBCD as TwoSplitBCD

__all__ = ["SCHEMES", "Engine", "Report", "Scheme"]


def _scheme(stem: str) -> type[Scheme]:
    module = _import_module(f"{__name__}.{stem}")
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Scheme) and vars(value).get("stem") == stem
    )
    return found


_stems = sorted(module.name for module in _iter_modules(__path__) if module.name != "scheme")
SCHEMES = {found.__name__: found for found in map(_scheme, _stems)}
globals().update(SCHEMES)
__all__ += SCHEMES
