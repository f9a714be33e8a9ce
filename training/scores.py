"""Fit the judge of a trained network: what IoU to expect of a candidate, and which of three to give.

    python -m training.scores --evidence DIR --weights FILE

Scores depend on the answers and not the other way round, so they are fitted once the answers are final: on scenes, with
prompts of every kind, and on single clicks on photos, which tell what people mean. A training run collects that
evidence, fits the judge and keeps the evidence beside the weights; this command fits again, and replaces the judge.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the usual name

from training import weights
from training.bank import Bank
from training.judge import Judge, evidence
from training.losses import hard_iou
from training.network import Nano
from training.rounds import Rounds, Shape
from training.scenes import Renderer, SceneSpec

# Heavy regularisation: photos that were trained on are answered better than others.
_AT_ONCE, _RATE, _DECAY, _SPARE = 768, 6e-3, 0.5, 0.4

# Scores closer than this hardly decide which answer is given.
_CLOSE = 0.05

# Share of photos in what a judge is fitted on.
_OF_PHOTOS = 0.7

# Of photos: the share that an object has, at least, and how many of the largest are asked for.
_LEAST_SHARE, _OF_A_PHOTO = 0.01, 3

_STORED = ("seen", "reached", "single")

Evidence = tuple[Tensor, Tensor, Tensor]


def fit(scenes: Evidence, photos: Evidence | None = None, iterations: int = 600) -> Judge:
    """A judge of a network's answers; photos get a share of every batch."""
    parts = [(1 - _OF_PHOTOS, scenes), (_OF_PHOTOS, photos)] if photos else [(1.0, scenes)]
    seen = torch.cat([part[0] for _, part in parts])
    judge = Judge().to(seen.device)
    judge.middle.copy_(seen.mean((0, 1)))  # type: ignore[operator]
    judge.spread.copy_(seen.std((0, 1)) + 1e-3)  # type: ignore[operator]
    even = [(int(share * _AT_ONCE), judge.even(part[0]), *part[1:]) for share, part in parts]
    for member in judge.members:
        member.spare.p = _SPARE  # type: ignore[assignment, union-attr]
    optimiser = torch.optim.AdamW(judge.parameters(), lr=_RATE, weight_decay=_DECAY)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, iterations)
    for _ in range(iterations):
        losses = []
        for member in judge.members:
            drawn = [
                tuple(each[mine] for each in part)
                for count, *part in even
                for mine in [torch.randint(len(part[0]), (count,), device=seen.device)]
            ]
            shown, reached, single = (torch.cat(each) for each in zip(*drawn, strict=True))
            losses.append(_loss(member(shown), reached, single))
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        rate.step()
    judge.eval().requires_grad_(False)
    for _, (shown, reached, single) in parts:
        asked, iou = judge(shown[single > 0]), reached[single > 0]
        chosen = iou.gather(1, asked.argmax(1, keepdim=True))
        print(
            f"the judge was fitted on {len(shown)} prompts; single clicks: first {iou[:, 0].mean():.3f}, "
            f"chosen {chosen.mean():.3f}, best {iou.amax(1).mean():.3f}",
            flush=True,
        )
    return judge


def _loss(scores: Tensor, reached: Tensor, single: Tensor) -> Tensor:
    """Scores shall be the IoU, and the answer to a single click that is given by them shall be a good one."""
    right = F.binary_cross_entropy_with_logits(scores, reached)
    given = torch.softmax(torch.sigmoid(scores) / _CLOSE, 1)
    gained = (given * reached).sum(1) * single
    return right - gained.sum() / single.sum().clamp_min(1)


@torch.no_grad()
def collect(network: Nano, rounds: Rounds, batches: int) -> Evidence:
    """Evidence [prompts, 3, EVIDENCE], IoU [prompts, 3], and which prompts are single clicks, float [prompts].

    The rounds replace all items at every step. Of every prompt its first look, single clicks in the mean of both views;
    of every third batch a second look too.
    """
    found = [each[:3] for each in _looked_at(network, rounds, batches)]
    seen, reached, single = (torch.cat(each) for each in zip(*found, strict=True))
    return seen, reached, single


@torch.no_grad()
def _looked_at(network: Nano, rounds: Rounds, batches: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """See `collect`; and the places in the batch of these prompts."""
    network.eval()
    for number in range(batches):
        for batch in rounds.looks(2 if number % 3 == 0 else 1):
            single = batch.single[:, None, None, None]
            with torch.autocast(batch.image.device.type, torch.bfloat16):
                shown = batch.image / 127.5 - 1
                features = network.encoder(shown)
                look = network.decoder(*features, batch.prompt, batch.previous)
                turned = network.decoder(*network.encoder(shown.flip(3)), batch.prompt.flip(3), batch.previous.flip(3))
            both = (look.logits + turned.logits.flip(3)) / 2
            look = look._replace(logits=torch.where(single, both, look.logits))
            there = (batch.weights[:, 0] > 0).nonzero()[:, 0]
            judged = evidence(network.decoder, look, features, batch.prompt)  # type: ignore[arg-type]
            reached = hard_iou(look.logits, batch.meant)
            yield judged[there], reached[there], batch.single[there].float(), there
            rounds.take(batch, look.logits)


class Photographs:
    """A `SpecSource` of photos as they are, sources alike, in which one of the largest whole objects is asked for."""

    def __init__(self, bank: Bank, seed: int = 0) -> None:
        self._bank, self._random = bank, np.random.default_rng(seed)
        self._asked: dict[str, list[tuple[int, int]]] = {}
        for photo, source in enumerate(bank.sources.tolist()):
            least = _LEAST_SHARE * float(bank.sizes[photo].prod())
            mine = np.flatnonzero((bank.owners == photo) & bank.wholes & (bank.areas > least))
            if len(mine):
                largest = mine[np.argsort(-bank.areas[mine])][:_OF_A_PHOTO]
                self._asked.setdefault(source, []).append((photo, largest.tolist()))
        #: Sources of what was drawn, in order.
        self.drawn: list[str] = []

    def draw(self, count: int, side: int) -> list[SceneSpec]:
        """So many specs."""
        random, names = self._random, list(self._asked)
        specs = []
        for name in random.choice(names, count):
            photo, masks = self._asked[name][random.integers(len(self._asked[name]))]
            mask = masks[random.integers(len(masks))]
            columns, rows = (float(each) for each in self._bank.sizes[photo])
            width, height = (each * random.uniform(0.8, 1.0) for each in (columns, rows))
            middle = random.uniform(0, 1, 2) * (columns - width, rows - height) + (width / 2, height / 2)
            flip = random.choice((-1.0, 1.0))
            matrix = np.column_stack((np.diag((flip * width / 2, height / 2)), middle))
            turns = int(random.choice(4, p=(0.7, 0.1, 0.1, 0.1)))
            specs.append(SceneSpec(photo, matrix, meant=int(mask), whole=int(mask), turns=turns))
            self.drawn.append(str(name))
        return specs


def of_photos(
    network: Nano, bank: Bank, renderer: Renderer, shape: Shape, batches: int, device: torch.device
) -> tuple[Evidence, NDArray[np.str_]]:
    """What `collect` gives of single clicks on photos, and the sources of these."""
    photographs = Photographs(bank)
    rounds = Rounds(photographs, renderer, shape, np.random.default_rng(1), device, prompts=(1.0, 0.0, 0.0, 0.0))
    found, sources = [], []
    begun = -1
    for seen, reached, single, there in _looked_at(network, rounds, batches):
        begun += bool(single.any())
        names = np.array(photographs.drawn[begun * shape.items : (begun + 1) * shape.items])
        found.append((seen, reached, single))
        sources.append(names[there.cpu().numpy()])
    seen, reached, single = (torch.cat(each) for each in zip(*found, strict=True))
    return (seen, reached, single), np.concatenate(sources)


def save_evidence(path: Path, found: Evidence, sources: NDArray[np.str_] | None = None) -> None:
    """Write evidence, in half precision, and the sources of its photos."""
    arrays = {name: each.half().cpu().numpy() for name, each in zip(_STORED, found, strict=True)}
    np.savez_compressed(path, **arrays, **({} if sources is None else {"sources": sources}))


def load_evidence(path: Path) -> Evidence:
    """What `save_evidence` wrote."""
    with np.load(path) as stored:
        seen, reached, single = (torch.from_numpy(stored[name]).float() for name in _STORED)
    return seen, reached, single


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.scores", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--evidence", type=Path, required=True, metavar="DIR", help="that a training run wrote to")
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE")
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)
    scenes, photos = (load_evidence(options.evidence / f"{name}.npz") for name in ("scenes", "photos"))
    network, _ = weights.load(options.weights)
    weights.save(options.weights, network, fit(scenes, photos, options.iterations))
    return 0


if __name__ == "__main__":
    sys.exit(main())
