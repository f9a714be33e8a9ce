"""`maskery/nano` by the fold in PyTorch."""

from pathlib import Path

from nano_cases import Case

from training.fold import Folder, Prompt, State

WEIGHTS = Path(__file__).parents[1] / "training/weights.safetensors"


class NanoOracle:
    """Answers cases with the weights from which the server's graph was written."""

    def __init__(self) -> None:
        self._folder = Folder(WEIGHTS)

    def answer(self, case: Case) -> State:
        return self._folder.answer(self._folder.encode(case.image.pixels), Prompt(case.points, case.box))
