"""Muon (Jordan et al., 2024) for filters, many at once, and AdamW for everything else."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer


class Muon(Optimizer):
    """Momentum whose steps are made orthogonal by a few Newton-Schulz iterations; filters are matrices [out, rest].

    Matrices of one shape are worked on together: on a GPU their number, not their size, is what takes time.

    Args:
        parameters: of two or more dimensions.
        lr: length of a step; a tensor, so that a recorded graph reads what it is at the time.
        momentum: of the gradient.
        decay: of the weights, in steps of `lr`.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: Tensor, momentum: float = 0.95, decay: float = 0.05) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
            for weights in group["params"]:
                if weights.grad is not None:
                    alike[weights.shape[0], weights[0].numel()].append(weights)
            for (rows, columns), many in alike.items():
                gradients = torch.stack([each.grad.reshape(rows, columns) for each in many])  # type: ignore[union-attr]
                state = self.state[many[0]]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(gradients)
                velocity = state["momentum"].lerp_(gradients, 1 - group["momentum"])
                ahead = orthogonal(gradients.lerp(velocity, group["momentum"]))
                scale = max(1.0, rows / columns) ** 0.5
                torch._foreach_mul_(many, 1 - group["lr"] * group["decay"])
                ahead = ahead * (group["lr"] * -scale)
                updates = [update.reshape(weights.shape) for update, weights in zip(ahead, many, strict=True)]
                torch._foreach_add_(many, updates)


def orthogonal(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Near to U Vᵀ of the singular value decompositions of matrices [n, rows, columns]."""
    x = matrices.bfloat16() / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7).bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    for _ in range(iterations):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    found: Tensor = (x.mT if tall else x).to(matrices.dtype)
    return found


def optimisers(network: nn.Module, lr: float = 0.02, adam_lr: float = 1.5e-3) -> list[Optimizer]:
    """One for the filters, one for the rest; their rates are tensors."""
    inner, decayed, rest = [], [], []
    for weights in network.parameters():
        if weights.ndim >= 2 and weights.shape[0] >= 8:
            inner.append(weights)
        elif weights.ndim >= 2:
            decayed.append(weights)
        else:
            rest.append(weights)
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
    some = next(network.parameters())
    rates = [torch.tensor(rate, device=some.device) for rate in (lr, adam_lr)]
    adam = AdamW(groups, lr=rates[1], betas=(0.9, 0.98), fused=some.is_cuda, capturable=some.is_cuda)
    return [Muon(inner, rates[0]), adam]
