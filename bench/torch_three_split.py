"""Three-splitting block coordinate descent in PyTorch, written as a user would.

The same sweep as `amcore.ThreeSplitBCD` for relu hidden layers, an identity output, the squared
loss and a bias that is part of the weights' block: full batch, explicit inverses, the prox by
elementwise operations and `torch.where`, the objective from fresh products. Samples are rows,
weights have the shape of `torch.nn.Linear`'s.

Flops of a sweep per hidden layer of width d and n samples: V 4 n d² (U W, times the inverse),
U 2 n d² (V Wᵀ), W 4 n d² (UᵀV, VᵀV as a general product), objective 2 n d² (V Wᵀ).
"""

from __future__ import annotations

import torch
from torch import Tensor


def relu_prox(v: Tensor, z: Tensor, w: float) -> Tensor:
    """argmin_u ½(v − relu(u))² + w/2 (u − z)², the leftmost of equals."""
    negative = torch.clamp(z, max=0)
    positive = torch.clamp((v + w * z) / (1 + w), min=0)
    value_negative = v**2 + w * (negative - z) ** 2
    value_positive = (v - positive) ** 2 + w * (positive - z) ** 2
    return torch.where(value_positive < value_negative, positive, negative)


class ThreeSplit:
    def __init__(
        self,
        X: Tensor,
        Y: Tensor,
        weights: list[tuple[Tensor, Tensor]],
        gamma: float,
        rho: float,
        alpha: float,
    ) -> None:
        self.X, self.Y = X, Y
        self.gamma, self.rho, self.alpha = gamma, rho, alpha
        self.W = [W for W, _ in weights]
        self.b = [b for _, b in weights]
        self.U: list[Tensor] = []
        self.V: list[Tensor] = []
        for i, (W, b) in enumerate(weights):
            U = self.below(i) @ W.T + b
            self.U.append(U)
            self.V.append(self.sigma(i, U))

    def below(self, i: int) -> Tensor:
        return self.X if i == 0 else self.V[i - 1]

    def sigma(self, i: int, U: Tensor) -> Tensor:
        return U if i == len(self.W) - 1 else torch.relu(U)

    def sweep(self) -> None:
        last = len(self.W) - 1
        for i in range(last, -1, -1):
            self.V[i] = self.output() if i == last else self.hidden(i)
            self.U[i] = self.preactivation(i)
            self.W[i], self.b[i] = self.weight(i)

    def output(self) -> Tensor:
        gamma, alpha = self.gamma, self.alpha
        return (self.Y + gamma * self.U[-1] + alpha * self.V[-1]) / (1 + gamma + alpha)

    def hidden(self, i: int) -> Tensor:
        W, b = self.W[i + 1], self.b[i + 1]
        eye = torch.eye(W.shape[1], dtype=W.dtype)
        inverse = torch.linalg.inv(self.rho * W.T @ W + self.gamma * eye)
        right = self.rho * (self.U[i + 1] - b) @ W + self.gamma * torch.relu(self.U[i])
        V: Tensor = right @ inverse
        return V

    def preactivation(self, i: int) -> Tensor:
        gamma, rho, alpha = self.gamma, self.rho, self.alpha
        P = self.below(i) @ self.W[i].T + self.b[i]
        if i == len(self.W) - 1:
            return (gamma * self.V[i] + rho * P) / (gamma + rho)
        z = (rho * P + alpha * self.U[i]) / (rho + alpha)
        return relu_prox(self.V[i], z, (rho + alpha) / gamma)

    def weight(self, i: int) -> tuple[Tensor, Tensor]:
        V, U, rho, alpha = self.below(i), self.U[i], self.rho, self.alpha
        sums = V.sum(dim=0, keepdim=True)
        count = torch.full((1, 1), len(V), dtype=V.dtype)
        gram = torch.cat((torch.cat((V.T @ V, sums.T), dim=1), torch.cat((sums, count), dim=1)))
        cross = torch.cat((U.T @ V, U.sum(dim=0)[:, None]), dim=1)
        old = torch.cat((self.W[i], self.b[i][:, None]), dim=1)
        eye = torch.eye(len(gram), dtype=V.dtype)
        new = (rho * cross + alpha * old) @ torch.linalg.inv(rho * gram + alpha * eye)
        return new[:, :-1].contiguous(), new[:, -1].contiguous()

    def objective(self) -> float:
        total = 0.5 * torch.sum((self.V[-1] - self.Y) ** 2)
        for i in range(len(self.W)):
            fit = self.V[i] - self.sigma(i, self.U[i])
            residual = self.U[i] - (self.below(i) @ self.W[i].T + self.b[i])
            total = total + self.gamma / 2 * torch.sum(fit**2)
            total = total + self.rho / 2 * torch.sum(residual**2)
        return float(total)

    def arrays(self) -> dict[str, Tensor]:
        """The state under amcore's names."""
        return {
            f"{name}{i}": array
            for name, arrays in (("W", self.W), ("b", self.b), ("U", self.U), ("V", self.V))
            for i, array in enumerate(arrays, start=1)
        }
