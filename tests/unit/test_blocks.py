"""amcore.blocks: every block update minimises its objective, in both backends."""

import numpy as np
import pytest

import amcore
from amcore import blocks
from amcore.reference.block.hidden import hidden_update
from amcore.reference.block.weight import ridge_update

WIDE = (1500, 430, 390)  # n, d_in, d_out: no packed operand fits in the second cache as a whole


@pytest.fixture
def rng():
    """The same numbers in whatever order the tests run."""
    return np.random.default_rng(9)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("n", "d_in", "d_out"), [(30, 4, 3), (3, 8, 5), (1, 1, 1), WIDE])
def test_ridge_update_solves_the_normal_equations(n, d_in, d_out, bias, rng):
    U, V = rng.normal(size=(n, d_out)), rng.normal(size=(n, d_in))
    W0, b0 = rng.normal(size=(d_out, d_in)), rng.normal(size=d_out) if bias else None
    rho, alpha, lam = 1.3, 0.4, 0.2
    W, b = blocks.ridge_update(U, V, W0, b0, rho=rho, alpha=alpha, lam=lam)
    residual = U - V @ W.T - (b if bias else 0)
    rounding = 1e-12 * (10 + n)
    np.testing.assert_allclose(-rho * residual.T @ V + lam * W + alpha * (W - W0), 0, atol=rounding)
    if bias:
        np.testing.assert_allclose(-rho * residual.sum(axis=0) + alpha * (b - b0), 0, atol=rounding)
    else:
        assert b is None
    expected = ridge_update(U, V, W0, b0, rho, alpha, lam)
    np.testing.assert_allclose(W, expected[0], rtol=1e-10, atol=1e-12)

    def objective(W, b):
        value = rho / 2 * ((U - V @ W.T - (b if bias else 0)) ** 2).sum()
        value += lam / 2 * (W**2).sum() + alpha / 2 * ((W - W0) ** 2).sum()
        return value + (alpha / 2 * ((b - b0) ** 2).sum() if bias else 0)

    # The decrease of f leaves out the proximal term.
    proximal = alpha / 2 * (((W - W0) ** 2).sum() + (((b - b0) ** 2).sum() if bias else 0))
    fall = objective(W0, b0) - (objective(W, b) - proximal)
    assert expected[2] == pytest.approx(fall, rel=1e-10)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("d_in", "d_out"), [(4, 3), (3, 7), (5, 5), WIDE[1:]])
def test_hidden_update_solves_the_normal_equations(d_in, d_out, bias, rng):
    S, U = rng.normal(size=(20, d_in)), rng.normal(size=(20, d_out))
    W, b = rng.normal(size=(d_out, d_in)), rng.normal(size=d_out) if bias else None
    V = blocks.hidden_update(S, U, W, b, gamma=0.8, rho=1.7)
    residual = U - V @ W.T - (b if bias else 0)
    np.testing.assert_allclose(0.8 * (V - S) - 1.7 * residual @ W, 0, atol=3e-13 * d_out)
    np.testing.assert_allclose(V, hidden_update(S, U, W, b, 0.8, 1.7), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-4), (np.float64, 1e-11)])
@pytest.mark.parametrize("d", [*range(1, 52, 2), *range(2, 50, 6)])
def test_rows_that_end_anywhere_in_a_register_block(d, dtype, rtol, rng):
    """Whole vectors, half a vector, both or none at the end: of every operand of d rows."""
    n, other = 61, 53 - d // 2
    U, V, S = rng.normal(size=(n, d)), rng.normal(size=(n, other)), rng.normal(size=(n, other))
    W, b = rng.normal(size=(d, other)), rng.normal(size=d)
    U, V, S, W, b = (np.asarray(array, dtype) for array in (U, V, S, W, b))
    new_W, new_b = blocks.ridge_update(U, V, W, b, alpha=20.0)
    expected = ridge_update(*map(np.float64, (U, V, W, b)), 1.0, 20.0, 0.0)
    assert new_W.dtype == dtype
    np.testing.assert_allclose(new_W, expected[0], rtol=rtol, atol=rtol)
    np.testing.assert_allclose(new_b, expected[1], rtol=rtol, atol=rtol)
    new_V = blocks.hidden_update(S, U, W, b, gamma=20.0)
    expected_V = hidden_update(*map(np.float64, (S, U, W, b)), 20.0, 1.0)
    np.testing.assert_allclose(new_V, expected_V, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("d", [47, 48, 49, 95, 96, 97, 150])
def test_systems_of_one_block_of_rows_and_of_several(d, rng):
    """Cholesky and substitution around multiples of 48 rows; as many right sides."""
    U, V, S = rng.normal(size=(3, 200, d))
    W, b = rng.normal(size=(d, d)), rng.normal(size=d)
    found = []
    for threads in (1, 2, 3):
        new_W, new_b = blocks.ridge_update(U, V, W, b, alpha=0.3, num_threads=threads)
        new_V = blocks.hidden_update(S, U, W, b, gamma=0.8, rho=0.1, num_threads=threads)
        found.append((new_W, new_b, new_V))
    expected = ridge_update(U, V, W, b, 1.0, 0.3, 0.0)
    np.testing.assert_allclose(found[0][0], expected[0], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found[0][1], expected[1], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found[0][2], hidden_update(S, U, W, b, 0.8, 0.1), rtol=1e-9)
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            assert np.array_equal(one, other)


def test_ridge_update_of_nearly_dependent_columns(rng):
    """The gradient is as small as rounding allows, at condition numbers near 1e14."""
    n, d, alpha = 300, 150, 1e-6
    V = rng.normal(size=(n, d)) * np.logspace(-3, 3, d)[rng.permutation(d)]
    V[:, 1::7] = V[:, :1] + 1e-4 * V[:, 1::7]
    U, W0 = rng.normal(size=(n, 20)), rng.normal(size=(20, d))
    W, _ = blocks.ridge_update(U, V, W0, alpha=alpha)
    gradient = alpha * (W - W0) - (U - V @ W.T).T @ V
    size = np.linalg.norm(V) ** 2
    assert np.linalg.cond(V.T @ V + alpha * np.eye(d)) > 1e12
    assert np.linalg.norm(gradient) < 1e-14 * size * (np.linalg.norm(W) + np.linalg.norm(W0))


@pytest.mark.parametrize("activation", ["relu", "hard_tanh", "tanh", "sigmoid", "identity"])
def test_preactivation_update_is_least(activation, rng):
    V, P, U = rng.normal(size=(3, 15, 4))
    new = blocks.preactivation_update(activation, V, P, U, gamma=2.0, rho=0.3, alpha=0.1)
    sigma = getattr(amcore.activations, activation).reference.value

    def objective(u):
        return (V - sigma(u)) ** 2 + 0.15 * (u - P) ** 2 + 0.05 * (u - U) ** 2

    for c in np.linspace(-8, 8, 400):
        assert (objective(new) <= objective(np.full_like(U, c)) + 1e-12).all()


def test_output_update_of_the_squared_loss(rng):
    Y, S, V = rng.normal(size=(3, 10, 2))
    new = blocks.output_update("squared", Y, S, V, loss_weight=2.0, gamma=0.5, alpha=0.25)
    np.testing.assert_allclose(new, (2 * Y + 0.5 * S + 0.25 * V) / 2.75, rtol=1e-14)


def test_arguments_are_left_alone(rng):
    U, V, W, b = rng.normal(size=(6, 3)), np.ones((6, 2)), np.ones((3, 2)), np.zeros(3)
    kept = [array.copy() for array in (U, V, W, b)]
    new, _ = blocks.ridge_update(U, V, W, b, alpha=1.0)
    assert all(np.array_equal(a, c) for a, c in zip((U, V, W, b), kept, strict=True))
    # Any layout, one dtype in and out.
    strided = blocks.ridge_update(
        np.repeat(U, 2, axis=0)[::2], np.asfortranarray(V), W, b, alpha=1.0
    )
    np.testing.assert_allclose(strided[0], new, rtol=1e-13)
    single = [array.astype(np.float32) for array in (U, V, W, b)]
    assert blocks.ridge_update(*single, alpha=1.0)[0].dtype == np.float32


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("d_out", [0, 1, 3])
@pytest.mark.parametrize("d_in", [0, 1, 3])
@pytest.mark.parametrize("n", [0, 1, 4])
def test_arrays_without_rows_or_columns(n, d_in, d_out, bias, rng):
    """Sums over nothing are 0: without rows the weights only shrink to the solution of α and λ."""
    U, V, S = (rng.normal(size=(n, d)) for d in (d_out, d_in, d_in))
    W, b = rng.normal(size=(d_out, d_in)), rng.normal(size=d_out) if bias else None
    new_W, new_b = blocks.ridge_update(U, V, W, b, rho=1.3, alpha=0.4, lam=0.2)
    expected_W, expected_b, _ = ridge_update(U, V, W, b, 1.3, 0.4, 0.2)
    np.testing.assert_allclose(new_W, expected_W, rtol=1e-12)
    if n == 0:
        np.testing.assert_allclose(new_W, 0.4 / 0.6 * W, rtol=1e-12)
    if bias:
        np.testing.assert_allclose(new_b, expected_b, rtol=1e-12)
    new_V = blocks.hidden_update(S, U, W, b, gamma=0.7, rho=1.3)
    np.testing.assert_allclose(new_V, hidden_update(S, U, W, b, 0.7, 1.3), rtol=1e-12)
    assert blocks.preactivation_update("relu", V, V, V).shape == V.shape
    targets = np.ones((n, d_out))
    for loss in ("squared", "logistic", "cross_entropy"):
        targets /= max(d_out, 1) if loss == "cross_entropy" else 1
        if d_out > 0:
            assert blocks.output_update(loss, targets, U, U).shape == U.shape
        else:
            with pytest.raises(ValueError, match=r"Y: expected shape \(n, K\)"):
                blocks.output_update(loss, targets, U, U)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_errors_advise_what_there_is(dtype, rng):
    """No layer where there are none, and float64 only where that is something else."""
    V, W = rng.normal(size=(1, 30)).astype(dtype), np.ones((1, 30), dtype)
    with pytest.raises(amcore.NumericalError, match="positive definite") as caught:
        blocks.ridge_update(np.ones((1, 1), dtype), V, W)
    message = str(caught.value)
    assert caught.value.layer == 0 and "layer" not in message
    assert "increase alpha or lam" in message
    assert ("float64" in message) == (dtype == np.float32)
    with pytest.raises(amcore.NumericalError, match="weights is not finite") as caught:
        blocks.ridge_update(V, V * 1e30 * dtype(1e8), np.ones((30, 30), dtype), rho=1e300)
    assert caught.value.advice == ""
