"""Every operator and scheme has two sides, C++ and NumPy, of one name and the same parameters."""

import dataclasses
import importlib

import numpy as np
import pytest

import amcore
from amcore import _core
from amcore.reference import operator as definitions
from amcore.schemes import Scheme
from strategies import KINDS, names, operator

FAMILIES = sorted(KINDS)
SCHEMES = {scheme.stem: scheme for scheme in Scheme.__subclasses__()}
OPERATORS = [(family, stem) for family in FAMILIES for stem in names(family)]


@pytest.mark.parametrize("family", FAMILIES)
def test_both_sides_have_the_same_names(family):
    assert sorted(_core.registry()[family]) == definitions.stems(family)


def test_every_scheme_has_all_its_sides():
    assert sorted(SCHEMES) == _core.schemes()
    for stem, scheme in SCHEMES.items():
        module = importlib.import_module(f"amcore.reference.scheme.{stem}")
        assert getattr(module, scheme.__name__).__doc__
        assert getattr(amcore, scheme.__name__) is scheme


def test_todays_catalogue_is_complete():
    assert {"identity", "relu", "leaky_relu", "hard_tanh", "sigmoid", "tanh"} <= set(
        names("activation")
    )
    assert {"squared", "cross_entropy", "hinge"} <= set(names("loss"))
    assert {"none", "ridge"} <= set(names("regularizer"))


@pytest.mark.parametrize(("family", "stem"), OPERATORS)
def test_both_sides_have_the_same_parameters(family, stem):
    fields = dataclasses.fields(definitions.load(family, stem))
    assert _core.registry()[family][stem] == [(field.name, field.default) for field in fields]
    assert operator(family, stem).parameters == dict(_core.registry()[family][stem])


@pytest.mark.parametrize(("family", "stem"), OPERATORS)
def test_operators_document_themselves(family, stem):
    found = operator(family, stem)
    assert found.name == stem
    assert found.formula and found.prox_formula and found.source and found.traits
    assert type(found.reference).__doc__


@pytest.mark.parametrize("stem", names("activation"))
def test_constants_of_activations(stem):
    """L0, L1, L2 bound |σ|, |σ'|, |σ''| and are nearly attained."""
    found = operator("activation", stem)
    u = np.linspace(-30, 30, 600_001)
    value, slope = found.value(u), found.derivative(u)
    assert np.abs(value).max() <= found.L0 * (1 + 1e-12)
    assert np.abs(slope).max() <= found.L1 * (1 + 1e-12)
    if np.isfinite(found.L1):
        assert np.abs(slope).max() >= found.L1 * (1 - 1e-6)
    if np.isfinite(found.L0):
        assert np.abs(value).max() >= found.L0 * (1 - 1e-6)
    if np.isfinite(found.L2):
        curvature = np.abs(np.diff(slope)) / np.diff(u)
        assert curvature.max() <= found.L2 * (1 + 1e-6) + 1e-9
        assert curvature.max() >= found.L2 * (1 - 1e-6) - 1e-9
