"""What the network is told of its candidates."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the usual name

# Weight of the candidates where the prompt leaves no choice, or where the whole was meant.
_SPARE = 0.15

# How much more an outline counts than the rest, where it can be trusted.
_EDGE = 3.0


def mask_loss(logits: Tensor, truth: Tensor, edges: Tensor, focus: Tensor) -> Tensor:
    """Cross-entropy, more of it along outlines, and Dice [B, candidates].

    Args:
        logits: [B, candidates, h, w].
        truth: opacity [B, h, w].
        edges: [B], 0 to 1, how far the outline can be trusted.
        focus: [B, h, w], what each pixel counts in the cross-entropy.
    """
    wanted = truth[:, None]
    band = F.max_pool2d(wanted, 5, 1, 2) + F.max_pool2d(-wanted, 5, 1, 2)
    weight = (1 + _EDGE * edges[:, None, None, None] * band) * focus[:, None]
    weight = weight / weight.mean((2, 3), keepdim=True)
    wanted = wanted.expand_as(logits)
    entropy = (F.binary_cross_entropy_with_logits(logits, wanted, reduction="none") * weight).mean((2, 3))
    inside = torch.sigmoid(logits)
    shared = (inside * wanted).sum((2, 3))
    dice = 1 - (2 * shared + 1) / (inside.sum((2, 3)) + wanted.sum((2, 3)) + 1)
    return 2 * entropy + dice


def hard_iou(logits: Tensor, truth: Tensor) -> Tensor:
    """IoU [B, candidates] of what is above zero with what is more than half opaque."""
    answer, wanted = logits > 0, truth[:, None] > 0.5
    union = (answer | wanted).sum((2, 3)).clamp_min(1)
    return (answer & wanted).sum((2, 3)) / union


def loss(logits: Tensor, meant: Tensor, whole: Tensor, single: Tensor, weights: Tensor, focus: Tensor) -> Tensor:
    """Mean over the batch.

    The first candidate answers a single click with the whole object, and any other prompt with what is meant. Of the
    other two the nearer one learns what was meant.

    Args:
        logits: [B, 3, h, w].
        meant, whole: opacity [B, h, w].
        single: bool [B], the prompt is a single click.
        weights: [B, 3]: trust, edges, and how sure it is that `whole` is a whole object.
        focus: see `mask_loss`.
    """
    trust, edges, first = weights.unbind(1)
    on_meant = mask_loss(logits, meant, edges, focus)
    on_whole = mask_loss(logits[:, :1], whole, edges, focus)[:, 0]
    part = (meant - whole).abs().mean((1, 2)) > 1e-3
    answer = torch.where(single, on_whole * first, on_meant[:, 0])
    others = torch.where(single, on_meant[:, 1:].amin(1), on_meant[:, 1:].mean(1))
    others = others * torch.where(single & (part | (first < 1)), 1.0, _SPARE)
    return ((answer + others) * trust).mean()
