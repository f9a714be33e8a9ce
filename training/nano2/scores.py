"""Fit the judge of a trained network: what IoU to expect of a candidate, and which of three to give.

    python -m training.nano2.scores --data DIR --weights FILE

Scores depend on the answers and not the other way round, so they are fitted once the answers are final, on scenes, at
the end of a training run. This command continues on single clicks on photos that were trained on, and keeps what lies
half way between the two judges (Wortsman et al., Robust fine-tuning of zero-shot models, 2022). The judge in the file
is replaced. What ships was not refined: NOTES.md says why.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the usual name

from training.data import read_library
from training.judge import Judge, evidence
from training.nano2 import weights
from training.nano2.bank import is_held_out
from training.nano2.evaluate import Case, iou, largest, next_click
from training.nano2.fold import Folder, Prompt, Settings, put, scaled
from training.nano2.losses import hard_iou
from training.nano2.network import Nano
from training.nano2.rounds import Rounds

_AT_ONCE, _RATE = 1024, 6e-3
_REFINE_AT_ONCE, _REFINE_RATE = 256, 3e-3

# Scores closer than this hardly decide which answer is given.
_CLOSE = 0.05

Evidence = tuple[Tensor, Tensor, Tensor]


def fit(network: Nano, rounds: Rounds, batches: int, iterations: int = 600) -> Judge:
    """A judge of this network's answers to the prompts of rounds, which replace all items at every step."""
    seen, reached, single = _collect(network, rounds, batches)
    judge = Judge().to(seen.device)
    judge.middle.copy_(seen.mean((0, 1)))  # type: ignore[operator]
    judge.spread.copy_(seen.std((0, 1)) + 1e-3)  # type: ignore[operator]
    even = judge.even(seen)
    optimiser = torch.optim.AdamW(judge.parameters(), lr=_RATE, weight_decay=0.05)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, iterations)
    for _ in range(iterations):
        losses = []
        for member in judge.members:
            mine = torch.randint(len(even), (_AT_ONCE,), device=even.device)
            losses.append(_loss(member(even[mine]), reached[mine], single[mine]))
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        rate.step()
    judge.eval().requires_grad_(False)
    given = torch.sigmoid(judge.mean(even)).argmax(1, keepdim=True)
    chosen, first, best = (
        float(each[single > 0].mean()) for each in (reached.gather(1, given)[:, 0], reached[:, 0], reached.amax(1))
    )
    print(
        f"the judge was fitted on {len(even)} prompts; single clicks: first {first:.3f}, chosen {chosen:.3f}, "
        f"best {best:.3f}",
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
def _collect(network: Nano, rounds: Rounds, batches: int) -> Evidence:
    """Evidence [prompts, 3, EVIDENCE], IoU [prompts, 3], and which prompts are single clicks, float [prompts].

    Of every prompt its first look; of every third batch a second look too.
    """
    network.eval()
    found: list[Evidence] = []
    for number in range(batches):
        for batch in rounds.looks(2 if number % 3 == 0 else 1):
            with torch.autocast(batch.image.device.type, torch.bfloat16):
                features = network.encoder(batch.image / 127.5 - 1)
                look = network.decoder(*features, batch.prompt, batch.previous)
            shown = batch.weights[:, 0] > 0
            judged = evidence(network.decoder, look, features, batch.prompt)  # type: ignore[arg-type]
            reached = hard_iou(look.logits, batch.meant)
            found.append((judged[shown], reached[shown], batch.single[shown].float()))
            rounds.take(batch, look.logits)
    judged, reached, single = (torch.cat(each) for each in zip(*found, strict=True))
    return judged, reached, single


def refine(judge: Judge, found: Evidence, iterations: int, seed: int = 0) -> None:
    """Continue to fit a judge on little."""
    torch.manual_seed(seed)
    seen, reached, single = found
    even = judge.even(seen)
    judge.train().requires_grad_(True)
    optimiser = torch.optim.AdamW(judge.parameters(), lr=_REFINE_RATE, weight_decay=0.05)
    rate = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, iterations)
    for _ in range(iterations):
        losses = []
        for member in judge.members:
            mine = torch.randint(len(even), (_REFINE_AT_ONCE,))
            losses.append(_loss(member(even[mine]), reached[mine], single[mine]))
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        rate.step()
    judge.eval().requires_grad_(False)


def between(scenes: Judge, photos: Judge, share: float) -> dict[str, Tensor]:
    """Weights between those of two judges, the second of which was fitted from the first."""
    later = photos.state_dict()
    return {name: torch.lerp(each, later[name], share) for name, each in scenes.state_dict().items()}


@torch.no_grad()
def photographed(folder: Folder, cases: Sequence[Case], seed: int) -> Evidence:
    """Evidence of single clicks on objects, half of them in the middle; of every second case the second look too."""
    found: list[tuple[Tensor, list[float], float]] = []
    for number, case in enumerate(cases):
        image = folder.encode(case.pixels)
        prompt = Prompt((_click(case, np.random.default_rng((seed, number))),))
        asked = scaled(prompt, image.scale)
        rows, columns = image.pixels.shape[:2]
        whole = (0.0, 0.0, float(columns), float(rows))
        nothing = np.full((rows, columns), -8, np.float32)
        reach = _reach(case)
        logits, scores = folder.look(image, whole, asked, None, True, False)
        found += [(seen, [reach(put(nothing, each, whole)) for each in logits], 1.0) for seen in folder.seen]
        if number % 2 == 0:
            state = put(nothing, logits[int(scores.argmax())], whole)
            window = folder.window(image, asked, state)
            logits, _ = folder.look(image, window, asked, state, False, False)
            found += [(seen, [reach(put(state, each, window)) for each in logits], 0.0) for seen in folder.seen]
    seen, reached, single = zip(*found, strict=True)
    return torch.stack(seen), torch.tensor(reached), torch.tensor(single)


def _reach(case: Case) -> Callable[[NDArray[np.float32]], float]:
    columns, rows = case.mask.shape[1], case.mask.shape[0]
    return lambda logits: iou(case, cv2.resize(logits, (columns, rows), interpolation=cv2.INTER_LINEAR) > 0)


def _click(case: Case, random: np.random.Generator) -> tuple[float, float, int]:
    if random.random() < 0.5 and (middle := next_click(case, np.zeros_like(case.mask))):
        return middle
    depth = cv2.distanceTransform(np.pad(case.mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.nonzero(depth >= 0.5 * depth.max())
    chosen = random.integers(len(y))
    return float(x[chosen]) + 0.5, float(y[chosen]) + 0.5, 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.nano2.scores", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE")
    parser.add_argument("--per-source", type=int, default=60)
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--share", type=float, default=0.5, help="of the judge of photos")
    options = parser.parse_args(arguments)
    photos = [photo for photo in read_library(options.data, 384).photos if not is_held_out(photo.name)]
    cases = largest(photos, options.per_source)
    folder = Folder(options.weights, Settings(mirror=True))
    found = photographed(folder, cases, 0)
    network, before = weights.load(options.weights)
    refine(folder.judge, found, options.iterations)
    folder.judge.load_state_dict(between(before, folder.judge, options.share))
    weights.save(options.weights, network, folder.judge)
    print(f"the judge was fitted on {len(found[0])} looks at {len(cases)} objects")
    return 0


if __name__ == "__main__":
    sys.exit(main())
