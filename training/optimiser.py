"""Muon (Jordan et al., 2024) for matrices and filters, AdamW for everything else."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer


class Muon(Optimizer):
    """Momentum whose steps are made orthogonal by a few Newton-Schulz iterations; filters are matrices [out, rest].

    Args:
        parameters: of two or more dimensions.
        lr: length of a step.
        momentum: of the gradient.
        decay: of the weights, in steps of `lr`.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95, decay: float = 0.05) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is None:
                    continue
                state = self.state[weights]
                if not state:
                    state["momentum"] = torch.zeros_like(weights)
                velocity = state["momentum"].lerp_(weights.grad, 1 - group["momentum"])
                ahead = weights.grad.lerp(velocity, group["momentum"]).flatten(1)
                scale = max(1.0, ahead.shape[0] / ahead.shape[1]) ** 0.5
                weights.mul_(1 - group["lr"] * group["decay"])
                weights.add_(orthogonal(ahead).reshape(weights.shape), alpha=-group["lr"] * scale)


def orthogonal(matrix: Tensor, iterations: int = 5) -> Tensor:
    """Near to U Vᵀ of the matrix's singular value decomposition."""
    x = matrix.bfloat16() / (matrix.norm() + 1e-7).bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(iterations):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    found: Tensor = (x.T if tall else x).to(matrix.dtype)
    return found


def optimisers(network: nn.Module, muon: bool = True, lr: float = 0.02, adam_lr: float = 1.5e-3) -> list[Optimizer]:
    """One for the inner weights, one for the rest."""
    inner, decayed, rest = [], [], []
    for name, weights in network.named_parameters():
        if weights.ndim >= 2 and weights.shape[0] >= 8 and muon and "score" not in name:
            inner.append(weights)
        elif weights.ndim >= 2:
            decayed.append(weights)
        else:
            rest.append(weights)
    found: list[Optimizer] = [Muon(inner, lr)] if inner else []
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
    return [*found, AdamW(groups, lr=adam_lr, betas=(0.9, 0.98))]
