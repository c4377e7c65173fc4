"""The schemes side by side on one classification problem: a table and a plot."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from amcore import regularizers
from amcore.analysis import certify
from amcore.analysis.plot import line_style, saved_figure
from amcore.network import Network
from amcore.problem import Problem
from amcore.schemes import ADMM, MDLAM, OnlineAM, Scheme, ThreeSplitBCD, TwoSplitBCD
from amcore.solution import Solution, Step
from amcore.solve import solve

if TYPE_CHECKING:
    from amcore.datasets import Split

__all__ = ["SETTINGS", "Outcome", "Setting", "compare", "draw"]


@dataclass(frozen=True)
class Setting:
    """A scheme with the hyperparameters and the network that suit it for classification.

    Attributes
    ----------
    scheme : Scheme
        The scheme.
    activation : str
        Of the hidden layers.
    skip : bool
        Whether layers whose widths agree have skip connections.
    ridge : float
        λ of the weights' regulariser λ/2‖W‖².
    loss, loss_scale : str
        As for `Problem`.
    """

    scheme: Scheme
    activation: str = "relu"
    skip: bool = False
    ridge: float = 1.0
    loss: str = "squared"
    loss_scale: str = "sum"

    def problem(self, data: Split, layers: Sequence[int]) -> Problem:
        """Return the problem of classifying `data` with hidden layers of these widths."""
        widths = [data.X_train.shape[1], *layers, int(data.y_train.max()) + 1]
        return Problem(
            Network(widths, activation=self.activation, skip=self.skip),
            data.X_train,
            data.y_train,
            loss=self.loss,
            loss_scale=self.loss_scale,
            weight_regularizer=regularizers.ridge(self.ridge),
        )

    def with_alpha(self, alpha: float) -> Setting:
        """Return the setting with the proximal weight `alpha`.

        Raises
        ------
        ValueError
            If the scheme has none.
        """
        if "alpha" not in {entry.name for entry in dataclasses.fields(self.scheme)}:  # type: ignore[arg-type]
            raise ValueError(f"alpha: {type(self.scheme).__name__} has no proximal weight")
        return dataclasses.replace(self, scheme=dataclasses.replace(self.scheme, alpha=alpha))  # type: ignore[type-var]


# Chosen on the digits; a ridge as strong as for the others holds ADMM back.
SETTINGS = {
    "online": Setting(OnlineAM(batch_size=50), ridge=1e-4, loss="cross_entropy", loss_scale="mean"),
    "two-split": Setting(TwoSplitBCD(gamma=1.0, alpha=1.0)),
    "three-split": Setting(ThreeSplitBCD(gamma=1.0, alpha=1.0)),
    "resnet": Setting(ThreeSplitBCD(gamma=1.0, alpha=1.0), skip=True),
    "admm": Setting(ADMM(beta=1.0, majorizer="tight"), activation="sigmoid", ridge=1e-3),
    "mdlam": Setting(MDLAM(rho=0.1, epsilon=0.01)),
}


@dataclass(frozen=True)
class Outcome:
    """What a scheme reached.

    Attributes
    ----------
    name : str
        The scheme, a key of `SETTINGS`.
    solution : Solution
        The run.
    accuracy : list of float
        Share of right test labels at the start and after every sweep.
    """

    name: str
    solution: Solution
    accuracy: list[float]

    def row(self) -> list[str]:
        """Return the cells of the outcome's row, those of `COLUMNS`."""
        trace = self.solution.trace
        f, g = trace.objective, trace.subgradient_distance
        return [
            self.name,
            f"{f[0]:.5g}",
            f"{f[-1]:.5g}",
            f"{g[-1]:.3g}",
            f"{self.accuracy[-1]:.2%}",
            f"{trace.time[1:].sum() / max(1, len(trace)) * 1e3:.3g}",
            certify(trace).verdicts["A1"].verdict,
        ]


COLUMNS = ("scheme", "f at start", "f at end", "dist at end", "test", "ms a sweep", "A1")


def compare(
    data: Split,
    layers: Sequence[int],
    *,
    sweeps: int,
    seed: int = 0,
    num_threads: int | None = None,
    names: Sequence[str] = tuple(SETTINGS),
) -> Iterator[Outcome]:
    """Run one scheme after the other from the same seed; their objectives are different functions.

    Parameters
    ----------
    data : Split
        Samples to train and to test with.
    layers : sequence of int
        Widths of the hidden layers.
    sweeps, seed, num_threads
        As for `solve`.
    names : sequence of str
        Keys of `SETTINGS`.

    Yields
    ------
    Outcome
        As each ends; fewer than asked for after Ctrl-C.
    """
    for name in names:
        accuracy: list[float] = []

        def score(step: Step, accuracy: list[float] = accuracy) -> None:
            accuracy.append(step.score(data.X_test, data.y_test))

        setting = SETTINGS[name]
        run = solve(
            setting.problem(data, layers),
            setting.scheme,
            max_iter=sweeps,
            seed=seed,
            num_threads=num_threads,
            callbacks=[_Recorder(score)],
        )
        yield Outcome(name, run, accuracy)
        if run.stop_reason == "interrupted":
            return


@dataclass(frozen=True)
class _Recorder:
    """A callback for the start and every sweep."""

    begin: Callable[[Step], None]

    @property
    def step(self) -> Callable[[Step], None]:
        """The same after a sweep."""
        return self.begin


def draw(outcomes: Sequence[Outcome], path: str | PathLike[str]) -> None:
    """Draw objectives, distances and accuracies against sweeps into a .png, .pdf or .svg file.

    Parameters
    ----------
    outcomes : sequence of Outcome
        What to draw.
    path : path
        The file to write.

    Raises
    ------
    ModuleNotFoundError, ValueError, OSError
        As for `Certificate.plot`.
    """
    with saved_figure(path, 3) as axes:
        for index, outcome in enumerate(outcomes):
            trace = outcome.solution.trace
            f, g, sweeps = trace.objective, trace.subgradient_distance, np.arange(len(trace) + 1)
            look = line_style(index, sweeps.size) | {"label": outcome.name}
            axes[0].plot(sweeps, f / f[0], **look)
            axes[1].plot(sweeps, g / g[0], **look)
            axes[2].plot(sweeps, outcome.accuracy, **look)
        axes[0].set_title("$f_k / f_0$, each of its own objective")
        axes[1].set_title(r"$\mathrm{dist}(0, \partial f(X_k))$, relative")
        axes[2].set_title("test accuracy")
        for axis in axes[:2]:
            axis.set_yscale("log")
        axes[0].legend(fontsize="small", frameon=False)
