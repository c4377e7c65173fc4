"""Rules for the initial weights."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from amcore import _checks
from amcore.network import Network, Weights

__all__ = ["Rule", "gaussian", "he", "xavier"]


class Rule(ABC):
    """Independent normal weights with a standard deviation by layer, and constant biases."""

    bias: float = 0.0

    @abstractmethod
    def deviation(self, inputs: int, outputs: int) -> float:
        """Return the standard deviation of the weights of a layer."""

    def weights(self, network: Network, seed: Any, dtype: Any = np.float64) -> Weights:
        """Draw the weights of a network.

        The numbers are drawn in float64, layer by layer, and then rounded to `dtype`.

        Parameters
        ----------
        network : Network
            The network.
        seed : int or anything that `numpy.random.default_rng` takes
            Seed of the generator.
        dtype : dtype
            float32 or float64.

        Returns
        -------
        list of (W, b)
            b is None for a network without bias.

        Raises
        ------
        TypeError, ValueError
            If the seed is no seed.
        """
        try:
            if isinstance(seed, bool | np.bool_):
                raise TypeError
            generator = np.random.default_rng(seed)
        except (TypeError, ValueError) as error:
            wrong = _checks.describe(seed)
            message = f"seed: expected an integer >= 0 or a generator, got {wrong}"
            raise (ValueError if isinstance(error, ValueError) else TypeError)(message) from None
        drawn: Weights = []
        for inputs, outputs in zip(network.widths[:-1], network.widths[1:], strict=True):
            scale = self.deviation(inputs, outputs)
            W = (scale * generator.standard_normal((outputs, inputs))).astype(dtype)
            drawn.append((W, np.full(outputs, self.bias, dtype) if network.bias else None))
        return drawn


@dataclass(frozen=True)
class _He(Rule):
    """Standard deviation √(2/inputs); He, Zhang, Ren, Sun (ICCV 2015), equation (10)."""

    def deviation(self, inputs: int, outputs: int) -> float:
        """√(2/inputs)."""
        return math.sqrt(2 / inputs)


@dataclass(frozen=True)
class _Xavier(Rule):
    """Standard deviation √(2/(inputs + outputs)); Glorot, Bengio (AISTATS 2010), equation (12)."""

    def deviation(self, inputs: int, outputs: int) -> float:
        """√(2/(inputs + outputs))."""
        return math.sqrt(2 / (inputs + outputs))


@dataclass(frozen=True)
class gaussian(Rule):
    """The same standard deviation in every layer.

    Parameters
    ----------
    scale : float
        The standard deviation.
    bias : float
        Initial value of every bias.
    """

    scale: float = 0.01
    bias: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        object.__setattr__(self, "scale", _checks.number("scale", self.scale, least=0))
        object.__setattr__(self, "bias", _checks.number("bias", self.bias))

    def deviation(self, inputs: int, outputs: int) -> float:
        """Return the scale."""
        return self.scale


he, xavier = _He(), _Xavier()
RULES: dict[str, Rule] = {"he": he, "xavier": xavier, "gaussian": gaussian()}
