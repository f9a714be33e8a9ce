"""The network: an image is encoded once, and every prompt is joined to it at an eighth of the resolution.

The same weights look at a whole image, at a window around an object and at a window around the newest click.

Shapes use S for the side of the input (a multiple of 32; height and width may differ), B for looks.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the usual name

#: Planes of a prompt at a quarter of the resolution, see `training.planes`.
PROMPT_PLANES = 10
PREVIOUS_PLANES = 4
CANDIDATES = 3


@dataclass(frozen=True)
class Widths:
    """Channels and depth.

    Attributes:
        half, quarter, eighth, sixteenth, deepest: channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the resolution.
        before, inside, after: residual blocks at 1/16, at 1/32, and at 1/16 again.
        encoder: residual blocks of the encoder at 1/8.
    """

    half: int = 16
    quarter: int = 48
    eighth: int = 96
    sixteenth: int = 160
    deepest: int = 192
    before: int = 2
    inside: int = 2
    after: int = 2
    encoder: int = 3


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
    """Features of an image or a window, without a prompt."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.detail = Conv(12, widths.half)
        self.stem = nn.Sequential(Conv(48, widths.quarter), Residual(widths.quarter))
        self.down = Conv(widths.quarter, widths.eighth, stride=2)
        self.eighth = nn.Sequential(*(Residual(widths.eighth) for _ in range(widths.encoder)))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features at a half, a quarter and an eighth from an image [B, 3, S, S], values -1 to 1."""
        half = self.detail(F.pixel_unshuffle(image, 2))
        quarter = self.stem(F.pixel_unshuffle(image, 4))
        return half, quarter, self.eighth(self.down(quarter))


class Look(NamedTuple):
    """What the decoder computes for a prompt.

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
    """Three candidates for each prompt."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        half, quarter, eighth = widths.half, widths.quarter, widths.eighth
        sixteenth, deepest = widths.sixteenth, widths.deepest
        self.like_quarter, self.like_eighth = Likeness(quarter), Likeness(eighth)
        self.prompt = Conv(PROMPT_PLANES + PREVIOUS_PLANES + 2, 32)
        self.prompt_down = nn.Conv2d(32, eighth, 3, 2, 1)
        self.like_in = nn.Conv2d(2, eighth, 1, bias=False)
        self.fused = Residual(eighth)
        self.down = Conv(eighth, sixteenth, stride=2)
        self.before = nn.Sequential(*(Residual(sixteenth) for _ in range(widths.before)))
        self.down_deepest = Conv(sixteenth, deepest, stride=2)
        self.inside = nn.Sequential(*(Residual(deepest) for _ in range(widths.inside)))
        self.up_sixteenth = nn.Conv2d(deepest, sixteenth, 1)
        self.after = nn.Sequential(*(Residual(sixteenth) for _ in range(widths.after)))
        self.up_eighth = nn.Conv2d(sixteenth, eighth, 1)
        self.join_eighth = Residual(eighth)
        self.up_quarter = nn.Conv2d(eighth, quarter, 1)
        self.join_quarter = nn.Sequential(Conv(2 * quarter + 32, quarter, 1), Residual(quarter))
        self.up_half = Conv(quarter, 64)
        self.join_half = Conv(16 + half, 16)
        self.masks = nn.Conv2d(16, CANDIDATES, 1)
        nn.init.constant_(self.masks.bias, -1.0)  # type: ignore[arg-type]

    def forward(self, half: Tensor, quarter: Tensor, eighth: Tensor, prompt: Tensor, previous: Tensor) -> Look:
        """See `look`."""
        return self.look(half, quarter, eighth, prompt, previous)

    def look(self, half: Tensor, quarter: Tensor, eighth: Tensor, prompt: Tensor, previous: Tensor) -> Look:
        """Candidates for a prompt.

        Args:
            half, quarter, eighth: from the encoder, one for each prompt.
            prompt: [B, 10, S/4, S/4]; the first two planes mark the clicks.
            previous: [B, 1, S/2, S/2], the mask so far, -1 off the object to 1 on it; 0 without one.
        """
        clicks = prompt[:, :2]
        near = self.like_quarter(quarter, clicks)
        asked = self.prompt(torch.cat([prompt, F.pixel_unshuffle(previous, 2), near.to(prompt.dtype)], 1))
        like = self.like_eighth(eighth, F.avg_pool2d(clicks, 2))
        x = self.fused(F.relu(eighth + self.prompt_down(asked) + self.like_in(like.to(eighth.dtype))))
        middle = self.before(self.down(x))
        deepest = self.inside(self.down_deepest(middle))
        deep = self.after(F.relu(middle + _double(self.up_sixteenth(deepest))))
        coarse = self.join_eighth(F.relu(x + _double(self.up_eighth(deep))))
        fine = self.join_quarter(torch.cat([_double(self.up_quarter(coarse)), quarter, asked], 1))
        x = self.join_half(torch.cat([F.pixel_shuffle(self.up_half(fine), 2), half], 1))
        return Look(self.masks(x).float(), deep, coarse, fine)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class Nano(nn.Module):
    """Encoder and decoder; `coarse_masks` supervises the decoder at an eighth and is not shipped."""

    def __init__(self, widths: Widths | None = None) -> None:
        super().__init__()
        self.widths = widths or Widths()
        self.encoder = Encoder(self.widths)
        self.decoder = Decoder(self.widths)
        self.coarse_masks = nn.Conv2d(self.widths.eighth, CANDIDATES, 1)
        nn.init.constant_(self.coarse_masks.bias, -1.0)  # type: ignore[arg-type]

    def forward(self, image: Tensor, prompt: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, 3, S/2, S/2] and those at an eighth, [B, 3, S/8, S/8]."""
        look = self.decoder(*self.encoder(image), prompt, previous)
        return look.logits, self.coarse_masks(look.coarse).float()
