"""The network: an image is encoded once, every prompt is joined to it at an eighth of the resolution.

Shapes use S for the side of the image (a multiple of 16; height and width may differ), B for images or objects.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the usual name

#: Planes that describe a prompt at a quarter of the resolution, and those of the previous mask there.
PROMPT_PLANES = 8
PREVIOUS_PLANES = 4
OUTPUTS = 3

#: Numbers from which an answer's score is made.
CLUES = 7


@dataclass(frozen=True)
class Widths:
    """Channels and depth.

    Attributes:
        quarter, eighth, sixteenth: channels at these shares of the resolution.
        blocks: residual blocks at a sixteenth.
        attention: of these, how many are followed by attention over the whole image.
    """

    quarter: int = 32
    eighth: int = 96
    sixteenth: int = 160
    blocks: int = 4
    attention: int = 3


class Conv(nn.Sequential):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, before: int, after: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Conv(width, width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        nn.init.constant_(self.norm.weight, 0.2)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.second(self.first(x))))


class Attention(nn.Module):
    """Every place looks at every other, then thinks for itself (a transformer's block)."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm_in, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(inplace=True), nn.Linear(2 * width, width))
        for last in (self.project, self.mlp[2]):
            nn.init.normal_(last.weight, std=0.2 * width**-0.5)  # type: ignore[arg-type]
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        count, width, rows, columns = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        qkv = self.qkv(self.norm_in(tokens)).reshape(count, rows * columns, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        # Written out: at a few hundred tokens the fused form takes twice as long on a CPU.
        weights = torch.softmax(query * query.shape[-1] ** -0.5 @ key.transpose(2, 3), dim=3)
        mixed = (weights @ value).transpose(1, 2).flatten(2)
        tokens = tokens + self.project(mixed)
        tokens = tokens + self.mlp(self.norm_out(tokens))
        grid: Tensor = tokens.transpose(1, 2).reshape(count, width, rows, columns)
        return grid


class Likeness(nn.Module):
    """Cosine similarity of each place with the places clicked on the object, and with those clicked off it."""

    def __init__(self, width: int, directions: int = 32) -> None:
        super().__init__()
        self.project = nn.Conv2d(width, directions, 1)

    def forward(self, features: Tensor, clicks: Tensor) -> Tensor:
        """Cosines [B, 2, rows, columns] from features [B, width, rows, columns] and weights [B, 2, rows, columns]."""
        directions = F.normalize(self.project(features).float(), dim=1, eps=1e-3)
        flat, weights = directions.flatten(2), clicks.float().flatten(2)
        weights = weights / (weights.sum(dim=2, keepdim=True) + 1e-3)
        meant = weights @ flat.transpose(1, 2)
        likeness: Tensor = (meant @ flat).reshape(clicks.shape)
        return likeness


class Encoder(nn.Module):
    """What is kept of an image."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.detail = Conv(12, 16)
        self.stem = nn.Sequential(Conv(48, widths.quarter), Residual(widths.quarter))
        self.down = Conv(widths.quarter, widths.eighth, stride=2)
        self.eighth = nn.Sequential(Residual(widths.eighth), Residual(widths.eighth))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features at a half, a quarter and an eighth from an image [B, 3, S, S], values -1 to 1."""
        half = self.detail(F.pixel_unshuffle(image, 2))
        quarter = self.stem(F.pixel_unshuffle(image, 4))
        return half, quarter, self.eighth(self.down(quarter))


class Look(NamedTuple):
    """What the decoder makes of a prompt.

    Attributes:
        logits: [B, 3, S/2, S/2].
        deep: features [B, channels, S/16, S/16].
        coarse: [B, channels, S/8, S/8].
        fine: [B, channels, S/4, S/4].
    """

    logits: Tensor
    deep: Tensor
    coarse: Tensor
    fine: Tensor


class Decoder(nn.Module):
    """Masks and scores of one prompt for each object."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        quarter, eighth, sixteenth = widths.quarter, widths.eighth, widths.sixteenth
        self.like_quarter, self.like_eighth = Likeness(quarter), Likeness(eighth)
        self.prompt = Conv(PROMPT_PLANES + PREVIOUS_PLANES + 2, 32)
        self.prompt_down = nn.Conv2d(32, eighth, 3, 2, 1)
        self.like_in = nn.Conv2d(2, eighth, 1, bias=False)
        self.fused = Residual(eighth)
        self.down = Conv(eighth, sixteenth, stride=2)
        deep: list[nn.Module] = []
        for index in range(widths.blocks):
            deep.append(Residual(sixteenth))
            if index >= widths.blocks - widths.attention:
                deep.append(Attention(sixteenth))
        self.deep = nn.Sequential(*deep)
        self.up_eighth = nn.Conv2d(sixteenth, eighth, 1)
        self.join_eighth = Residual(eighth)
        self.up_quarter = nn.Conv2d(eighth, quarter, 1)
        self.join_quarter = nn.Sequential(Conv(2 * quarter + 32, quarter, 1), Residual(quarter))
        self.up_half = Conv(quarter, 64)
        self.join_half = Conv(32, 16)
        self.masks = nn.Conv2d(16, OUTPUTS, 1)
        nn.init.constant_(self.masks.bias, -1.0)  # type: ignore[arg-type]
        self.score = nn.Sequential(nn.Linear(CLUES, 32), nn.ReLU(inplace=True), nn.Linear(32, 1))
        self.which = nn.Parameter(torch.zeros(OUTPUTS))

    def forward(
        self, half: Tensor, quarter: Tensor, eighth: Tensor, prompt: Tensor, previous: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits [B, 3, S/2, S/2] and logits of the expected IoU [B, 3]; see `look`."""
        logits = self.look(half, quarter, eighth, prompt, previous).logits
        return logits, self.scores(clues(logits.detach(), prompt.float()))

    def look(self, half: Tensor, quarter: Tensor, eighth: Tensor, prompt: Tensor, previous: Tensor) -> Look:
        """An answer, and what was thought of on the way to it.

        Args:
            half, quarter, eighth: what the encoder kept, one for each object.
            prompt: [B, 8, S/4, S/4], see `maskery.models.builtin.nano_prompt`; the first two planes mark the clicks.
            previous: [B, 1, S/2, S/2], -1 off the object to 1 on it; 0 without a mask to start from.
        """
        clicks = prompt[:, :2]
        near = self.like_quarter(quarter, clicks)
        asked = self.prompt(torch.cat([prompt, F.pixel_unshuffle(previous, 2), near.to(prompt.dtype)], 1))
        like = self.like_eighth(eighth, F.avg_pool2d(clicks, 2))
        x = self.fused(F.relu(eighth + self.prompt_down(asked) + self.like_in(like.to(eighth.dtype))))
        deep = self.deep(self.down(x))
        coarse = self.join_eighth(x + _double(self.up_eighth(deep)))
        fine = self.join_quarter(torch.cat([_double(self.up_quarter(coarse)), quarter, asked], 1))
        x = self.join_half(torch.cat([F.pixel_shuffle(self.up_half(fine), 2), half], 1))
        return Look(self.masks(x).float(), deep, coarse, fine)

    def scores(self, seen: Tensor) -> Tensor:
        """Logits of the expected IoU [B, 3] from `clues`."""
        score: Tensor = self.score(seen).squeeze(2) + self.which
        return score


def clues(logits: Tensor, prompt: Tensor) -> Tensor:
    """What an answer's own looks say about it, [B, 3, CLUES].

    How sure it is, how little its area hangs on the threshold, how large it is, how far it agrees with the other two,
    whether it runs along the image's border, and whether the prompt is a single click.

    Args:
        logits: [B, 3, S/2, S/2].
        prompt: [B, 8, S/4, S/4].
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


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class Nano(nn.Module):
    """Encoder and decoder."""

    def __init__(self, widths: Widths | None = None) -> None:
        super().__init__()
        self.widths = widths or Widths()
        self.encoder = Encoder(self.widths)
        self.decoder = Decoder(self.widths)

    def forward(self, image: Tensor, prompt: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        half, quarter, eighth = self.encoder(image)
        logits, scores = self.decoder(half, quarter, eighth, prompt, previous)
        return logits, scores
