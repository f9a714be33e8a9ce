"""`maskery/nano` by the fold in PyTorch."""

from dataclasses import replace
from pathlib import Path

from nano_cases import Case

from maskery.models.builtin.nano_orientation import Orientation
from maskery.models.builtin.nano_window import copy_of
from maskery.segmentation import Size
from training.fold import Folder, Prompt, State

WEIGHTS = Path(__file__).parents[1] / "training/weights.safetensors"


class NanoOracle:
    """Answers cases in the server's orientation with the weights from which its graph was written."""

    def __init__(self) -> None:
        self._folder = Folder(WEIGHTS)

    def answer(self, case: Case) -> State:
        pixels = case.image.pixels
        orientation, size = Orientation.of(copy_of(pixels)), Size(*pixels.shape[1::-1])
        asked = orientation.prompt(case.prompt, size)
        points = tuple(
            (x, y, label) for (x, y), label in zip(asked.points.tolist(), asked.labels.tolist(), strict=True)
        )
        box = None if asked.box is None else tuple(asked.box.tolist())
        found = self._folder.answer(self._folder.encode(orientation.apply(pixels)), Prompt(points, box))
        return replace(
            found,
            logits=orientation.undo(found.logits),
            candidates=tuple(orientation.undo(each) for each in found.candidates),
        )
