"""Networks of amcore and modules of torch are each other, to the bit; any optimiser is measured."""

import copy
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import amcore
from amcore.torch import Objective, Skip, fit, from_sequential, to_sequential

DTYPES = {"float32": torch.float32, "float64": torch.float64}
ACTIVATIONS = {
    "hard_sigmoid": nn.Hardsigmoid(),
    "hard_tanh": nn.Hardtanh(),
    "leaky_relu(slope=0.2)": nn.LeakyReLU(0.2),
    "relu": nn.ReLU(inplace=True),
    "sigmoid": nn.Sigmoid(),
    "softplus": nn.Softplus(),
    "tanh": nn.Tanh(),
    "identity": nn.Identity(),
}
SCHEMES = {name: scheme() for name, scheme in amcore.schemes.SCHEMES.items()}


def module_of(activation, bias=True, dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 6, bias),
        activation,
        nn.Sequential(Skip(nn.Linear(6, 6, bias), activation), nn.Identity()),
        nn.Linear(6, 3, bias),
    ).to(dtype)


def inputs(n=50, dtype=torch.float32):
    return 3 * torch.randn(n, 4, generator=torch.Generator().manual_seed(1)).to(dtype)


def small():
    """A network and targets to fit it to."""
    module = module_of(nn.Tanh())
    X = inputs()
    return module, X, torch.stack([X[:, 0].sin(), X[:, 1] * X[:, 2], X.sum(dim=1)], dim=1)


def bits(module):
    return [parameter.detach().numpy().tobytes() for parameter in module.parameters()]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_there_and_back(activation, bias, dtype):
    module = module_of(ACTIVATIONS[activation], bias, DTYPES[dtype])
    network, weights = from_sequential(module)
    assert network.widths == (4, 6, 6, 3) and network.bias is bias
    assert list(map(str, network.activations)) == [activation, activation, "identity"]
    assert network.skip == (False, True, False)

    again = to_sequential(network, weights)
    X = inputs(dtype=DTYPES[dtype])
    outputs = module(X).detach()
    assert torch.equal(again(X), outputs)
    assert bits(again) == bits(module)
    for ours, theirs in zip(again.parameters(), module.parameters(), strict=True):
        assert ours.data_ptr() == theirs.data_ptr() and ours.requires_grad
    assert from_sequential(again)[0] == network

    rounding = 1e-5 if dtype == "float32" else 1e-8  # 2e-9 is the softplus of torch
    predicted = network.forward(X, weights)
    assert predicted.dtype == dtype
    np.testing.assert_allclose(predicted, outputs, rtol=rounding, atol=rounding)


def test_every_activation_has_a_module_or_is_refused():
    weights = [(np.ones((2, 2)), np.zeros(2))]
    refused = set()
    for name in dir(amcore.activations):
        network = amcore.Network([2, 2], output_activation=name)
        try:
            module = to_sequential(network, weights)
        except ValueError as error:
            assert str(error).startswith("network.activations[0]: expected one of hard_sigmoid, ")
            refused.add(name)
        else:
            assert from_sequential(module)[0] == network
    assert refused == {"polynomial"}


def test_weights_are_copied_only_where_torch_cannot_take_them():
    network = amcore.Network([3, 2], bias=False)
    W = np.arange(6.0).reshape(2, 3)
    frozen = W.copy()
    frozen.flags.writeable = False
    for array, shared in [(W, True), (np.asfortranarray(W), False), (frozen, False)]:
        module = to_sequential(network, [(array, None)])
        parameter = module[0].weight.detach().numpy()
        assert np.array_equal(parameter, array)
        assert np.shares_memory(parameter, array) is shared
    with pytest.raises(TypeError, match=r"weights\[0\] b: dtype float32, but weights\[0\] W has"):
        to_sequential(amcore.Network([3, 2]), [(W, np.zeros(2, np.float32))])


class Branch(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


def tied():
    first = nn.Linear(2, 2)
    return [first, nn.ReLU(), first]


def pruned():
    from torch.nn.utils import prune

    return [prune.l1_unstructured(nn.Linear(4, 4), "weight", amount=2)]


REFUSED = {
    "no Sequential": (nn.Linear(2, 2), r"^module: expected a torch.nn.Sequential, got Linear"),
    "subclass": (Branch(nn.Linear(2, 2)), r"^module: expected a torch.nn.Sequential, got Branch"),
    "empty": (nn.Sequential(), "^module: expected at least one Linear, got none"),
    "first of two": ([nn.Linear(2, 2), nn.GELU(), nn.CELU()], r"^module.1: .*got GELU\("),
    "within": ([nn.Sequential(nn.Linear(2, 2), nn.Dropout())], r"^module.0.1: .*got Dropout"),
    "branch": ([Branch(nn.Linear(2, 2))], r"^module.0: expected one of Linear, .*got Branch"),
    "slope": ([nn.Linear(2, 2), nn.LeakyReLU(2)], r"^module.1: slope: expected .*got 2"),
    "limits": (
        [nn.Linear(2, 2), nn.Hardtanh(0, 1)],
        r"^module.1: expected Hardtanh\(min_val=-1, max_val=1\), got Hardtanh",
    ),
    "beta": ([nn.Linear(2, 2), nn.Softplus(2)], r"^module.1: expected Softplus\(beta=1, thres"),
    "no Linear": (
        [nn.ReLU(), nn.Linear(2, 2)],
        r"^module.0: expected a Linear before it, got ReLU",
    ),
    "two activations": ([nn.Linear(2, 2), nn.ReLU(), nn.Tanh()], r"^module.2: expected a Linear"),
    "after a skip": ([Skip(nn.Linear(2, 2)), nn.ReLU()], r"^module.1: expected a Linear before"),
    "deep skip": (
        [Skip(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))],
        r"^module.0: expected one layer, got 2",
    ),
    "wide skip": ([Skip(nn.Linear(2, 3))], r"^skip\[0\]: layer 1 cannot add its input"),
    "widths": ([nn.Linear(2, 3), nn.Linear(2, 3)], r"^module.1: expected 3 in_features.*, got 2"),
    "bias": (
        [nn.Linear(2, 3), nn.Linear(3, 3, bias=False)],
        r"^module.1: expected a Linear with bias as module.0, got one without",
    ),
    "no bias": (
        [nn.Linear(2, 3, bias=False), nn.Linear(3, 3)],
        r"^module.1: expected a Linear without bias as module.0, got one with",
    ),
    "half": ([nn.Linear(2, 2).half()], r"^module.0.weight: .*got torch.float16"),
    "dtypes": (
        [nn.Linear(2, 2), nn.Linear(2, 2).double()],
        r"^module.1.weight: expected torch.float32 as of the first layer, got torch.float64",
    ),
    "device": ([nn.Linear(2, 2, device="meta")], r"^module.0.weight: .* on the CPU, got .* meta"),
    "tied": (tied(), r"^module.2.weight: .*got those of module.0.weight"),
    "pruned": (pruned(), r"^module.0: expected a Linear with a weight of its own"),
    "lazy": ([nn.LazyLinear(2)], r"^module.0: expected one of Linear, .*got LazyLinear"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_first_part_that_is_not_supported_is_named(case):
    module, message = REFUSED[case]
    module = nn.Sequential(*module) if isinstance(module, list) else module
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        from_sequential(module)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_fit_is_solve_from_the_parameters(scheme):
    module, X, Y = small()
    if scheme in ("TwoSplitBCD", "ADMM", "MDLAM"):  # which take no skip connections
        module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    network, weights = from_sequential(copy.deepcopy(module))
    addresses = [parameter.data_ptr() for parameter in module.parameters()]
    run = fit(module, X, Y, SCHEMES[scheme], max_iter=3, loss_scale="mean")
    expected = amcore.solve(
        amcore.Problem(network, X.numpy(), Y.numpy(), loss_scale="mean"),
        SCHEMES[scheme],
        init=weights,
        max_iter=3,
    )
    assert np.array_equal(run.trace.objective, expected.trace.objective)
    for (W, b), (new_W, new_b) in zip(from_sequential(module)[1], expected.weights, strict=True):
        assert np.array_equal(W, new_W) and np.array_equal(b, new_b)
    assert [parameter.data_ptr() for parameter in module.parameters()] == addresses
    np.testing.assert_allclose(module(X).detach(), run.forward(X), rtol=1e-4, atol=1e-4)


def test_fit_computes_in_the_dtype_of_the_module():
    module, X, Y = small()
    assert fit(module.double(), X, Y, max_iter=1).state["W1"].dtype == np.float64
    assert module[0].weight.dtype == torch.float64


def test_fit_tells_backpropagation_that_weights_have_changed():
    module, X, Y = small()
    outputs = module(X).sum()
    fit(module, X, Y, max_iter=1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.backward()


def fails(step):
    if step.sweep == 2:
        raise RuntimeError("no more")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"callbacks": [fails]}, "no more"),
        ({"Y": torch.full((50, 3), torch.nan)}, "^Y: expected finite numbers"),
        ({"Y": torch.ones(50, 2)}, "^Y: expected"),
        ({"X": inputs().requires_grad_()}, "^X: "),
        ({"scheme": "online"}, "^scheme: "),
        ({"init": "he"}, "init"),
        ({"loss": nn.MSELoss()}, "^loss: expected a loss or its name"),
    ],
)
def test_an_error_leaves_the_module_as_it_was(changes, message):
    module, X, Y = small()
    before = bits(module)
    with pytest.raises((RuntimeError, TypeError, ValueError), match=message):
        fit(module, **({"X": X, "Y": Y} | changes))
    assert bits(module) == before


def test_frozen_parameters_are_refused():
    module, X, Y = small()
    module[0].bias.requires_grad_(False)
    with pytest.raises(ValueError, match=r"^module.0.bias: expected requires_grad=True"):
        fit(module, X, Y)


class TestObjective:
    def test_of_least_squares(self):
        rng = np.random.default_rng(0)
        A, y = rng.standard_normal((20, 3)), rng.standard_normal((20, 1))
        module = nn.Linear(3, 1, bias=False).double()
        objective = Objective(module, torch.from_numpy(A), torch.from_numpy(y), nn.MSELoss())
        w = module.weight.detach().numpy().T
        residual = A @ w - y
        assert objective.measure() == pytest.approx(
            (np.mean(residual**2), np.linalg.norm(2 / 20 * A.T @ residual)), rel=1e-12
        )
        assert objective.trace.objective[0] == objective.measure()[0]
        assert objective.trace.dtype == np.float64

    def test_nothing_else_is_touched(self):
        module = nn.Sequential(
            nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(), nn.ReLU(), nn.Linear(5, 3)
        )
        module[1].eval()
        module[0].bias.requires_grad_(False)
        X, Y = inputs(), torch.zeros(50, 3)
        nn.MSELoss()(module(X), Y).backward()
        gradients = [p.grad if p.grad is None else p.grad.clone() for p in module.parameters()]
        state = copy.deepcopy(module.state_dict())
        modes = [part.training for part in module.modules()]
        random = torch.random.get_rng_state()
        objective = Objective(module, X, Y, nn.MSELoss())
        with torch.no_grad():
            assert objective.measure() == objective.measure()
        assert torch.equal(torch.random.get_rng_state(), random)
        assert [part.training for part in module.modules()] == modes
        for name, tensor in module.state_dict().items():
            assert torch.equal(tensor, state[name])
        for parameter, before in zip(module.parameters(), gradients, strict=True):
            assert parameter.grad is before is None or torch.equal(parameter.grad, before)

    def test_penalties_of_parameters_count(self):
        module = nn.Linear(2, 1, bias=False)

        def penalised(outputs, Y):
            return (outputs - Y).square().sum() + module.weight.square().sum()

        f, distance = Objective(module, torch.zeros(1, 2), torch.zeros(1, 1), penalised).measure()
        assert f == pytest.approx(float(module.weight.detach().square().sum()))
        assert distance == pytest.approx(2 * f**0.5)

    @pytest.mark.parametrize("optimiser", ["SGD", "Adam", "LBFGS"])
    def test_any_optimiser_is_certified(self, optimiser):
        X = inputs(dtype=torch.float64)
        Y = X.sum(dim=1, keepdim=True).sin()
        torch.manual_seed(0)
        module = nn.Linear(4, 1).double()
        loss = nn.MSELoss()
        optimizer = getattr(torch.optim, optimiser)(module.parameters(), lr=0.02)

        def closure():
            optimizer.zero_grad()
            value = loss(module(X), Y)
            value.backward()
            return value

        objective = Objective(module, X, Y, loss)
        for _ in range(200):
            optimizer.step(closure)
            objective.record()
        trace, certificate = objective.trace, amcore.certify(objective.trace)
        assert len(trace) == 200 and certificate.trace is trace
        assert trace.objective[-1] == float(loss(module(X), Y).detach())
        assert np.array_equal(trace.decrease, trace.objective[:-1] - trace.objective[1:])
        assert (trace.time >= 0).all()
        if optimiser == "SGD":
            # of gradient descent with step s: f(x) − f(x − s∇f) ≥ s(1 − sL/2) ‖∇f‖²
            A = np.column_stack([X.numpy(), np.ones(len(X))])
            lipschitz = 2 * np.linalg.norm(A, 2) ** 2 / len(A)
            least = 0.02 * (1 - 0.02 * lipschitz / 2)
            assert least > 0 and certificate.verdicts["A1"].verdict == "holds"
            assert certificate.decrease[0].constant >= least * (1 - 1e-9)

    @pytest.mark.parametrize(
        ("module", "loss", "error", "message"),
        [
            (nn.ReLU(), nn.MSELoss(), TypeError, "^module: .*got none"),
            (nn.Linear(2, 2).bfloat16(), nn.MSELoss(), TypeError, "^module: .*bfloat16"),
            (nn.Linear(2, 2), nn.MSELoss(reduction="none"), ValueError, "^loss: expected a tensor"),
            (nn.Linear(2, 2), lambda v, y: 1.0, ValueError, r"^loss: .*got 1.0 \(float\)"),
            (nn.Linear(2, 2), lambda v, y: v.detach().sum(), ValueError, "^loss: expected"),
            (nn.Linear(2, 2), lambda v, y: v.sum() * torch.inf, ArithmeticError, "^the objective"),
            (nn.Linear(2, 2), lambda v, y: (v - v).sum().sqrt(), ArithmeticError, "^the distance"),
        ],
    )
    def test_refused(self, module, loss, error, message):
        X = torch.ones(3, 2, dtype=next(module.parameters(), torch.ones(())).dtype)
        with pytest.raises(error, match=message):
            Objective(module, X, X, loss)

    def test_what_is_not_finite_is_not_recorded(self):
        module = nn.Linear(2, 1)
        objective = Objective(module, torch.ones(3, 2), torch.ones(3, 1), nn.MSELoss())
        with torch.no_grad():
            module.weight.fill_(torch.nan)
        with pytest.raises(amcore.NumericalError, match="the objective is nan"):
            objective.record()
        assert len(objective.trace) == 0


def test_amcore_does_not_import_torch():
    code = "import amcore, sys; assert 'torch' not in sys.modules; import amcore.torch, torch"
    subprocess.run([sys.executable, "-c", code], check=True)
