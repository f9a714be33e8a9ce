"""Write the two graphs that a server runs: ONNX with half-precision weights, compared with PyTorch in ONNX Runtime.

python -m training.nano2.export --weights FILE --out DIR

`nano2-encoder.onnx`: image [V, 3, S, S], 0 to 255, to features at a half, a quarter and an eighth, and `colours`, from
which `planes.prompt_planes` are made.
`nano2-decoder.onnx`: features [V × B, ...], prompt [B, 10, S/4, S/4] and previous [B, 1, S/2, S/2] to logits
[B, 3, S/2, S/2] and scores [B, 3]. B objects are answered at once. V is 1, or 2 with the mirror image after the image,
view by view: the mean of both answers counts.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.graphs import folded, write
from training.judge import Judge, evidence
from training.nano2.network import PROMPT_PLANES, Decoder, Nano
from training.nano2.planes import opponent
from training.nano2.weights import load
from training.views import mirrored

FEATURES = ("half", "quarter", "eighth")
ENCODER, DECODER = "nano2-encoder.onnx", "nano2-decoder.onnx"

# Half-precision weights move a cell or two across the threshold.
_LOGITS, _SCORE = 0.02, 0.03


class NotEqual(AssertionError):  # noqa: N818 - the name states what was found
    """The runtime computes something else than PyTorch."""


class Encode(nn.Module):
    """Features and colours of images."""

    def __init__(self, network: Nano) -> None:
        super().__init__()
        self.encoder = network.encoder

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return (*self.encoder(image / 127.5 - 1), opponent(image))


class Decode(nn.Module):
    """Candidates and scores of prompts."""

    def __init__(self, decoder: Decoder, judge: Judge) -> None:
        super().__init__()
        self.decoder, self.judge = decoder, judge

    def forward(
        self, half: Tensor, quarter: Tensor, eighth: Tensor, prompt: Tensor, previous: Tensor
    ) -> tuple[Tensor, Tensor]:
        # Not `len`, which the exporter would take for a constant.
        objects = prompt.shape[0]
        turned = torch.ones_like(half[:, :1, :1, :1]).unflatten(0, (-1, objects)).cumsum(0) > 1.5

        def shown(x: Tensor) -> Tensor:
            """[V, B, ...] or [1, B, ...] as each view shows it, or, as that is its own inverse, back; [V, B, ...]."""
            return torch.where(turned, mirrored(x), x)

        prompts = shown(prompt[None]).flatten(0, 1)
        look = self.decoder.look(half, quarter, eighth, prompts, shown(previous[None]).flatten(0, 1))
        together = shown(look.logits.unflatten(0, (-1, objects))).mean(0, keepdim=True)
        look = look._replace(logits=shown(together).flatten(0, 1))
        found = evidence(self.decoder, look, (half, quarter, eighth), prompts)  # type: ignore[arg-type]
        scores = torch.sigmoid(self.judge(found)).unflatten(0, (-1, objects)).mean(0)
        return together[0], scores


def export(weights: Path, out: Path) -> tuple[Path, Path]:
    """Write both graphs.

    Raises:
        NotEqual: the runtime's results differ from PyTorch's by more than half precision explains.
    """
    out.mkdir(parents=True, exist_ok=True)
    network, judge = load(weights)
    network = folded(network)
    encode, decode = Encode(network).eval(), Decode(network.decoder, judge).eval()
    image, prompt, previous = example(192, 256, 2)
    encoder, decoder = out / ENCODER, out / DECODER
    axes = {name: {0: "views", 2: f"{name}_rows", 3: f"{name}_columns"} for name in ("image", *FEATURES, "colours")}
    write(encode, (image,), encoder, ("image",), (*FEATURES, "colours"), axes)
    with torch.no_grad():
        features = _repeated(encode(image)[:3], len(prompt))
    axes = {name: {0: "looks", 2: f"{name}_rows", 3: f"{name}_columns"} for name in FEATURES}
    axes |= {name: {0: "objects", 2: f"{name}_rows", 3: f"{name}_columns"} for name in ("prompt", "previous", "logits")}
    axes |= {"scores": {0: "objects"}}
    names = (*FEATURES, "prompt", "previous")
    write(decode, (*features, prompt, previous), decoder, names, ("logits", "scores"), axes)
    for views, rows, columns, objects in ((1, 256, 256, 1), (2, 192, 320, 1), (1, 160, 160, 8)):
        compare(encode, decode, encoder, decoder, example(rows, columns, views, objects))
    return encoder, decoder


def example(rows: int, columns: int, views: int, objects: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Image, prompts and previous masks of the right shapes, values of the right sizes."""
    random = np.random.default_rng(0)
    image = random.uniform(0, 255, (1, 3, rows // 16, columns // 16)).astype(np.float32).repeat(16, 2).repeat(16, 3)
    prompt = np.zeros((objects, PROMPT_PLANES, rows // 4, columns // 4), np.float32)
    prompt[:, 0, rows // 8, columns // 8] = prompt[:, 7] = 1
    prompt[:, 2] = prompt[:, 4] = random.uniform(0, 1, prompt[:, 2].shape)
    previous = np.zeros((objects, 1, rows // 2, columns // 2), np.float32)
    shown = np.concatenate([image, image[..., ::-1]][:views])
    return torch.from_numpy(shown), torch.from_numpy(prompt), torch.from_numpy(previous)


def compare(
    encode: Encode, decode: Decode, encoder: Path, decoder: Path, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    """Check ONNX Runtime against PyTorch.

    Raises:
        NotEqual: with the difference.
    """
    image, prompt, previous = inputs
    with torch.no_grad():
        features = _repeated(encode(image)[:3], len(prompt))
        logits, scores = (each.numpy() for each in decode(*features, prompt, previous))
    kept = run(encoder, {"image": image.numpy()})[:3]
    given = dict(
        zip(
            FEATURES,
            (each.numpy() for each in _repeated([torch.from_numpy(e) for e in kept], len(prompt))),
            strict=True,
        )
    )
    found = run(decoder, {**given, "prompt": prompt.numpy(), "previous": previous.numpy()})
    difference = float(np.abs(found[0] - logits).max() / np.abs(logits).max())
    off = float(np.abs(found[1] - scores).max())
    case = f"{len(image)} views, {len(prompt)} objects"
    print(f"{case}: logits differ by {difference:.2%} of the largest, scores by {off:.4f}")
    if difference > _LOGITS or off > _SCORE:
        raise NotEqual(
            f"ONNX Runtime differs from PyTorch by {difference:.2%} of the largest logit, by {off:.4f} in a score"
        )


def run(graph: Path, inputs: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Outputs of a graph in ONNX Runtime."""
    import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    found: list[NDArray[np.float32]] = session.run(None, inputs)
    return found


def _repeated(features: Sequence[Tensor], objects: int) -> tuple[Tensor, ...]:
    """One of each for every object, view by view."""
    return tuple(each.repeat_interleave(objects, 0) for each in features)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.nano2.export", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = parser.parse_args(arguments)
    for path in export(options.weights, options.out):
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
