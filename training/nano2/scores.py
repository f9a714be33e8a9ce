"""Fit the judge of a trained network: what IoU to expect of a candidate, and which of three to give.

Scores depend on the answers and not the other way round, so they are fitted once the answers are final.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the usual name

from training.judge import Judge, evidence
from training.nano2.losses import hard_iou
from training.nano2.network import Nano
from training.nano2.rounds import Rounds

_AT_ONCE, _RATE = 1024, 6e-3

# Scores closer than this hardly decide which answer is given.
_CLOSE = 0.05


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
def _collect(network: Nano, rounds: Rounds, batches: int) -> tuple[Tensor, Tensor, Tensor]:
    """Evidence [prompts, 3, EVIDENCE], IoU [prompts, 3], and which prompts are single clicks, float [prompts].

    Of every prompt its first look; of every third batch a second look too.
    """
    network.eval()
    found: list[tuple[Tensor, Tensor, Tensor]] = []
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
