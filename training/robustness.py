"""How little an answer hangs on what should not matter: arithmetic, runtime, mirroring, turning.

    python -m training.robustness --data DIR

On photos that were held out, with the clicks of a person who was answered in f32 by OpenVINO. Deterministic.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray

from maskery.models.builtin import nano
from maskery.models.builtin.nano import Nano
from maskery.segmentation import Image, Model
from training.cases import Case, cases
from training.clicks import Click
from training.data import open_data
from training.evaluate import ask, deepest_error, iou

Bytes = NDArray[np.uint8]
Array = NDArray[Any]

_CLICKS = (1, 3)


@dataclass(frozen=True)
class Change:
    """Something that should not matter.

    Attributes:
        model: that answers.
        pixels: [rows, columns, …] turned or mirrored.
        back: an answer in the image's own direction.
        click: a click likewise, in an image of (rows, columns).
    """

    model: Model
    pixels: Callable[[Array], Array] = lambda pixels: pixels
    back: Callable[[Array], Array] = lambda mask: mask
    click: Callable[[Click, int, int], Click] = lambda click, rows, columns: click


class _OnnxRuntime:
    """`maskery.models.runtime.Network` by another runtime."""

    def __init__(self, graph: Path) -> None:
        self._session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, dict(inputs)), strict=True))


class _ByOnnxRuntime(Nano):
    @cached_property
    def _encoder(self) -> _OnnxRuntime:  # type: ignore[override]
        return _OnnxRuntime(self._folder / nano.ENCODER)

    @cached_property
    def _decoder(self) -> _OnnxRuntime:  # type: ignore[override]
        return _OnnxRuntime(self._folder / nano.DECODER)


def changes(folder: Path) -> dict[str, Change]:
    """By name."""
    plain = Nano("f32", folder)
    return {
        "bf16": Change(Nano("bf16", folder)),
        "ONNX Runtime": Change(_ByOnnxRuntime("f32", folder)),
        "mirrored": Change(
            plain, lambda p: p[:, ::-1], lambda m: m[:, ::-1], lambda c, rows, columns: (columns - 1 - c[0], c[1], c[2])
        ),
        "turned to the left": Change(
            plain, np.rot90, lambda m: np.rot90(m, -1), lambda c, rows, columns: (c[1], columns - 1 - c[0], c[2])
        ),
        "turned to the right": Change(
            plain, lambda p: np.rot90(p, -1), np.rot90, lambda c, rows, columns: (rows - 1 - c[1], c[0], c[2])
        ),
        "upside down": Change(
            plain,
            lambda p: p[::-1, ::-1],
            lambda m: m[::-1, ::-1],
            lambda c, rows, columns: (columns - 1 - c[0], rows - 1 - c[1], c[2]),
        ),
    }


def measure(found: Sequence[Case], folder: Path) -> dict[str, dict[str, list[float]]]:
    """IoU with the answer in f32 by change and clicks: [mean, lowest]."""
    plain = Nano("f32", folder)
    tried = changes(folder)
    agreed: dict[str, dict[str, list[float]]] = {name: {str(clicks): [] for clicks in _CLICKS} for name in tried}
    for case in found:
        embeddings = {name: each.model.encode(_image(each.pixels(case.pixels))) for name, each in tried.items()}
        embedding = plain.encode(Image(case.pixels))
        answer = np.zeros_like(case.mask)
        clicks: list[Click] = []
        while len(clicks) < max(_CLICKS):
            click = deepest_error(case.mask, answer)
            if click is None:
                break
            clicks.append(click)
            answer = ask(plain, embedding, clicks)[0][0]
            if len(clicks) in _CLICKS:
                for name, each in tried.items():
                    moved = [each.click(click, *case.mask.shape) for click in clicks]
                    again = each.back(ask(each.model, embeddings[name], moved)[0][0])
                    agreed[name][str(len(clicks))].append(iou(answer, again))
    return {
        name: {clicks: [round(float(np.mean(each)), 4), round(min(each), 4)] for clicks, each in by_clicks.items()}
        for name, by_clicks in agreed.items()
    }


def _image(pixels: Bytes) -> Image:
    return Image(np.ascontiguousarray(pixels))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.robustness", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--graphs", type=Path, default=Path(nano.__file__).parent, metavar="DIR", help="else the shipped"
    )
    parser.add_argument("--per-source", type=int, default=15, help="cases, at most")
    options = parser.parse_args(arguments)
    found = cases(open_data(options.data)[1], options.per_source)
    print(json.dumps({"cases": len(found), "mean and lowest IoU": measure(found, options.graphs)}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
