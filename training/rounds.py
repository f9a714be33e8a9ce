"""A batch of prompts that grow, answer by answer, as a person would correct them."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskery.models.builtin.nano_prompt import prompt_planes
from training.batches import Batch
from training.clicks import Prompt, anywhere_off, careless_mask, correction, first_click, loose_box

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Rounds:
    """Prompts for every object of a batch, [images × prompts] in order; grids are half the images' side.

    Args:
        batch: what is asked about.
        random: for the clicks.
        pool: of threads that work on the prompts; the same clicks come of any number of them.
    """

    def __init__(self, batch: Batch, random: np.random.Generator, pool: ThreadPoolExecutor | None = None) -> None:
        self._map = pool.map if pool else map
        per_image = batch.meant.shape[1]
        self._colours = np.repeat(batch.colours, per_image, axis=0)
        self._masks: Bytes = (batch.meant.reshape(-1, *batch.meant.shape[2:]) > 127).astype(np.uint8)
        #: What the answer starts from, float32 [prompts, 1, rows, columns]; -1 to 1.
        self.previous = np.zeros((len(self._masks), 1, *self._masks.shape[1:]), np.float32)
        self._randoms = random.spawn(len(self._masks))
        self._prompts = list(self._map(self._begin, range(len(self._masks))))

    @property
    def ambiguous(self) -> NDArray[np.bool_]:
        """bool [prompts]."""
        return np.array([prompt.ambiguous for prompt in self._prompts])

    def planes(self) -> Floats:
        """The prompts as the network reads them, float32 [prompts, 8, rows / 2, columns / 2]."""
        return np.stack(list(self._map(self._planes, range(len(self._prompts)))))

    def correct(self, logits: Tensor) -> None:
        """Each prompt gets another click where its answer, logits [prompts, rows, columns], is most wrong."""
        answers = (logits > 0).to(torch.uint8).numpy()
        clicks = self._map(correction, self._masks, answers, self._randoms)
        for prompt, click in zip(self._prompts, clicks, strict=True):
            if click is not None:
                prompt.clicks.append(click)

    def remember(self, logits: Tensor, share: float) -> None:
        """Answers become what the next ones start from, for about that share of the prompts; nothing for the others."""
        inside = torch.tanh(logits.float() / 2).numpy()
        for index, prompt in enumerate(self._prompts):
            if prompt.drawn and len(prompt.clicks) < 2:
                continue
            self.previous[index, 0] = inside[index] if self._randoms[index].random() < share else 0.0

    def _planes(self, index: int) -> Floats:
        prompt = self._prompts[index]
        clicks = np.array(prompt.clicks, np.float32).reshape(-1, 3)
        box = None if prompt.box is None else (np.array(prompt.box) / 2).astype(np.float32)
        labels = clicks[:, 2].astype(np.uint8)
        points = ((clicks[:, :2] + 0.5) / 2).astype(np.float32)
        return prompt_planes(self._colours[index], points, labels, box, prompt.ambiguous)

    def _begin(self, index: int) -> Prompt:
        mask, random = self._masks[index], self._randoms[index]
        if not mask.any():
            # A part that vanished as the image shrank: nothing can be asked of it.
            return Prompt([(0, 0, 0)])
        kind = random.random()
        if kind < 0.78:
            return Prompt([first_click(mask, random)])
        if kind < 0.87:
            extra = [first_click(mask, random)] if random.random() < 0.3 else []
            return Prompt(extra, loose_box(mask, random))
        if kind < 0.95:
            clicks = [first_click(mask, random) for _ in range(random.integers(1, 5))]
            off = [anywhere_off(mask, random) for _ in range(random.integers(0, 4))]
            return Prompt(clicks + [click for click in off if click])
        drawn = careless_mask(mask, random)
        self.previous[index, 0] = drawn.astype(np.float32) * 2 - 1
        return Prompt([first_click(mask, random)] if random.random() < 0.4 else [], None, True)
