"""Write the graphs that ship: ONNX with half-precision weights, compared with PyTorch in two runtimes.

python -m training.export --checkpoint FILE --out DIR
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskery.models.builtin.nano_prompt import PLANES
from training import checkpoint
from training.graphs import folded, write
from training.judge import Judge, evidence
from training.network import Decoder, Nano
from training.views import look_from_all

Arrays = Mapping[str, NDArray[np.float32]]

ENCODER, DECODER = "nano-encoder.onnx", "nano-decoder.onnx"
FEATURES = ("half", "quarter", "eighth")
ANSWERS = ("logits", "scores")

# Half-precision weights move a pixel or two across the threshold, and with them what a score is made of.
_SCORE = 0.03


class NotEqual(AssertionError):  # noqa: N818 - the name states what was found
    """A runtime computes something else than PyTorch."""


class _Encode(nn.Module):
    def __init__(self, network: Nano) -> None:
        super().__init__()
        self.encoder = network.encoder

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        half, quarter, eighth = self.encoder(image / 127.5 - 1)
        return half, quarter, eighth


class _Decode(nn.Module):
    """Answers to a prompt from all views of its image, and what the judge expects of them."""

    def __init__(self, decoder: Decoder, judge: Judge) -> None:
        super().__init__()
        self.decoder, self.judge = decoder, judge

    def forward(
        self, half: Tensor, quarter: Tensor, eighth: Tensor, prompt: Tensor, previous: Tensor
    ) -> tuple[Tensor, Tensor]:
        features = half, quarter, eighth
        look, prompts = look_from_all(self.decoder, features, prompt, previous)
        scores = torch.sigmoid(self.judge(evidence(self.decoder, look, features, prompts)))
        return look.logits[:1], scores.mean(0, keepdim=True)


def export(network: Nano, judge: Judge, out: Path) -> tuple[Path, Path]:
    """Write both graphs.

    Raises:
        NotEqual: a runtime's results differ from PyTorch's by more than half precision explains.
    """
    out.mkdir(parents=True, exist_ok=True)
    network = folded(network)
    inputs = example(192, 256, 2)
    encode, decode = _Encode(network).eval(), _Decode(network.decoder, judge).eval()
    with torch.no_grad():
        features = encode(torch.from_numpy(inputs["image"]))
    encoder, decoder = out / ENCODER, out / DECODER
    features_axes = {name: {0: "views", 2: f"{name}_rows", 3: f"{name}_columns"} for name in FEATURES}
    axes = {"image": {0: "views", 2: "rows", 3: "columns"}, **features_axes}
    write(encode, (torch.from_numpy(inputs["image"]),), encoder, ("image",), FEATURES, axes)
    given = (*features, torch.from_numpy(inputs["prompt"]), torch.from_numpy(inputs["previous"]))
    axes = {
        **features_axes,
        **{name: {2: f"{name}_rows", 3: f"{name}_columns"} for name in ("prompt", "previous", "logits")},
    }
    write(decode, given, decoder, (*FEATURES, "prompt", "previous"), ANSWERS, axes)
    for views, rows, columns in ((1, 256, 256), (2, 192, 320)):
        compare(network, judge, encoder, decoder, example(rows, columns, views))
    return encoder, decoder


def example(rows: int, columns: int, views: int) -> dict[str, NDArray[np.float32]]:
    """Inputs of the right shapes, values of the right sizes; one view, or two, the second mirrored."""
    random = np.random.default_rng(0)
    coarse = random.uniform(0, 255, (1, 3, rows // 16, columns // 16)).astype(np.float32)
    prompt = np.zeros((1, PLANES, rows // 4, columns // 4), np.float32)
    prompt[:, 0, rows // 8, columns // 8] = prompt[:, 7] = 1
    prompt[:, 2] = prompt[:, 4] = random.uniform(0, 1, prompt[:, 2].shape)
    previous = np.zeros((1, 1, rows // 2, columns // 2), np.float32)
    image = coarse.repeat(16, 2).repeat(16, 3)
    shown = np.concatenate([image, image[..., ::-1]][:views])
    return {"image": shown, "prompt": prompt, "previous": previous}


def compare(network: Nano, judge: Judge, encoder: Path, decoder: Path, inputs: Arrays) -> None:
    """Check both runtimes against PyTorch.

    Raises:
        NotEqual: with the runtime and the difference.
    """
    with torch.no_grad():
        features = _Encode(network)(torch.from_numpy(inputs["image"]))
        given = (torch.from_numpy(inputs[name]) for name in ("prompt", "previous"))
        answer = _Decode(network.decoder, judge)(*features, *given)
        expected, scores = (each.numpy() for each in answer)
    for runtime in (_openvino, _onnxruntime):
        kept = runtime(encoder, {"image": inputs["image"]}, FEATURES)
        prompt = {name: inputs[name] for name in ("prompt", "previous")}
        found = runtime(decoder, {**kept, **prompt}, ANSWERS)
        difference = float(np.abs(found["logits"] - expected).max() / np.abs(expected).max())
        off = float(np.abs(found["scores"] - scores).max())
        print(f"{runtime.__name__[1:]}: logits differ by {difference:.2%} of the largest, scores by {off:.4f}")
        if difference > 0.02:
            raise NotEqual(f"{runtime.__name__[1:]} differs from PyTorch by {difference:.2%} of the largest logit")
        if off > _SCORE:
            raise NotEqual(f"{runtime.__name__[1:]} differs from PyTorch by {off:.4f} in a score")


def _openvino(graph: Path, inputs: Arrays, outputs: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    from maskery.models.runtime import Graph, Network  # noqa: PLC0415 - OpenVINO only where it is compared with

    return Network(lambda: Graph(graph), "f32", outputs).run(inputs)


def _onnxruntime(graph: Path, inputs: Arrays, outputs: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return dict(zip(outputs, session.run(list(outputs), dict(inputs)), strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.export", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder")
    options = parser.parse_args(arguments)
    for path in export(checkpoint.averaged(options.checkpoint), checkpoint.judge(options.checkpoint), options.out):
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
