"""Which of three answers is the one that was meant, and how good it is: the scores that ship.

An answer is judged by what it encloses: whether inside looks like the click and unlike what surrounds it, whether its
border lies on edges, how sure it is, how it relates to the other two. All three are judged together, by a few small
networks whose mean is more reliable than any of them.
"""

from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the usual name

from training.network import Decoder, Look

#: Of the encoder, at a half, a quarter and an eighth.
Features: TypeAlias = tuple[Tensor, Tensor, Tensor]

#: Numbers by which an answer is judged.
EVIDENCE = 52

_MEMBERS = 4

# Of the planes that describe a prompt, those that say what looks like a click and what is near one.
_TELLING = (2, 4)


class Judge(nn.Module):
    """Expected IoU of the three answers to a prompt, from `evidence`."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(EVIDENCE))
        self.register_buffer("spread", torch.ones(EVIDENCE))
        self.members = nn.ModuleList(_Member(width) for _ in range(_MEMBERS))

    def forward(self, seen: Tensor) -> Tensor:
        """Logits [B, 3] from [B, 3, EVIDENCE]."""
        return self.mean(self.even(seen))

    def even(self, seen: Tensor) -> Tensor:
        """Evidence as the members read it: around 0, of like size."""
        even: Tensor = ((seen - self.middle) / self.spread).clamp(-4, 4)  # type: ignore[operator]
        return even

    def mean(self, even: Tensor) -> Tensor:
        """Logits [B, 3] from what `even` gives."""
        judged: Tensor = torch.stack([member(even) for member in self.members]).mean(0)
        return judged


class _Member(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.alone = nn.Linear(EVIDENCE, width)
        self.which = nn.Parameter(torch.zeros(3, width))
        self.spare = nn.Dropout(0.2)
        self.together = nn.Sequential(nn.Linear(3 * width, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, seen: Tensor) -> Tensor:
        logits: Tensor = self.together(self.spare(F.relu(self.alone(seen) + self.which)).flatten(1))
        return logits


def evidence(decoder: Decoder, look: Look, features: Features, prompt: Tensor) -> Tensor:
    """What speaks for and against each answer, [B, 3, EVIDENCE].

    Args:
        decoder: that answered.
        look: its answers.
        features: of the encoder, at a half, a quarter and an eighth, one of each for each object.
        prompt: [B, 10, S/4, S/4].
    """
    half, quarter, eighth = (each.float() for each in features)
    deep, coarse, fine = (each.float() for each in look[1:])
    inside4 = F.avg_pool2d(torch.sigmoid(look.logits), 2)
    inside8 = F.avg_pool2d(inside4, 2)
    inside16 = F.avg_pool2d(inside8, 2)
    around4, around8 = _around(inside4, 7), _around(inside8, 5)
    border4 = _border(_sure(inside4))
    click4 = prompt[:, :1].float()
    click8 = F.avg_pool2d(click4, 2)
    click16 = F.avg_pool2d(click8, 2)
    planes = prompt[:, _TELLING].float()
    found = [_clues(look.logits, prompt.float())]
    for project, kept, places in (
        (decoder.like_quarter.project, quarter, (inside4, around4, click4)),
        (decoder.like_eighth.project, eighth, (inside8, around8, click8)),
    ):
        directions = F.normalize(project(kept).float(), dim=1, eps=1e-3)
        inside, around, click = (_mean(place, directions) for place in places)
        pairs = (inside * around).sum(2), (inside * click).sum(2), (around * click).sum(2)
        found.append(torch.stack([*pairs, inside.norm(dim=2), around.norm(dim=2)], 2))
    found += [_mean(place, planes) for place in (inside4, around4, border4)]
    found.append(planes.mean((2, 3))[:, None].expand(-1, 3, -1))
    in8, in4, in16 = _mean(inside8, coarse), _mean(inside4, fine), _mean(inside16, deep)
    found += [
        _unlike(in8, _mean(around8, coarse)),
        _unlike(in8, _mean(click8, coarse)),
        _unlike(_mean(around8, coarse), _mean(click8, coarse)),
        _unlike(in4, _mean(around4, fine)),
        _unlike(in4, _mean(border4, fine)),
        _unlike(in16, _mean(1 - inside16, deep)),
        _unlike(in16, _mean(click16, deep)),
    ]
    at_click = _mean(click4, F.avg_pool2d(look.logits, 2))[:, 0]
    return torch.cat([*found, _outline(look.logits, half, at_click)], 2)


def edges(half: Tensor) -> Tensor:
    """How much features [B, channels, rows, columns] change to the right and downwards, [B, 1, rows, columns]."""
    across, down = (half[..., 1:] - half[..., :-1]).abs(), (half[:, :, 1:] - half[:, :, :-1]).abs()
    return F.pad(across.mean(1, keepdim=True), (0, 1)) + F.pad(down.mean(1, keepdim=True), (0, 0, 0, 1))


def _clues(logits: Tensor, prompt: Tensor) -> Tensor:
    """What an answer's own looks say about it, [B, 3, 7].

    How sure it is, how little its area hangs on the threshold, how large it is, how far it agrees with the other two,
    whether it runs along the image's border, and whether the prompt is a single click.

    Args:
        logits: [B, 3, S/2, S/2].
        prompt: [B, 10, S/4, S/4].
    """
    inside = torch.sigmoid(logits)
    sure = (logits > 0).float()
    area = sure.sum((2, 3))
    # What the IoU would be if the probabilities were right.
    expected = (inside * sure).sum((2, 3)) / (sure + inside * (1 - sure)).sum((2, 3)).clamp_min(1.0)
    stable = (logits > 1).float().sum((2, 3)) / (logits > -1).float().sum((2, 3)).clamp_min(1.0)
    agreed = []
    for other in (1, 2):
        turned = torch.cat([sure[:, other:], sure[:, :other]], 1)
        agreed.append((sure * turned).sum((2, 3)) / (area + (1 - sure).mul(turned).sum((2, 3))).clamp_min(1.0))
    border = torch.cat([sure[:, :, 0], sure[:, :, -1], sure[:, :, :, 0], sure[:, :, :, -1]], 2).mean(2)
    share = (sure.mean((2, 3)) + 1e-3).log()
    single = prompt[:, 7, 0, 0][:, None] + 0 * share
    return torch.stack([_odds(expected), _odds(stable), share, *agreed, border, single], 2)


def _odds(share: Tensor) -> Tensor:
    share = share.clamp(0.01, 0.99)
    return (share / (1 - share)).log()


def _outline(logits: Tensor, half: Tensor, at_click: Tensor) -> Tensor:
    """Edges of the image under the border, the answer's form, which answer holds which; [B, 3, 13]."""
    found = F.max_pool2d(edges(half), 3, 1, 1)
    sure = (logits > 0).float()
    border = _border(sure)
    area, length = sure.sum((2, 3)) + 1, border.sum((2, 3)) + 1
    everywhere = found.mean((2, 3)) + 0 * area
    contrast = [(found * border).sum((2, 3)) / length, (found * sure).sum((2, 3)) / area, everywhere]
    thick = _worn(sure, 5)
    forms = [length / area.sqrt() / 4, *(each.sum((2, 3)) / area for each in (thick, _worn(thick, 9)))]
    holds = []
    for other in (1, 2):
        turned = torch.cat([sure[:, other:], sure[:, :other]], 1)
        shared = (sure * turned).sum((2, 3))
        holds += [shared / area, shared / (turned.sum((2, 3)) + 1)]
    unsure = torch.sigmoid(logits)
    unsure = (unsure * (1 - unsure)).mean((2, 3)) * 20
    sides = [torch.tanh(at_click / 4), unsure, logits.amax((2, 3)) / 8]
    return torch.stack([*((each + 1e-3).log() for each in contrast), *forms, *holds, *sides], 2)


def _mean(place: Tensor, values: Tensor) -> Tensor:
    """Means [B, 1 or 3, channels] of values [B, channels, h, w] over places [B, 1 or 3, h, w]."""
    weights = place.flatten(2)
    weights = weights / (weights.sum(2, keepdim=True) + 1e-3)
    return weights @ values.flatten(2).transpose(1, 2)


def _unlike(one: Tensor, other: Tensor) -> Tensor:
    """Cosine, and distance in shares of their lengths, [B, 3, 2]."""
    lengths = one.norm(dim=2), other.norm(dim=2)
    cosine = (one * other).sum(2) / (lengths[0] * lengths[1] + 1e-3)
    distance = (one - other).norm(dim=2) / (lengths[0] + lengths[1] + 1e-3)
    return torch.stack([cosine + 0 * distance, distance], 2)


def _sure(inside: Tensor) -> Tensor:
    return (inside > 0.5).float()


def _around(inside: Tensor, reach: int) -> Tensor:
    """What lies outside, within reach // 2 cells."""
    sure = _sure(inside)
    return F.max_pool2d(sure, reach, 1, reach // 2) - sure


def _border(sure: Tensor) -> Tensor:
    """The outermost cells inside."""
    return sure - _worn(sure, 3)


def _worn(sure: Tensor, reach: int) -> Tensor:
    """What lies deeper inside than reach // 2 cells."""
    return -F.max_pool2d(-sure, reach, 1, reach // 2)
