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
from amcore.analysis.lyapunov import Lyapunov
from amcore.analysis.rates import RateBound
from amcore.analysis.regimes import Regime
from amcore.trace import Array, Trace

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
# Grounds of the regimes; the asymptotic one is left white.
_GROUNDS = {"transient": "0.88", "plateau": "#F0E442"}
# How far the law is drawn beyond the end of the run, as a share of it.
_AHEAD = 0.25


def plot_certificate(
    path: str | PathLike[str],
    trace: Trace,
    decrease: Sequence[SufficientDecrease],
    kl: KLFit,
    rate: RateBound,
    regimes: Sequence[Regime],
    lyapunov: Lyapunov | None,
) -> None:
    """Draw a certified run into a file.

    The panels are the objective with the intervals of its limit and of f_k − f*, the distance, the
    steps, the decrease ratio, the KL inequality, and the back-test of the law. Over sweeps, the
    regimes are the ground.

    Parameters
    ----------
    path : path
        The file to write; its suffix is the format: .png, .pdf or .svg.
    trace, decrease, kl, rate, regimes, lyapunov
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
    with saved_figure(path, 6) as axes:
        objective, distance, steps, ratio, cloud, backtest = axes
        for axis in (objective, distance, steps, ratio):
            _grounds(axis, regimes, named=axis is objective)
        if lyapunov is not None:
            values = lyapunov.values
            label = rf"$f_k + {lyapunov.xi:.3g}\,\|X_k - X_{{k-1}}\|^2$"
            shown = np.flatnonzero(values > 0)
            objective.plot(shown + 1, values[shown], label=label, **line_style(4, shown.size))
        _objective(objective, trace, kl, rate)
        _distance(distance, trace)
        _steps(steps, trace)
        _ratio(ratio, decrease)
        _cloud(cloud, trace, kl)
        _backtest(backtest, kl, len(trace))


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
def saved_figure(path: str | PathLike[str], panels: int) -> Iterator[Any]:
    """Give axes over sweeps to draw into, three side by side, and write them to `path` at the end.

    `panels` is a multiple of three.
    """
    check_figure(path)
    from matplotlib.figure import Figure

    rows = panels // 3
    figure = Figure(figsize=(10.5, 3.4 * rows), layout="constrained")
    axes = figure.subplots(rows, 3, squeeze=False).ravel()
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


def _grounds(axis: Any, regimes: Sequence[Regime], *, named: bool) -> None:
    """Shade the regimes of the run, but for the asymptotic one."""
    told: set[str] = set()
    for regime in regimes:
        if regime.kind in _GROUNDS:
            label = regime.kind if named and regime.kind not in told else None
            ground = _GROUNDS[regime.kind]
            axis.axvspan(regime.first, regime.last, color=ground, alpha=0.4, lw=0, label=label)
            told.add(regime.kind)


def _objective(axis: Any, trace: Trace, kl: KLFit, rate: RateBound) -> None:
    """Objective, how far it is above its limit and will be, and the intervals of both."""
    f = trace.objective
    above = kl.gap if kl.f_star is not None else kl.gap - kl.gap.min()
    sweeps = np.arange(float(f.size))
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
    if kl.f_star_interval is not None and np.isfinite(kl.f_star_interval[0]):
        ends = np.array([0.0, f.size - 1.0])
        low, high = (np.full(2, end) for end in kl.f_star_interval)
        _band(axis, ends, low, high, 0, "$f^*$, 95 %")
    if kl.remainder is not None and kl.remainder_interval is not None and not kl.f_star_given:
        least, most = kl.remainder_interval
        low, high = kl.gap - (kl.remainder - least), kl.gap + (most - kl.remainder)
        _band(axis, sweeps, low, high, 1, "$f_k - f^*$, 95 %")
        later = np.linspace(0, _AHEAD * len(trace), 50)
        shapes = _ahead(kl, later)
        if shapes.size:
            low, high = least * shapes.min(axis=0), most * shapes.max(axis=0)
            _band(axis, len(trace) + later, low, high, 3, "predicted, 95 %")
    axis.set_title("objective")
    finish(axis)


def _band(axis: Any, x: Array, low: Array, high: Array, index: int, label: str) -> None:
    """Fill what of a band is positive and not far below all that is drawn."""
    drawn = [line.get_ydata() for line in axis.get_lines()]
    floor = min((float(y.min()) for y in drawn if y.size), default=0.0) / 10
    shown = (high > floor) & np.isfinite(high)
    if floor > 0 and shown.any():
        color = _STYLES[index]["color"]
        bottom = np.maximum(low[shown], floor)
        axis.fill_between(x[shown], bottom, high[shown], color=color, alpha=0.25, lw=0, label=label)


def _ahead(kl: KLFit, later: Array) -> Array:
    """Return f_{K + later} − f* over f_K − f* by both ends of the law's interval, (0, …) if none.

    A power law ((k + s)/(K + s))^(−p) is told by its p and by how far f fell in its window.
    """
    decay, (first, last) = kl.decay, kl.window
    if decay.eta_interval is not None:
        return np.array([eta**later for eta in decay.eta_interval])
    fall = kl.gap[first] / kl.gap[last] if kl.gap[last] > 0 else 0.0
    if decay.exponent_interval is None or fall <= 1:
        return np.empty((0, later.size))
    powers = np.array(decay.exponent_interval)[:, None]
    since = (last - first) / -np.expm1(-np.log(fall) / powers)
    ahead: Array = (1 + later / since) ** -powers
    return ahead


def _cloud(axis: Any, trace: Trace, kl: KLFit) -> None:
    """dist(0, ∂f) over f − f*, and the KL inequality as fitted to the window."""
    g = trace.subgradient_distance
    shown = (kl.gap > 0) & (g > 0)
    axis.set_title("KL inequality")
    if kl.theta is None or kl.c is None or not shown.any():
        nothing(axis, "undecided")
        return
    axis.plot(kl.gap[shown], g[shown], ".", markersize=3, color="#0072B2", label="sweeps")
    first, last = kl.window
    ends = kl.gap[[first, last]]
    ends = ends[ends > 0]
    label = rf"$(f - f^*)^{{{kl.theta:.2f}}} / {kl.c:.3g}$"
    axis.plot(ends, ends**kl.theta / kl.c, "--", color="#D55E00", linewidth=1.3, label=label)
    axis.set_xscale("log")
    axis.set_xlabel("$f_k - f^*$")
    finish(axis)


def _backtest(axis: Any, kl: KLFit, sweeps: int) -> None:
    """Draw what was left of f's fall, as the sweeps before predict it, over what then came."""
    axis.set_title("back-test")
    axis.set_ylabel("$f_k - f^*$: predicted / came")
    cuts = [(k, ratio) for k, ratio in kl.backtest if 0 < ratio < np.inf]
    if cuts:
        k, ratio = np.array(cuts).T
        look = {"color": _STYLES[0]["color"], "linestyle": "none", "marker": "o"}
        axis.axhline(1.0, color="0.4", linewidth=0.8)
        axis.plot(k, ratio, label="predicted by the sweeps before", **look)
    if cuts and kl.remainder and kl.remainder_interval is not None:
        least, most = np.array(kl.remainder_interval) / kl.remainder
        if 0 < least <= most < np.inf:
            look = {"color": _STYLES[1]["color"], "marker": "_"}
            axis.plot([sweeps, sweeps], [least, most], label="interval stated at the end", **look)
    finish(axis)


def _distance(axis: Any, trace: Trace) -> None:
    """Distance of 0 to the subdifferential."""
    g = trace.subgradient_distance
    shown = np.flatnonzero(g > 0)
    label = "upper bound of $g_k$" if trace.distance_is_bound else "$g_k$"
    axis.plot(shown, g[shown], label=label, **line_style(0, shown.size))
    axis.set_title(r"$g_k = \mathrm{dist}(0, \partial f(X_k))$")
    finish(axis)


def _steps(axis: Any, trace: Trace) -> None:
    """How far a sweep moves all variables together."""
    length = trace.step_length
    shown = np.flatnonzero(length > 0)
    axis.plot(shown + 1, length[shown], label=r"$\|X_k - X_{k-1}\|$", **line_style(0, shown.size))
    axis.set_title("steps")
    finish(axis)


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
    finish(axis)


def finish(axis: Any, *, legend: bool = True) -> None:
    """Make the scale logarithmic over a decade or more, or say that there is nothing to show."""
    values = np.concatenate([[], *(line.get_ydata() for line in axis.get_lines())])
    if values.size == 0:
        nothing(axis)
        return
    axis.set_yscale("log")
    bottom, top = axis.get_ylim()
    if top < 10 * bottom:
        axis.set_ylim(bottom / 3, top * 3)
    axis.yaxis.set_minor_formatter("")
    if legend:
        axis.legend(fontsize="small", frameon=False)


def nothing(axis: Any, told: str = "nothing to show") -> None:
    """Say so in the middle of the axes."""
    axis.text(0.5, 0.5, told, ha="center", transform=axis.transAxes, color="0.4")
