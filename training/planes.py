"""A prompt as planes beside an image, the form in which the network reads it.

The runtime makes the same planes; the network is trained on these, so both change together only, with the weights.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the usual name

# Radius of the spot that marks a click, in cells.
_SPOT = 1.0

# How far the nearness of a click reaches, in sides of the grid.
_REACH = 0.15

# Colours that differ by this much, in `opponent` values, are half alike.
_ALIKE = 24.0

# Lightness counts less than hue.
_OPPONENT = ((0.4, 0.4, 0.4), (0.8, -0.8, 0.0), (0.4, 0.4, -0.8))


def opponent(image: Tensor) -> Tensor:
    """Colours of an image [B, 3, S, S], 0 to 255, as lightness and two differences, [B, 3, S/4, S/4], smoothed."""
    quarter = F.avg_pool2d(image, 4)
    mixed = torch.stack([sum(share * quarter[:, index] for index, share in enumerate(row)) for row in _OPPONENT], 1)
    return F.avg_pool2d(mixed, 3, 1, 1, count_include_pad=False)


def prompt_planes(
    colours: Tensor, points: Tensor, labels: Tensor, newest: Tensor, box: Tensor, boxed: Tensor, single: Tensor,
    local: Tensor,
) -> Tensor:  # fmt: skip
    """Planes [B, 10, rows, columns].

    Spots of the clicks on the object and off it; nearness of such clicks; likeness to their colours; 1 inside the
    box and -1 outside, 0 without one; 1 everywhere if the prompt is a single click, which may mean more than one thing;
    the spot of the newest click, negative off the object; 1 everywhere in a window around the newest click.

    Args:
        colours: [B, 3, rows, columns], see `opponent`.
        points: [B, clicks, 2], (x, y) in cells; the middle of the first cell is (0.5, 0.5).
        labels: [B, clicks], 1 on the object, 0 off it, -1 for no click or one outside.
        newest: [B], number of the newest click, -1 for none.
        box: [B, 4], (x0, y0, x1, y1) in cells.
        boxed, single, local: bool [B].
    """
    rows, columns = colours.shape[2:]
    x = torch.arange(columns, device=colours.device, dtype=torch.float32) + 0.5
    y = torch.arange(rows, device=colours.device, dtype=torch.float32) + 0.5
    across = (x - points[:, :, :1]).square()
    down = (y - points[:, :, 1:]).square()
    squared = down[:, :, :, None] + across[:, :, None, :]
    cells = points.floor().long()
    cells = torch.stack([cells[..., 0].clamp(0, columns - 1), cells[..., 1].clamp(0, rows - 1)], 2)
    flat = colours.flatten(2)
    index = (cells[..., 1] * columns + cells[..., 0])[:, None].expand(-1, 3, -1)
    clicked = flat.gather(2, index)
    difference = (flat[:, :, None, :] - clicked[..., None]).square().sum(1)
    alike = torch.exp2(difference / -(_ALIKE**2)).reshape(squared.shape)
    reach = _REACH * (rows * columns) ** 0.5
    spots, near, like = [], [], []
    for label in (1, 0):
        chosen = (labels == label)[:, :, None, None]
        nearest = torch.where(chosen, squared, 1e9).amin(1)
        spots.append(torch.exp(nearest / (-2 * _SPOT**2)))
        near.append(torch.exp(nearest.sqrt() / -reach))
        like.append(torch.where(chosen, alike, 0.0).amax(1))
    inside = ((x > box[:, :1]) & (x < box[:, 2:3]))[:, None, :] & ((y > box[:, 1:2]) & (y < box[:, 3:]))[:, :, None]
    framed = torch.where(boxed[:, None, None], inside.float() * 2 - 1, 0.0)
    last = newest.clamp_min(0)[:, None]
    shown = labels.gather(1, last)
    sign = torch.where(newest[:, None] >= 0, torch.where(shown == 1, 1.0, torch.where(shown == 0, -1.0, 0.0)), 0.0)
    spot = torch.exp(squared.gather(1, last[:, :, None, None].expand(-1, 1, rows, columns))[:, 0] / (-2 * _SPOT**2))
    everywhere = torch.ones(rows, columns, device=colours.device)
    flags = [flag.float()[:, None, None] * everywhere for flag in (single, local)]
    return torch.stack([*spots, *near, *like, framed, flags[0], spot * sign[:, :, None], flags[1]], 1)
