"""Weights on disk: one safetensors file, all but small tensors in half precision."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from training.judge import Judge
from training.network import Nano, Widths

# Tensors of fewer numbers keep their precision: norms, biases, the judge.
_SMALL = 512


def save(path: Path, network: Nano, judge: Judge | None = None, step: int = 0) -> None:
    """Write a network and, if there is one, its judge."""
    tensors = {f"network.{name}": _halved(each) for name, each in network.state_dict().items()}
    if judge:
        tensors |= {
            f"judge.{name}": each.detach().float().cpu().contiguous() for name, each in judge.state_dict().items()
        }
    save_file(tensors, path, {"widths": json.dumps(asdict(network.widths)), "step": str(step)})


def load(path: Path) -> tuple[Nano, Judge]:
    """The network and its judge, float32, in evaluation mode; a fresh judge if the file has none."""
    with safe_open(path, "pt") as stored:
        widths = Widths(**json.loads(stored.metadata()["widths"]))
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - no mapping
    network, judge = Nano(widths), Judge()
    network.load_state_dict(_part(tensors, "network."))
    if found := _part(tensors, "judge."):
        judge.load_state_dict(found)
    return network.eval(), judge.eval()


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): each.float() if each.is_floating_point() else each
        for name, each in tensors.items()
        if name.startswith(prefix)
    }


def _halved(values: Tensor) -> Tensor:
    values = values.detach().cpu().contiguous()
    return values.half() if values.dtype == torch.float32 and values.numel() > _SMALL else values.clone()
