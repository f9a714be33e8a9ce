"""Fit the judge of a trained network: what IoU to expect of an answer, and which of three to give.

    python -m training.scores --data DIR --checkpoint FILE

Scores hang on the answers and not the other way round, so they are fitted once the answers are final: on scenes that
training has not shown. Before that the network's batch normalisation is measured anew. Both are kept in the same
checkpoint.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the usual name

from training import checkpoint
from training.answering import encode
from training.batches import Batches, loader
from training.calibrate import calibrate
from training.data import Library, open_data
from training.judge import Judge, evidence
from training.losses import hard_iou
from training.network import Nano
from training.rounds import Rounds
from training.views import Features, look_from_all

# Batches that training does not reach.
_FIRST = 10**7

_IMAGES, _SIDE, _PROMPTS = 8, 224, 2

_ITERATIONS, _AT_ONCE, _RATE = 500, 512, 6e-3

# Scores closer than this hardly decide which answer is given.
_CLOSE = 0.05


def finish(path: Path, library: Library, batches: int) -> None:
    """Give the average of a checkpoint the statistics and the judge that it ships with."""
    network = checkpoint.averaged(path)
    calibrate(network, library)
    checkpoint.keep_average(path, network)
    checkpoint.keep_judge(path, fit(network, library, batches))


def fit(network: Nano, library: Library, batches: int, seed: int = 0) -> Judge:
    """A judge of this network's answers."""
    seen, reached, ambiguous = _collect(network, library, batches, seed)
    judge = Judge()
    judge.middle.copy_(seen.mean((0, 1)))  # type: ignore[operator]
    judge.spread.copy_(seen.std((0, 1)) + 1e-3)  # type: ignore[operator]
    seen = judge.even(seen)
    optimiser = torch.optim.AdamW(judge.parameters(), lr=_RATE, weight_decay=0.05)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, _ITERATIONS)
    for _ in range(_ITERATIONS):
        losses = []
        for member in judge.members:
            mine = torch.randint(len(seen), (_AT_ONCE,))
            losses.append(_loss(member(seen[mine]), reached[mine], ambiguous[mine]))
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        rate.step()
    judge.eval().requires_grad_(False)
    print(f"the judge was fitted on {len(seen)} prompts: loss {float(_loss(judge.mean(seen), reached, ambiguous)):.3f}")
    return judge


def _loss(scores: Tensor, reached: Tensor, ambiguous: Tensor) -> Tensor:
    """Scores shall be the IoU, and the answer to a single click that is given by them shall be a good one."""
    right = F.binary_cross_entropy_with_logits(scores, reached)
    given = torch.softmax(torch.sigmoid(scores) / _CLOSE, 1)
    gained = (given * reached).sum(1) * ambiguous
    return right - gained.sum() / ambiguous.sum().clamp_min(1)


@torch.no_grad()
def _collect(network: Nano, library: Library, batches: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Evidence [prompts, 3, EVIDENCE], IoU [prompts, 3], and which prompts are single clicks, float [prompts].

    All the single clicks of the first round, on the image and the mirrored one; of every fourth batch another round,
    looked at twice, on the image alone: as they are answered.
    """
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    made = loader(Batches(library, seed, _FIRST, _SIDE, _IMAGES, _PROMPTS), 1)
    for index in range(batches):
        batch = next(made)
        rounds = Rounds(batch, np.random.default_rng((seed, _FIRST, index)))
        meant = torch.from_numpy(batch.meant).flatten(0, 1).float() / 255
        with torch.autocast("cpu", torch.bfloat16):
            half, quarter, eighth = encode(network, batch, views=2)
        logits, judged = _judged(network, (half, quarter, eighth), rounds)
        single = torch.from_numpy(rounds.ambiguous)
        reached = hard_iou(logits, meant)[single]
        found += [(each[single], reached, single[single].float()) for each in judged.chunk(2)]
        if index % 50 == 49:
            print(f"{index + 1} of {batches} batches answered", flush=True)
        if index % 4 == 0:
            features = half[: len(meant)], quarter[: len(meant)], eighth[: len(meant)]
            rounds.correct(logits[:, 0])
            rounds.remember(_judged(network, features, rounds)[0][:, 0], 1.0)
            logits, judged = _judged(network, features, rounds)
            found.append((judged, hard_iou(logits, meant), torch.from_numpy(rounds.ambiguous).float()))
    judged, reached, ambiguous = (torch.cat(each) for each in zip(*found, strict=True))
    return judged, reached, ambiguous


def _judged(network: Nano, features: Features, rounds: Rounds) -> tuple[Tensor, Tensor]:
    """Answers, logits [prompts, 3, rows, columns], and their evidence by every view, [views × prompts, 3, EVIDENCE]."""
    planes, previous = torch.from_numpy(rounds.planes()), torch.from_numpy(rounds.previous)
    with torch.autocast("cpu", torch.bfloat16):
        look, prompts = look_from_all(network.decoder, features, planes, previous)
    return look.logits[: len(planes)], evidence(network.decoder, look, features, prompts)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.scores", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE")
    parser.add_argument("--batches", type=int, default=600)
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    learned, _ = open_data(options.data)
    finish(options.checkpoint, learned, options.batches)
    return 0


if __name__ == "__main__":
    sys.exit(main())
