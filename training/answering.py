"""A network's answers to a batch of prompts, in the arithmetic of training."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.batches import Batch
from training.network import Nano
from training.rounds import Rounds
from training.views import Features, mirrored

# How many corrections come before the answer that is learned from, and how often.
_CORRECTIONS = (0.5, 0.22, 0.14, 0.09, 0.05)

# How often an answer is given a second look without another click.
_SECOND_LOOK = 0.25


def encode(network: Nano, batch: Batch, views: int = 1) -> Features:
    """What the encoder keeps, one of each for every prompt, view by view: see `training.views`."""
    image = tensor(network, batch.pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    image = torch.cat([image, mirrored(image)][:views])
    kept = network.encoder(image.contiguous(memory_format=torch.channels_last))
    half, quarter, eighth = (each.repeat_interleave(batch.meant.shape[1], 0) for each in kept)
    return half, quarter, eighth


def answer(network: Nano, features: Features, rounds: Rounds) -> tuple[Tensor, Tensor]:
    """Logits [prompts, 3, rows, columns] and logits of their expected IoU [prompts, 3]."""
    planes, previous = tensor(network, rounds.planes()), tensor(network, rounds.previous)
    logits, scores = network.decoder(*features, planes, previous)
    return logits, scores


@torch.no_grad()
def grow(network: Nano, features: Features, rounds: Rounds, random: np.random.Generator) -> None:
    """Corrections and second looks, as many as come before an answer that is learned from."""
    learning = network.training
    network.eval()
    for _ in range(random.choice(len(_CORRECTIONS), p=_CORRECTIONS)):
        logits = answer(network, features, rounds)[0][:, 0].cpu()
        rounds.correct(logits)
        rounds.remember(logits, 0.55)
    if random.random() < _SECOND_LOOK:
        rounds.remember(answer(network, features, rounds)[0][:, 0].cpu(), 1.0)
    network.train(learning)


def tensor(network: Nano, array: NDArray[np.generic]) -> Tensor:
    """The array where the network is."""
    return torch.from_numpy(array).to(next(network.parameters()).device, non_blocking=True)
