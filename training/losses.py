"""What the network is told of its answers."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the usual name

# Weight of the alternatives where the prompt leaves no choice, or where the whole was meant.
_SPARE = 0.2
_SCORE = 0.3


def mask_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy and Dice [B, outputs] of logits [B, outputs, h, w] against opacity [B, h, w]."""
    wanted = truth[:, None].expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean((2, 3))
    inside = torch.sigmoid(logits)
    shared = (inside * wanted).sum((2, 3))
    dice = 1 - (2 * shared + 1) / (inside.sum((2, 3)) + wanted.sum((2, 3)) + 1)
    return 2 * entropy + dice


def hard_iou(logits: Tensor, truth: Tensor) -> Tensor:
    """IoU [B, outputs] of what is above zero with what is more than half opaque."""
    answer, wanted = logits > 0, truth[:, None] > 0.5
    union = (answer | wanted).sum((2, 3)).clamp_min(1)
    return (answer & wanted).sum((2, 3)) / union


def loss(logits: Tensor, scores: Tensor, meant: Tensor, whole: Tensor, ambiguous: Tensor) -> tuple[Tensor, Tensor]:
    """Loss, and its score part; both means over the batch.

    The first output answers a single click with the whole thing, and any other prompt with what is meant. Of the
    other two the nearer one learns what was meant; the scores learn the IoU with it.

    Args:
        logits: [B, 3, h, w].
        scores: [B, 3], logits of the expected IoU.
        meant, whole: opacity [B, h, w].
        ambiguous: bool [B], the prompt is a single click.
    """
    on_meant = mask_loss(logits, meant)
    on_whole = mask_loss(logits[:, :1], whole)[:, 0]
    part = (meant - whole).abs().mean((1, 2)) > 1e-3
    first = torch.where(ambiguous, on_whole, on_meant[:, 0])
    others = torch.where(ambiguous, on_meant[:, 1:].amin(1), on_meant[:, 1:].mean(1))
    others = others * torch.where(ambiguous & part, 1.0, _SPARE)
    scored = F.binary_cross_entropy_with_logits(scores, hard_iou(logits.detach(), meant))
    total = (first + others).mean() + _SCORE * scored
    return total, scored.detach()
