"""amcore.blocks: every update solves its optimality system and does not raise its objective."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import amcore
from amcore import blocks
from strategies import DTYPES, names, operator, targets

long = np.longdouble
SEEDS = st.integers(0, 2**31)
WIDTHS = st.integers(1, 40)
WEIGHTS = st.floats(-2, 2).map(lambda x: 10**x)


def square(A):
    return float(np.sum(np.square(A, dtype=np.float64)))


def normal(seed, dtype, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def ridge_objective(U, V, W, b, rho, lam, alpha, W0, b0):
    residual = U - V @ W.T - (0 if b is None else b)
    moved = square(W - W0) + (0 if b is None else square(b - b0))
    return rho / 2 * square(residual) + lam / 2 * square(W) + alpha / 2 * moved


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    seed=SEEDS, n=st.integers(1, 90), inputs=WIDTHS, outputs=WIDTHS, bias=st.booleans(),
    rho=WEIGHTS, alpha=WEIGHTS, lam=st.one_of(st.just(0.0), WEIGHTS), threads=st.integers(1, 3),
)  # fmt: skip
def test_ridge_update(dtype, seed, n, inputs, outputs, bias, rho, alpha, lam, threads):
    U, V, W0, b0 = normal(seed, dtype, (n, outputs), (n, inputs), (outputs, inputs), (outputs,))
    V = V + V.dtype.type(3)  # off-centre, so that weights and bias are coupled
    b0 = b0 if bias else None
    kept = [A.copy() for A in (U, V, W0)]
    W, b = blocks.ridge_update(U, V, W0, b0, rho=rho, alpha=alpha, lam=lam, num_threads=threads)
    assert W.dtype == dtype and (b is None) == (not bias)
    assert all(np.array_equal(A, B) for A, B in zip((U, V, W0), kept, strict=True))

    # The normal equations, residuals relative to the size of their terms.
    U_, V_, W_, W0_ = (np.float64(A) for A in (U, V, W, W0))
    b_, b0_ = (None, None) if b is None else (np.float64(b), np.float64(b0))
    residual = U_ - V_ @ W_.T - (0 if b is None else b_)
    gradient = -rho * residual.T @ V_ + lam * W_ + alpha * (W_ - W0_)
    eps = np.finfo(dtype).eps
    largest = rho * square(np.column_stack([V_, np.ones(n)])) + alpha + lam
    size = largest * (1 + np.linalg.norm(W_) + np.linalg.norm(W0_)) + rho * np.linalg.norm(
        V_
    ) * np.linalg.norm(U_)
    assert np.linalg.norm(gradient) <= 10 * eps * size
    if bias:
        slope = -rho * residual.sum(axis=0) + alpha * (b_ - b0_)
        size += largest * (np.linalg.norm(b_) + np.linalg.norm(b0_))
        assert np.linalg.norm(slope) <= 10 * eps * size

    arguments = (U_, V_, rho, lam, alpha, W0_, b0_)
    before, after = (
        ridge_objective(U_, V_, *pair, *arguments[2:]) for pair in ((W0_, b0_), (W_, b_))
    )
    assert after <= before * (1 + 4 * eps)
    rng = np.random.default_rng(0)
    for scale in (1e-2, 1.0):
        other = W_ + scale * rng.standard_normal(W.shape)
        assert after <= ridge_objective(U_, V_, other, b_, *arguments[2:]) * (1 + 10 * eps)


@given(seed=SEEDS, inputs=WIDTHS, outputs=WIDTHS, bias=st.booleans())
def test_ridge_update_is_least_squares(seed, inputs, outputs, bias):
    """Without α and λ: numpy.linalg.lstsq, wherever the minimiser is unique."""
    n = inputs + 10
    U, V, W0, b0 = normal(seed, float, (n, outputs), (n, inputs), (outputs, inputs), (outputs,))
    W, b = blocks.ridge_update(U, V, W0, b0 if bias else None)
    design = np.column_stack([V, np.ones(n)]) if bias else V
    expected = np.linalg.lstsq(design, U)[0].T
    found = np.column_stack([W, b]) if bias else W
    condition = np.linalg.cond(design)
    np.testing.assert_allclose(found, expected, atol=1e-14 * condition**2 * np.abs(expected).max())


@given(seed=SEEDS, n=st.integers(1, 30), inputs=WIDTHS, lam=WEIGHTS, alpha=WEIGHTS)
def test_ridge_update_is_a_stacked_least_squares(seed, n, inputs, lam, alpha):
    """α and λ as rows appended to the design; the ridge does not act on the bias."""
    rho = 0.5
    U, V, W0, b0 = normal(seed, float, (n, 4), (n, inputs), (4, inputs), (4,))
    W, b = blocks.ridge_update(U, V, W0, b0, rho=rho, alpha=alpha, lam=lam)
    old = np.column_stack([W0, b0])
    ridge = np.sqrt(lam) * np.eye(inputs + 1)[:inputs]
    design = np.sqrt(rho) * np.column_stack([V, np.ones(n)])
    design = np.concatenate([design, np.sqrt(alpha) * np.eye(inputs + 1), ridge])
    right = np.concatenate([np.sqrt(rho) * U, np.sqrt(alpha) * old.T, np.zeros((inputs, 4))])
    expected = np.linalg.lstsq(design, right)[0].T
    np.testing.assert_allclose(np.column_stack([W, b]), expected, atol=1e-10)


def test_ridge_update_refuses_a_singular_system():
    V = np.ones((9, 3))
    with pytest.raises(amcore.NumericalError, match="positive definite") as caught:
        blocks.ridge_update(np.ones((9, 2)), V, np.zeros((2, 3)))
    assert caught.value.block == "W" and caught.value.condition > 1e15


def test_ridge_update_in_float32_with_a_mean_far_from_zero():
    """Sums of v vᵀ in float32 would lose the variance beside a mean a thousand times larger."""
    U, V, W0, b0 = normal(3, np.float32, (4000, 3), (4000, 5), (3, 5), (3,))
    V = V + np.float32(1000)
    found = blocks.ridge_update(U, V, W0, b0, alpha=1e-3)
    exact = blocks.ridge_update(*(np.float64(A) for A in (U, V, W0, b0)), alpha=1e-3)
    f, best = (
        ridge_objective(U, np.float64(V), W, b, 1.0, 0.0, 1e-3, W0, b0) for W, b in (found, exact)
    )
    assert f <= best * (1 + 1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    seed=SEEDS, n=st.integers(1, 60), inputs=WIDTHS, outputs=WIDTHS, bias=st.booleans(),
    gamma=WEIGHTS, rho=WEIGHTS, threads=st.integers(1, 3),
)  # fmt: skip
def test_hidden_update(dtype, seed, n, inputs, outputs, bias, gamma, rho, threads):
    """Wide and narrow layers take different forms; both solve (γI + ρWᵀW)V = γS + ρWᵀ(U − b)."""
    S, U, W, b = normal(seed, dtype, (n, inputs), (n, outputs), (outputs, inputs), (outputs,))
    b = b if bias else None
    V = blocks.hidden_update(S, U, W, b, gamma=gamma, rho=rho, num_threads=threads)
    assert V.dtype == dtype
    S_, U_, W_ = (np.float64(A) for A in (S, U, W))
    b_ = 0 if b is None else np.float64(b)
    matrix = gamma * np.eye(inputs) + rho * W_.T @ W_
    expected = np.linalg.solve(matrix, (gamma * S_ + rho * (U_ - b_) @ W_).T).T
    eps = np.finfo(dtype).eps
    condition = 1 + rho / gamma * np.linalg.norm(W_, 2) ** 2
    scale = np.linalg.norm(expected) + np.linalg.norm(S_)
    assert np.linalg.norm(V - expected) <= 30 * eps * condition * scale
    gradient = gamma * (V - S_) - rho * (U_ - V @ W_.T - b_) @ W_
    size = gamma * scale + rho * np.linalg.norm(W_) * (
        np.linalg.norm(U_) + np.linalg.norm(W_) * np.linalg.norm(V) + n * np.linalg.norm(b_)
    )
    assert np.linalg.norm(gradient) <= 30 * eps * size

    def objective(V):
        return gamma / 2 * square(V - S_) + rho / 2 * square(U_ - V @ W_.T - b_)

    for other in (S_, V + 1e-2 * normal(seed + 1, float, V.shape)[0]):
        assert objective(np.float64(V)) <= objective(other) * (1 + 10 * eps)


@pytest.mark.parametrize(("inputs", "outputs"), [(40, 3), (3, 40), (17, 17), (1, 1), (130, 70)])
def test_both_forms_of_the_hidden_update(inputs, outputs):
    S, U, W = normal(7, float, (25, inputs), (25, outputs), (outputs, inputs))
    V = blocks.hidden_update(S, U, W, gamma=0.01)
    s = U - S @ W.T
    dual = S + s @ np.linalg.solve(W @ W.T + 0.01 * np.eye(outputs), W)
    primal = S + s @ W @ np.linalg.inv(W.T @ W + 0.01 * np.eye(inputs))
    np.testing.assert_allclose(V, dual, atol=1e-10)
    np.testing.assert_allclose(V, primal, atol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stem", names("activation"))
@given(seed=SEEDS, gamma=WEIGHTS, rho=WEIGHTS, alpha=st.one_of(st.just(0.0), WEIGHTS))
def test_preactivation_update(stem, dtype, seed, gamma, rho, alpha):
    V, P, U0 = normal(seed, dtype, *[(11, 7)] * 3)
    U = blocks.preactivation_update(stem, V, P, U0, gamma=gamma, rho=rho, alpha=alpha)
    assert U.dtype == dtype
    sigma = operator("activation", stem)
    expected = sigma.reference.prox(
        V, (rho * P + alpha * U0) / (rho + alpha), (rho + alpha) / gamma
    )

    def objective(u):
        """Value, and what the rounding of v, σ(u), u, P and U does to it."""
        V_, P_, U_, u = (np.asarray(A, float) for A in (V, P, U0, u))
        pairs = [(gamma, V_, sigma.value(u)), (rho, u, P_), (alpha, u, U_)]
        value = sum(weight / 2 * (a - b) ** 2 for weight, a, b in pairs)
        return value, sum(weight * abs(a - b) * (abs(a) + abs(b)) for weight, a, b in pairs)

    found, rounding = objective(U)
    eps = np.finfo(dtype).eps
    for other in (
        expected,
        P,
        U0,
        np.zeros_like(V),
        U + V.dtype.type(1e-3),
        U - V.dtype.type(1e-3),
    ):
        value, more = objective(other)
        assert (found <= value + 16 * eps * (rounding + more) + eps**2).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stem", names("loss"))
@given(
    seed=SEEDS, n=st.integers(1, 40), width=st.integers(2, 12), c=WEIGHTS, gamma=WEIGHTS,
    alpha=st.one_of(st.just(0.0), WEIGHTS), threads=st.integers(1, 3),
)  # fmt: skip
def test_output_update(stem, dtype, seed, n, width, c, gamma, alpha, threads):
    loss = operator("loss", stem)
    S, V0 = normal(seed, dtype, *[(n, width)] * 2)
    Y = targets(loss, np.random.default_rng(seed), n, width, dtype)
    V = blocks.output_update(
        stem, Y, S, V0, loss_weight=c, gamma=gamma, alpha=alpha, num_threads=threads
    )
    assert V.dtype == dtype
    V_, S_, V0_, Y_ = (np.float64(A) for A in (V, S, V0, Y))
    # 0 ∈ c ∂ℓ(V) + γ(V − S) + α(V − V⁰)
    push = gamma * (V_ - S_) + alpha * (V_ - V0_)
    eps = np.finfo(dtype).eps
    size = c * np.sqrt(Y.size) + (c + gamma + alpha) * (
        np.linalg.norm(V_) + np.linalg.norm(S_) + np.linalg.norm(V0_)
    )
    assert loss.reference.subgradient_distance(V_, Y_, push, c) <= 16 * eps * size


@pytest.mark.parametrize("threads", [2, 3])
def test_bits_do_not_depend_on_threads(threads):
    S, U, W, b = normal(9, float, (5000, 20), (5000, 30), (30, 20), (30,))
    one, many = (
        (
            blocks.ridge_update(U, S, W, b, alpha=0.1, num_threads=count),
            blocks.hidden_update(S, U, W, b, num_threads=count),
            blocks.preactivation_update("tanh", U, U, U, alpha=0.5, num_threads=count),
            blocks.output_update("squared", U, U, U, num_threads=count),
        )
        for count in (1, threads)
    )
    np.testing.assert_array_equal(one[0][0], many[0][0])
    np.testing.assert_array_equal(one[0][1], many[0][1])
    for a, b in zip(one[1:], many[1:], strict=True):
        np.testing.assert_array_equal(a, b)
