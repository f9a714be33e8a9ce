"""A simulated annotator, many at once on the device that trains: first clicks, corrections, boxes, careless masks.

Corrections follow Sofiiuk et al., Reviving Iterative Training with Mask Guidance, 2021: the middle of the largest
error. Grids are [prompts, rows, columns]; places are (x, y) from 0 to 1.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the usual name

_DEEPEST = 32


def depth(region: Tensor) -> Tensor:
    """How many erosions by 3 × 3 each cell of regions [..., rows, columns], bool, survives, up to 32; 0 outside.

    What lies beyond the grid counts as outside.
    """
    outside = (~region).reshape(-1, 1, *region.shape[-2:]).to(torch.half if region.is_cuda else torch.float)
    outside = F.pad(outside, (1, 1, 1, 1), value=1.0)
    total = outside.clone()
    for _ in range(_DEEPEST - 1):
        outside = F.max_pool2d(outside, 3, 1, 1)
        total += outside
    return (_DEEPEST - total[:, 0, 1:-1, 1:-1]).reshape(region.shape).float()


def first_clicks(mask: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Places on objects, float32 [prompts, 2], and whether there is one.

    Args:
        mask: bool [prompts, rows, columns], rows and columns even.
        share: [prompts], of the greatest depth that is deep enough.
    """
    coarse = depth(F.avg_pool2d(mask.float(), 2) > 0.5)
    return _any(coarse, mask, share)


def corrections(mask: Tensor, answer: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Places in the deeper kind of error, labels int64 [prompts], 1 where the object was missed, whether there is one.

    Args:
        mask, answer: bool [prompts, rows, columns].
        share: see `first_clicks`.
    """
    errors = torch.stack([mask & ~answer, answer & ~mask], 1)
    depths = depth(F.avg_pool2d(errors.float(), 2) > 0.5)
    deepest = depths.flatten(2).amax(2)
    missed = deepest[:, 0] >= deepest[:, 1]
    chosen = torch.where(missed[:, None, None], errors[:, 0], errors[:, 1])
    found = torch.where(missed[:, None, None], depths[:, 0], depths[:, 1])
    place, there = _any(found, chosen, share)
    return place, missed.long(), there


def careless(mask: Tensor, numbers: Tensor) -> Tensor:
    """Objects as somebody might have drawn them, bool [prompts, rows, columns]: too large, too small, moved, rounded.

    Args:
        mask: bool [prompts, rows, columns].
        numbers: from 0 to 1, [prompts, 4].
    """
    blurred = mask[:, None].float()
    for size in (9, 9):
        blurred = F.avg_pool2d(blurred, size, 1, size // 2)
    theta = torch.zeros(len(mask), 2, 3, device=mask.device)
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    theta[:, :, 2] = (numbers[:, :2] - 0.5) * 0.1
    grid = F.affine_grid(theta, list(blurred.shape), align_corners=False)
    moved = F.grid_sample(blurred, grid, align_corners=False)[:, 0]
    waves = F.interpolate(torch.rand(len(mask), 1, 5, 5, device=mask.device), list(mask.shape[1:]), mode="bicubic")[
        :, 0
    ]
    return moved > 0.15 + 0.4 * numbers[:, 2, None, None] + 0.35 * numbers[:, 3, None, None] * waves


def boxes(mask: Tensor, slack: Tensor) -> Tensor:
    """Boxes around objects, float32 [prompts, 4], x0, y0, x1, y1 from 0 to 1, each side off by a share of the extent.

    Args:
        mask: bool [prompts, rows, columns].
        slack: float32 [prompts, 4].
    """
    x0, x1 = extent(mask.any(1))
    y0, y1 = extent(mask.any(2))
    width, height = x1 - x0, y1 - y0
    x0, x1 = x0 + slack[:, 0] * width, x1 + slack[:, 2] * width
    y0, y1 = y0 + slack[:, 1] * height, y1 + slack[:, 3] * height
    return torch.stack([x0, y0, torch.maximum(x1, x0 + 0.02), torch.maximum(y1, y0 + 0.02)], 1).clamp(0, 1)


def extent(line: Tensor) -> tuple[Tensor, Tensor]:
    """Where True begins and ends in lines [prompts, cells], from 0 to 1; 0 and 1 where there is none."""
    cells = line.shape[1]
    first, last = line.float().argmax(1), cells - line.flip(1).float().argmax(1)
    return first / cells, last / cells


def _any(depths: Tensor, fine: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Places of fine cells in coarse ones that are deep enough, and whether there are any."""
    count, rows, columns = depths.shape
    greatest = depths.flatten(1).amax(1)
    enough = (depths >= (share * greatest)[:, None, None]) & (depths > 0)
    chosen = torch.where(enough, torch.rand_like(depths), -1.0).flatten(1).argmax(1)
    y, x = chosen // columns, chosen % columns
    every = torch.arange(count, device=depths.device)
    block = fine.reshape(count, rows, 2, columns, 2)[every, y, :, x, :].flatten(1)
    inner = torch.where(block, torch.rand_like(block, dtype=torch.float32), -1.0).argmax(1)
    place = torch.stack([(2 * x + inner % 2 + 0.5) / (2 * columns), (2 * y + inner // 2 + 0.5) / (2 * rows)], 1)
    return place, greatest > 0
