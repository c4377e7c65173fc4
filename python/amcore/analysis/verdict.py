"""What the analysis says of a condition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Verdict"]


@dataclass(frozen=True)
class Verdict:
    """What a trace says about a condition, and why.

    Attributes
    ----------
    verdict : str
        "holds", "fails" or "undecided".
    reason : str
        One sentence with the numbers behind it.
    """

    verdict: Literal["holds", "fails", "undecided"]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain data."""
        return {"verdict": self.verdict, "reason": self.reason}
