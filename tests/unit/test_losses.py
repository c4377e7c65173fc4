"""amcore.losses: values, gradients, differences, proximal maps, in both backends."""

import numpy as np
import pytest

import amcore
from amcore import losses

NAMES = dir(losses)
BACKENDS = ["native", "reference"]
rng = np.random.default_rng(5)


def targets(loss, n, width):
    indicators = np.eye(width)[rng.integers(0, width, n)]
    if loss.targets == "sign":
        return 2 * indicators - 1
    return indicators if loss.targets == "distribution" else rng.normal(size=(n, width))


def of(name, backend):
    loss = getattr(losses, name)
    loss = loss() if amcore._core.registry()["loss"][name] else loss
    return (loss if backend == "native" else loss.reference), loss


def test_the_catalogue():
    assert {"squared", "cross_entropy", "hinge"} <= set(NAMES)
    assert set(NAMES) == set(amcore._core.registry()["loss"])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("squared", lambda v, y: ((v - y) ** 2).sum() / 2),
        ("hinge", lambda v, y: np.maximum(0, 1 - y * v).sum()),
        ("cross_entropy", lambda v, y: -(y * np.log(np.exp(v) / np.exp(v).sum(1)[:, None])).sum()),
    ],
)
def test_value(name, formula, backend):
    op, loss = of(name, backend)
    v, y = rng.normal(size=(9, 4)), targets(loss, 9, 4)
    assert op.value(v, y) == pytest.approx(formula(v, y), rel=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_the_derivative(name, backend):
    op, loss = of(name, backend)
    v, y = rng.normal(size=(5, 3)), targets(loss, 5, 3)
    gradient = op.gradient(v, y)
    for index in np.ndindex(v.shape):
        up, down = v.copy(), v.copy()
        up[index] += 1e-6
        down[index] -= 1e-6
        slope = loss.reference.difference(up, down, y) / 2e-6
        assert gradient[index] == pytest.approx(slope, abs=1e-8)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_difference(name, backend):
    op, loss = of(name, backend)
    op = op.native if backend == "native" else op
    b, y = rng.normal(size=(6, 4)), targets(loss, 6, 4)
    for size in (1e-2, 1.0, 30.0, 900.0):
        a = b + size * rng.normal(size=b.shape)
        plain = loss.reference.value(a, y) - loss.reference.value(b, y)
        assert op.difference(a, b, y) == pytest.approx(plain, rel=1e-12, abs=1e-13)
    a = b + 1e-12 * rng.normal(size=b.shape)
    first_order = float((loss.reference.gradient(b, y) * (a - b)).sum())
    assert op.difference(a, b, y) == pytest.approx(first_order, abs=1e-22)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_prox_is_optimal(name, backend):
    op, loss = of(name, backend)
    for _ in range(60):
        width = int(rng.integers(2, 9))
        tau, scale = 10 ** rng.uniform(-12, 12), 10 ** rng.uniform(-2, 4)
        q, y = scale * rng.normal(size=(4, width)), targets(loss, 4, width)
        v = op.prox(q, y, tau)
        assert np.isfinite(v).all()

        def gain(step, v=v, q=q, y=y, tau=tau):
            """Rise of the prox objective, divided by max(1, τ)."""
            size = max(1.0, tau)
            rise = (step * ((v - q) + (v + step - q))).sum() / (2 * size)
            return rise + tau / size * loss.reference.difference(v + step, v, y)

        for length in (1e-3, 1e-1, 1.0):
            step = length * max(1.0, np.abs(v).max()) * rng.normal(size=v.shape)
            assert gain(step) >= -1e-12 * length


@pytest.mark.parametrize("backend", BACKENDS)
def test_cross_entropy_prox_to_rounding(backend):
    op, loss = of("cross_entropy", backend)
    for tau in 10.0 ** np.arange(-12, 7):
        for scale in (1e-2, 1.0, 1e2, 1e4):
            q, y = scale * rng.normal(size=(3, 5)), targets(loss, 3, 5)
            v = op.prox(q, y, tau)
            # log-probabilities without cancellation: p − y for the label is −Σ of the others.
            top = v.max(axis=1, keepdims=True)
            p = np.exp(v - top) / np.exp(v - top).sum(axis=1, keepdims=True)
            others = np.where(y == 1, 0, p)
            excess = np.where(y == 1, -others.sum(axis=1, keepdims=True), p)
            # v − q + τ(p − y) = 0; a rounding of v moves τ p by that much relative to itself.
            size = np.abs(v).max() + np.abs(q).max() + 1
            allowed = 1e-14 * size * (1 + tau * np.minimum(p, 1 - p)) + 1e-14 * tau * p * size
            assert (np.abs(v - q + tau * excess) <= 10 * allowed).all()
            np.testing.assert_allclose(v.sum(axis=1), q.sum(axis=1), atol=1e-12 * size)


@pytest.mark.parametrize("backend", BACKENDS)
def test_hinge_at_the_kink(backend):
    op, _ = of("hinge", backend)
    v = np.array([[1.0, -1.0, 0.5, 2.0]])
    y = np.array([[1.0, -1.0, 1.0, 1.0]])
    zero = np.zeros_like(v)
    # At the kink the subdifferential −y[0, 1] holds 0; inside the margin it is −y.
    assert op.subgradient_distance(v, y, zero) == 1
    g = np.array([[0.25, -0.5, 1.0, 0.0]])
    assert op.subgradient_distance(v, y, g) == 0
    assert op.subgradient_distance(v, y, 2 * g, 2.0) == 0
    assert op.subgradient_distance(v, y, np.array([[3.0, 1.0, 1.0, 0.0]]), 2.0) == pytest.approx(
        np.sqrt(1 + 1 + 1)
    )
    np.testing.assert_array_equal(
        op.prox(np.array([[0.2, 0.9, 3.0, -1.0]]), np.ones((1, 4)), 0.5), [[0.7, 1.0, 3.0, -0.5]]
    )


def test_shapes_and_dtypes():
    loss = losses.cross_entropy
    v, y = rng.normal(size=(2, 5, 3)), np.eye(3)[rng.integers(0, 3, (2, 5))]
    flat = loss.gradient(v.reshape(10, 3), y.reshape(10, 3))
    np.testing.assert_array_equal(loss.gradient(v, y), flat.reshape(2, 5, 3))
    assert loss.value(v[0, 0], y[0, 0]) > 0
    single = loss.prox(v.astype(np.float32), y.astype(np.float32), 1.0)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, loss.prox(v, y, 1.0), rtol=1e-5, atol=1e-6)
    out = np.empty_like(v)
    assert loss.gradient(v, y, out=out) is out


def test_only_separable_when_it_is():
    for name in NAMES:
        loss = getattr(losses, name)
        loss = loss() if amcore._core.registry()["loss"][name] else loss
        v, y = rng.normal(size=(1, 3)), targets(loss, 1, 3)
        whole = loss.gradient(v, y)
        moved = v.copy()
        moved[0, 2] += 1
        alone = np.array_equal(loss.gradient(moved, y)[0, :2], whole[0, :2])
        assert alone == ("separable" in loss.traits)


def probabilities(dtype, n=40, classes=7):
    odds = np.exp(np.random.default_rng(5).standard_normal((n, classes)).astype(np.float32))
    return (odds / odds.sum(axis=1, keepdims=True)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_from_float32_are_taken_and_made_to_add_up(dtype):
    given = probabilities(dtype)
    net = amcore.Network([2, 7])
    problem = amcore.Problem(net, np.ones((40, 2), dtype), given, loss="cross_entropy")
    np.testing.assert_allclose(problem.Y, given, rtol=3e-7)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(problem.Y.sum(axis=1, dtype=float), 1, rtol=0, atol=28 * eps)
    exact = np.abs(given.sum(axis=1, dtype=float) - 1) <= 28 * eps
    assert np.array_equal(problem.Y[exact], given[exact])
    third = np.full((3, 3), 0.333333)
    v = rng.normal(size=(3, 3))
    assert losses.cross_entropy.value(v, third) == pytest.approx(
        losses.cross_entropy.value(v, np.full((3, 3), 1 / 3)), rel=1e-15
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("off", [1e-4, -1e-4, 0.5])
def test_probabilities_that_do_not_add_up_are_named(dtype, off):
    y = probabilities(dtype)
    y[3] *= 1 + off
    said = r"^y: expected rows of probabilities .* for the cross_entropy loss, got \S+ for row 3$"
    with pytest.raises(ValueError, match=said) as caught:
        losses.cross_entropy.value(y, y)
    assert float(str(caught.value).split()[-4]) == pytest.approx(1 + off, abs=1e-6)
