"""Draw what is trained on, to be looked at before a run.

python -m training.sheets --bank DIR --out DIR
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from training.bank import Bank
from training.rounds import Rounds, Shape
from training.scenes import Renderer, SceneSampler
from training.train import SamplerPool

Bytes = NDArray[np.uint8]


def scenes(bank: Bank, side: int, count: int, seed: int) -> Bytes:
    """Scenes with the outlines of what is meant (green) and the whole (red)."""
    random, device = np.random.default_rng(seed), torch.device("cpu")
    sampler, renderer = SceneSampler(bank), Renderer(bank, device)
    drawn = renderer.render([sampler.draw(random, side) for _ in range(count)], side, random)
    tiles = []
    for pixels, meant, whole, weights in zip(*drawn, strict=True):
        tile = np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()[:, :, ::-1])
        _outline(tile, whole.numpy(), (0, 0, 255))
        _outline(tile, meant.numpy(), (0, 255, 0))
        if not weights[0]:
            cv2.line(tile, (0, 0), (side, side), (0, 255, 255), 2)
        tiles.append(tile)
    return _table(tiles)


def looks(bank: Bank, side: int, count: int, steps: int, seed: int) -> Bytes:
    """Items as the network sees them, step by step; answers are the truth, damaged."""
    device = torch.device("cpu")
    torch.manual_seed(seed)
    renderer = Renderer(bank, device)
    rounds = Rounds(
        SamplerPool(SceneSampler(bank), seed, 0), renderer, Shape(side, count, 1), np.random.default_rng(seed), device
    )
    tiles = []
    for _ in range(steps):
        batch = rounds.next()
        for index in range(count):
            tile = np.ascontiguousarray(batch.image[index].permute(1, 2, 0).byte().numpy()[:, :, ::-1])
            grown = cv2.resize(batch.previous[index, 0].numpy(), (side, side))
            tile[:, :, 0] = np.where(grown > 0, 255, tile[:, :, 0])
            _outline(tile, (batch.meant[index].numpy() * 255).astype(np.uint8), (0, 255, 0))
            planes = [cv2.resize(plane, (side, side)) for plane in batch.prompt[index].numpy()]
            tile[planes[0] > 0.5] = (0, 255, 0)
            tile[planes[1] > 0.5] = (0, 0, 255)
            tile[np.abs(planes[8]) > 0.8] = (0, 255, 255)
            inside = (planes[6] > 0).astype(np.uint8) * 255
            _outline(tile, inside, (255, 0, 255))
            tiles.append(tile)
        damaged = (
            torch.nn.functional.avg_pool2d(batch.meant[:, None] * 2 - 1, 31, 1, 15) + torch.randn(count, 1, 1, 1) * 0.3
        )
        rounds.take(batch, (damaged * 6).expand(-1, 3, -1, -1))
    return _table(tiles, count)


def sprites(bank: Bank, count: int, seed: int) -> Bytes:
    chosen = np.random.default_rng(seed).permutation(len(bank.sprites))[:count]
    tiles = []
    for sprite, label in zip(bank.sprites[chosen], bank.labels[chosen], strict=True):
        alpha = sprite[3:].astype(np.float32) / 255
        tile = (sprite[2::-1] * alpha + 200 * (1 - alpha)).transpose(1, 2, 0)
        tile = tile * 0.75 + cv2.applyColorMap(label * 40, cv2.COLORMAP_HSV) * 0.25 if label.any() else tile
        tiles.append(tile.astype(np.uint8))
    return _table(tiles)


def _outline(tile: Bytes, mask: Bytes, colour: tuple[int, int, int]) -> None:
    shown = cv2.resize(mask, tile.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    found, _ = cv2.findContours((shown > 127).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(tile, found, -1, colour, 1)


def _table(tiles: list[Bytes], columns: int = 8) -> Bytes:
    tiles = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[start : start + columns], 1) for start in range(0, len(tiles), columns)]
    return np.concatenate(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.sheets", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bank", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    bank = Bank.load(options.bank)
    options.out.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(options.out / "sprites.png"), sprites(bank, 64, options.seed))
    cv2.imwrite(str(options.out / "scenes.png"), scenes(bank, 256, 48, options.seed))
    cv2.imwrite(str(options.out / "looks.png"), looks(bank, 160, 10, 6, options.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
