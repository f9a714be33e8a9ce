"""Fit the scores of a trained network: what IoU to expect of an answer that looks like this.

    python -m training.scores --data DIR --checkpoint FILE

Scores hang on the answers and not the other way round, so they are fitted anew once the answers are final: from
scenes that training has not shown, into the same checkpoint.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the usual name

from training import checkpoint
from training.batches import Batches, loader
from training.data import Library, read_library, split
from training.losses import hard_iou
from training.network import Nano, clues
from training.rounds import Rounds

# Batches that training does not reach.
_FIRST = 10**7

_PICTURES, _SIDE, _ITERATIONS = 8, 224, 600


def fit(network: Nano, library: Library, batches: int, seed: int = 0) -> float:
    """Fit the score head; the mean loss that is left."""
    seen, reached = _collect(network, library, batches, seed)
    head = [network.decoder.which, *network.decoder.score.parameters()]
    for weights in head:
        weights.requires_grad_(True)
    optimiser = torch.optim.AdamW(head, lr=0.01, weight_decay=1e-3)
    for _ in range(_ITERATIONS):
        loss = F.binary_cross_entropy_with_logits(network.decoder.scores(seen), reached)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return float(loss.detach())


@torch.no_grad()
def _collect(network: Nano, library: Library, batches: int, seed: int) -> tuple[Tensor, Tensor]:
    """Clues [prompts, 3, CLUES] and IoU [prompts, 3] of answers to single clicks, and of half as many to others."""
    seen, reached = [], []
    made = loader(Batches(library, seed, _FIRST, _SIDE, _PICTURES, 2), 1)
    for index in range(batches):
        batch = next(made)
        rounds = Rounds(batch, np.random.default_rng((seed, _FIRST, index)))
        meant = torch.from_numpy(batch.meant).flatten(0, 1).float() / 255
        with torch.autocast("cpu", torch.bfloat16):
            picture = torch.from_numpy(batch.pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
            features = tuple(each.repeat_interleave(2, 0) for each in network.encoder(picture))
            for last in (index % 2 == 0, True):
                planes, previous = torch.from_numpy(rounds.planes()), torch.from_numpy(rounds.previous)
                logits, _ = network.decoder(*features, planes, previous)
                seen.append(clues(logits, planes))
                reached.append(hard_iou(logits, meant))
                if last:
                    break
                rounds.correct(logits[:, 0])
    return torch.cat(seen), torch.cat(reached)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.scores", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE")
    parser.add_argument("--batches", type=int, default=100)
    options = parser.parse_args(arguments)
    # The process that makes scenes is a fork of this one, which OpenCV's threads would not survive.
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    learned, _ = split(read_library(options.data))
    network = checkpoint.averaged(options.checkpoint)
    print(f"loss of the scores: {fit(network, learned, options.batches):.4f}")
    checkpoint.replace_average(options.checkpoint, network)
    return 0


if __name__ == "__main__":
    sys.exit(main())
