"""What training needs to go on where it stopped."""

import copy
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from training.judge import Judge
from training.network import Nano, Widths


class NoJudge(LookupError):  # noqa: N818 - the name states what was found
    """The answers of a checkpoint cannot be scored yet."""


class Average:
    """A slowly following copy of a network, which answers better than the network itself."""

    def __init__(self, network: Nano, keep: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._keep = keep

    @torch.no_grad()
    def follow(self, network: nn.Module, step: int) -> None:
        keep = min(self._keep, (1 + step) / (10 + step))
        for mine, theirs in zip(self.network.parameters(), network.parameters(), strict=True):
            mine.lerp_(theirs, 1 - keep)
        for kept, now in zip(self.network.buffers(), network.buffers(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(now, 1 - keep)
            else:
                kept.copy_(now)


def save(
    path: Path, network: Nano, average: Average, optimisers: Sequence[Optimizer], step: int, log: Sequence[Any]
) -> None:
    """Write a checkpoint; one that is there already is replaced in one stroke."""
    state = {
        "widths": asdict(network.widths),
        "network": network.state_dict(),
        "average": average.network.state_dict(),
        "optimisers": [each.state_dict() for each in optimisers],
        "step": step,
        "log": list(log),
    }
    temporary = path.with_suffix(".part")
    torch.save(state, temporary)
    temporary.replace(path)


def load(path: Path) -> dict[str, Any]:
    """What `save` wrote."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def averaged(path: Path) -> Nano:
    """The network that a checkpoint would ship."""
    state = load(path)
    network = Nano(Widths(**state["widths"]))
    network.load_state_dict(state["average"])
    return network.eval()


def keep_average(path: Path, network: Nano) -> None:
    """Put another network in place of the average of a checkpoint."""
    torch.save({**load(path), "average": network.state_dict()}, path)


def keep_judge(path: Path, judge: Judge) -> None:
    """Put the judge of a checkpoint's answers beside them. Training that goes on forgets it."""
    torch.save({**load(path), "judge": judge.state_dict()}, path)


def judge(path: Path) -> Judge:
    """The judge that was fitted to `averaged`.

    Raises:
        NoJudge: none was.
    """
    state = load(path)
    if "judge" not in state:
        raise NoJudge(f"{path} has no judge of its answers; fit one with python -m training.scores")
    fitted = Judge()
    fitted.load_state_dict(state["judge"])
    return fitted.eval().requires_grad_(False)
