"""Write docs/operators.md, the table of all operators, from the registry.

Run it from anywhere: ``python docs/make_operators.py``.
"""

import math
from pathlib import Path

from amcore.reference.operator import Operator, load, stems

TARGET = Path(__file__).with_name("operators.md")

HEAD = """\
# Operators

Written by `docs/make_operators.py` from the definitions in `amcore.reference`; parameters are shown
with their defaults. `L0`, `L1` and `L2` bound the function, its slope and the slope's slope.

"""

FAMILIES = {
    "activation": (
        "Activations",
        "`amcore.activations`: σ, entry by entry, with "
        "`prox(v, z, w) = argmin_u ½(v - σ(u))² + w/2 (u - z)²`, globally and leftmost.",
    ),
    "loss": (
        "Losses",
        "`amcore.losses`: ℓ(v, y) of one sample, with "
        "`prox(q, y, τ) = argmin_v ℓ(v, y) + ‖v - q‖²/(2τ)`.",
    ),
    "regularizer": (
        "Regularisers",
        "`amcore.regularizers`: r of a matrix, with `prox(x, τ) = argmin_p r(p) + ‖p - x‖²/(2τ)`.",
    ),
}

COLUMNS = ("name", "formula", "prox", "L0, L1, L2", "traits", "source")


def row(operator: Operator) -> list[str]:
    """Cells of one operator."""
    given = ", ".join(
        f"{name}={list(value) if isinstance(value, tuple) else value}"
        for name, value in operator.parameters.items()
    )
    bounds = ("∞" if math.isinf(L) else f"{L:.4g}" for L in (operator.L0, operator.L1, operator.L2))
    return [
        f"`{operator.name}({given})`" if given else f"`{operator.name}`",
        operator.formula,
        operator.prox_formula,
        ", ".join(bounds),
        ", ".join(sorted(operator.traits)).replace("_", " "),
        operator.source,
    ]


def text() -> str:
    """Return the whole document."""
    parts = [HEAD]
    for family, (title, about) in FAMILIES.items():
        rows = [list(COLUMNS), ["---"] * len(COLUMNS)]
        rows += [row(load(family, stem)()) for stem in stems(family)]
        table = "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in rows
        )
        parts.append(f"## {title}\n\n{about}\n\n{table}\n")
    return "\n".join([parts[0].rstrip() + "\n", *parts[1:]])


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
