"""Write what a server runs: an ONNX graph with half-precision weights, and the judge's weights for NumPy.

    python -m training.export --weights FILE --out DIR

`nano.onnx` answers looks: from images uint8 [N, S, S, 3], prompts [B, 10, S/4, S/4] (see `planes.prompt_planes`) and
masks so far [B, 1, S/2, S/2] it computes logits [B, 3, S/2, S/2] and the features by which the judge compares
candidates. N is B, or 1 for B prompts on one image. `nano-judge.npz` holds the judge.

The graph is compared with PyTorch in ONNX Runtime.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the usual name

from training.graphs import folded, write
from training.judge import Judge, edges
from training.network import PROMPT_PLANES, Nano
from training.weights import load

GRAPH, JUDGE = "nano.onnx", "nano-judge.npz"
INPUTS = ("image", "prompt", "previous")
OUTPUTS = ("logits", "edges", "near", "far", "fine", "coarse", "deep")

# Half-precision weights move values by shares of their largest.
_LARGEST_DIFFERENCE = 0.02


class NotEqual(AssertionError):  # noqa: N818 - the name states what was found
    """The runtime computes something else than PyTorch."""


class Looks(nn.Module):
    """Encoder and decoder, and the features that the judge reads."""

    def __init__(self, network: Nano) -> None:
        super().__init__()
        self.encoder, self.decoder = network.encoder, network.decoder

    def forward(self, image: Tensor, prompt: Tensor, previous: Tensor) -> tuple[Tensor, ...]:
        half, quarter, eighth = self.encoder(image.permute(0, 3, 1, 2).float() / 127.5 - 1)
        # Repeats one image for all prompts. `expand` would make a constant of their number.
        nothing = prompt[:, :1, :1, :1] * 0
        look = self.decoder.look(half + nothing, quarter + nothing, eighth + nothing, prompt, previous)
        near = F.normalize(self.decoder.like_quarter.project(quarter), dim=1, eps=1e-3)
        far = F.normalize(self.decoder.like_eighth.project(eighth), dim=1, eps=1e-3)
        return look.logits, edges(half)[:, 0], near, far, look.fine, look.coarse, look.deep


def export(weights: Path, out: Path) -> list[Path]:
    """Write both files.

    Raises:
        NotEqual: the runtime's results differ from PyTorch's by more than half precision explains.
    """
    out.mkdir(parents=True, exist_ok=True)
    network, judge = load(weights)
    looks = Looks(folded(network)).eval()
    rows = {"image": 1, "edges": 1, **dict.fromkeys((*INPUTS[1:], OUTPUTS[0], *OUTPUTS[2:]), 2)}
    # Names of their own: a row of one array is not a row of another.
    axes = {
        name: {0: f"{name}_count", axis: f"{name}_rows", axis + 1: f"{name}_columns"} for name, axis in rows.items()
    }
    write(looks, example(2, 2, 192, 256), out / GRAPH, INPUTS, OUTPUTS, axes)
    for case in ((1, 1, 256, 256), (1, 3, 192, 320), (4, 4, 160, 160)):
        compare(looks, out / GRAPH, *case)
    np.savez(out / JUDGE, **judge_arrays(judge))
    return [out / GRAPH, out / JUDGE]


def judge_arrays(judge: Judge) -> dict[str, NDArray[np.float32]]:
    """The judge's weights, its members side by side: float32 [members, ...]."""
    state = judge.state_dict()
    names = {name.split(".", 2)[2] for name in state if name.startswith("members.")}
    arrays = {
        name: torch.stack([state[f"members.{index}.{name}"] for index in range(len(judge.members))]) for name in names
    }
    arrays |= {name: state[name] for name in ("middle", "spread")}
    return {name: values.float().numpy() for name, values in sorted(arrays.items())}


def example(images: int, prompts: int, rows: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs of the right shapes, values of the right sizes."""
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (images, rows // 16, columns // 16, 3)).astype(np.uint8)
    prompt = np.zeros((prompts, PROMPT_PLANES, rows // 4, columns // 4), np.float32)
    prompt[:, 0, rows // 8, columns // 8] = prompt[:, 7] = 1
    prompt[:, 2] = prompt[:, 4] = random.uniform(0, 1, prompt[:, 2].shape)
    previous = np.zeros((prompts, 1, rows // 2, columns // 2), np.float32)
    return torch.from_numpy(image.repeat(16, 1).repeat(16, 2)), torch.from_numpy(prompt), torch.from_numpy(previous)


def compare(looks: Looks, graph: Path, images: int, prompts: int, rows: int, columns: int) -> None:
    """Check ONNX Runtime against PyTorch.

    Raises:
        NotEqual: with the difference.
    """
    import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415

    inputs = example(images, prompts, rows, columns)
    with torch.no_grad():
        expected = [each.numpy() for each in looks(*inputs)]
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    found = session.run(None, {name: each.numpy() for name, each in zip(INPUTS, inputs, strict=True)})
    for name, theirs, ours in zip(OUTPUTS, found, expected, strict=True):
        difference = float(np.abs(theirs - ours).max() / np.abs(ours).max())
        if difference > _LARGEST_DIFFERENCE:
            raise NotEqual(f"ONNX Runtime's {name} differs from PyTorch's by {difference:.2%} of the largest value")
    print(f"{images} images, {prompts} prompts, {rows} x {columns}: equal to PyTorch")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.export", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = parser.parse_args(arguments)
    for path in export(options.weights, options.out):
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
