"""The picture of a certificate. Matplotlib is imported on use and no global state is touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from amcore._files import atomic_write, check_writable
from amcore.analysis.decrease import SufficientDecrease
from amcore.analysis.kl import KLFit
from amcore.analysis.rates import RateBound
from amcore.trace import Trace

__all__ = ["plot_certificate"]

# Okabe and Ito's palette, ordered from dark to light: told apart by every kind of colour vision,
# and in greyscale by lightness, dash and marker.
_STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#0072B2", "linestyle": "-", "marker": "o"},
    {"color": "#D55E00", "linestyle": "--", "marker": "s"},
    {"color": "#56B4E9", "linestyle": "-.", "marker": "^"},
    {"color": "#E69F00", "linestyle": ":", "marker": "D"},
    {"color": "#999999", "linestyle": (0, (5, 1, 1, 1, 1, 1)), "marker": "v"},
)
_SUFFIXES = (".png", ".pdf", ".svg")


def plot_certificate(
    path: str | PathLike[str],
    trace: Trace,
    decrease: Sequence[SufficientDecrease],
    kl: KLFit,
    rate: RateBound,
) -> None:
    """Draw objective, distance, decrease ratio and KL inequality of a certified run into a file.

    Parameters
    ----------
    path : path
        The file to write; its suffix is the format: .png, .pdf or .svg.
    trace, decrease, kl, rate
        Those of the `Certificate`.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    ValueError
        If the suffix is not one of these.
    OSError
        If the file cannot be written.
    """
    with saved_figure(path, 4) as axes:
        _objective(axes[0], trace, kl, rate)
        _distance(axes[1], trace)
        _ratio(axes[2], decrease)
        _cloud(axes[3], trace, kl)


def check_figure(path: str | PathLike[str]) -> None:
    """Refuse a path that no figure can be written to, before there is one.

    Raises
    ------
    ModuleNotFoundError, ValueError, OSError
        As for `plot_certificate`.
    """
    if Path(path).suffix.lower() not in _SUFFIXES:
        raise ValueError(f"path must end in {', '.join(_SUFFIXES)}, got {Path(path).name!r}")
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "plots need matplotlib: pip install 'amcore[plot]'", name=error.name
        ) from error
    check_writable(path)


@contextmanager
def saved_figure(path: str | PathLike[str], columns: int) -> Iterator[Any]:
    """Give axes side by side over sweeps to draw into, and write them to `path` at the end."""
    check_figure(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.5 * columns, 3.4), layout="constrained")
    axes = figure.subplots(1, columns)
    yield axes
    for axis in axes:
        if not axis.get_xlabel():
            axis.set_xlabel("sweep $k$")
        axis.grid(True, which="major", color="0.9", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    with atomic_write(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:].lower(), dpi=200)


def line_style(index: int, points: int) -> dict[str, Any]:
    """Return a line style with at most about ten markers."""
    every = max(1, points // 10)
    style = {"linewidth": 1.3, "markersize": 3.5, "markevery": (index % every, every)}
    return _STYLES[index % len(_STYLES)] | style


def _objective(axis: Any, trace: Trace, kl: KLFit, rate: RateBound) -> None:
    """Objective, and how far it still is above the smallest value of the run."""
    f = trace.objective
    above = kl.gap if kl.f_star is not None else kl.gap - kl.gap.min()
    sweeps = np.arange(f.size)
    if (f > 0).all():
        axis.plot(sweeps, f, label="$f_k$", **line_style(0, f.size))
    axis.plot(
        sweeps[above > 0],
        above[above > 0],
        label="$f_k - f^*$" if kl.f_star is not None else "$f_k$ − best of the run",
        **line_style(1, f.size),
    )
    bound = np.flatnonzero(rate.values > 0)
    if bound.size:
        label = f"bound of Theorem {rate.theorem}"
        axis.plot(bound, rate.values[bound], label=label, **line_style(2, bound.size))
    axis.set_title("objective")
    _finish(axis)


def _cloud(axis: Any, trace: Trace, kl: KLFit) -> None:
    """dist(0, ∂f) over f − f*, and the KL inequality as fitted to the window."""
    g = trace.subgradient_distance
    shown = (kl.gap > 0) & (g > 0)
    axis.set_title("KL inequality")
    if kl.theta is None or kl.c is None or not shown.any():
        axis.text(0.5, 0.5, "undecided", ha="center", transform=axis.transAxes, color="0.4")
        return
    axis.plot(kl.gap[shown], g[shown], ".", markersize=3, color="#0072B2", label="sweeps")
    first, last = kl.window
    ends = kl.gap[[first, last]]
    ends = ends[ends > 0]
    label = rf"$(f - f^*)^{{{kl.theta:.2f}}} / {kl.c:.3g}$"
    axis.plot(ends, ends**kl.theta / kl.c, "--", color="#D55E00", linewidth=1.3, label=label)
    axis.set_xscale("log")
    axis.set_xlabel("$f_k - f^*$")
    _finish(axis)


def _distance(axis: Any, trace: Trace) -> None:
    """Distance of 0 to the subdifferential."""
    g = trace.subgradient_distance
    shown = np.flatnonzero(g > 0)
    label = "upper bound of $g_k$" if trace.distance_is_bound else "$g_k$"
    axis.plot(shown, g[shown], label=label, **line_style(0, shown.size))
    axis.set_title(r"$g_k = \mathrm{dist}(0, \partial f(X_k))$")
    _finish(axis)


def _ratio(axis: Any, decrease: Sequence[SufficientDecrease]) -> None:
    """Decrease ratio of condition A1 for each j, its constant from k₀ on, and the violations."""
    for index, a1 in enumerate(decrease):
        shown = np.flatnonzero((a1.ratio > 0) & np.isfinite(a1.ratio))
        style = line_style(index, shown.size)
        label = f"$j = {a1.j}$: {a1.verdict.verdict}"
        if a1.constant is not None and a1.verdict.verdict != "fails":
            label += f", $c_1 = ${a1.constant:.3g}"
            axis.plot(
                [a1.k0, a1.ratio.size - 1],
                [a1.constant, a1.constant],
                color=style["color"],
                linestyle=style["linestyle"],
                linewidth=0.8,
            )
        axis.plot(shown, a1.ratio[shown], label=label, **style)
        violated = np.flatnonzero(a1.ratio < 0)
        if violated.size:
            axis.plot(
                violated,
                np.full(violated.size, 0.02 + 0.04 * index),
                "x",
                color=style["color"],
                markersize=4,
                transform=axis.get_xaxis_transform(),
                label=f"$j = {a1.j}$: violated",
            )
    axis.set_title("sufficient decrease")
    axis.set_ylabel(r"$(f_k - f_{k+j})\, / \, g_{k+j}^2$")
    _finish(axis)


def _finish(axis: Any) -> None:
    """Make the scale logarithmic over a decade or more, or say that there is nothing to show."""
    values = np.concatenate([[], *(line.get_ydata() for line in axis.get_lines())])
    if values.size == 0:
        axis.text(0.5, 0.5, "nothing to show", ha="center", transform=axis.transAxes, color="0.4")
        return
    axis.set_yscale("log")
    bottom, top = axis.get_ylim()
    if top < 10 * bottom:
        axis.set_ylim(bottom / 3, top * 3)
    axis.yaxis.set_minor_formatter("")
    axis.legend(fontsize="small", frameon=False)
