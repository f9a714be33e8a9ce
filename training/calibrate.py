"""Batch normalisation of an averaged network: the means and variances that its own weights lead to.

Averaged weights are shorter than those they average, so what flows through them is smaller than what averaged
statistics expect (Izmailov et al., 2018, section 3.2). With Muon's long steps that is no trifle: docs/decisions.md.
"""

import numpy as np
import torch
from torch import nn

from training.answering import answer, encode, grow
from training.batches import Batches, loader
from training.data import Library
from training.network import Nano
from training.rounds import Rounds

# Batches that training does not reach.
_FIRST = 2 * 10**7

_IMAGES, _SIDE, _PROMPTS = 9, 224, 2


@torch.no_grad()
def calibrate(network: Nano, library: Library, batches: int = 60, seed: int = 0) -> None:
    """Replace the statistics by their means over batches like those of the end of training."""
    norms = [each for each in network.modules() if isinstance(each, nn.BatchNorm2d)]
    usual = [each.momentum for each in norms]
    for each in norms:
        # Every batch counts the same, and the first replaces what was there.
        each.momentum = None
        each.num_batches_tracked.zero_()  # type: ignore[union-attr]
    made = loader(Batches(library, seed, _FIRST, _SIDE, _IMAGES, _PROMPTS), 1)
    for index in range(batches):
        batch = next(made)
        random = np.random.default_rng((seed, _FIRST, index))
        rounds = Rounds(batch, random)
        with torch.autocast("cpu", torch.bfloat16):
            network.eval()
            grow(network, encode(network, batch), rounds, random)
            network.train()
            answer(network, encode(network, batch), rounds)
    for each, momentum in zip(norms, usual, strict=True):
        each.momentum = momentum
    network.eval()
