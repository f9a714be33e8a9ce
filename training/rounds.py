"""Prompts that grow, look by look, as an annotator would correct them: a fold over clicks, many at once.

Every item is a scene with a mask so far. A step shows each item in one window (the whole image, the object, or the
surroundings of the newest click), learns from the answer there, and puts the answer into the mask so far. A share of
the items is replaced by new scenes at every step, so that a batch holds prompts of every length.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the usual name

from training import clicks
from training.planes import opponent, prompt_planes
from training.scenes import Renderer, Scenes, SceneSpec, upload

CLICKS = 10

WHOLE, OBJECT, LOCAL = 0, 1, 2

# How prompts begin: a single click, a box, several clicks, a careless mask.
PROMPTS = (0.72, 0.13, 0.08, 0.07)

# Items are begun so many steps ahead: on a GPU the number of operations, not their size, is what takes time.
_AHEAD = 6

# Of items that go on: another click, rather than a second look at the same ones.
_ANOTHER = 0.72

# Windows of looks after the first; LOCAL only where there is a click.
_WINDOWS = (0.2, 0.46, 0.34)

# Around an object, in roots of its box's area; the longest side over the shortest.
_MARGIN, _LONGEST = 0.3, 1.4

# Side of a window, at least, in sides of the canvas.
_LEAST = 0.12

# In a window around the newest click, how much more the click's surroundings count, and how far they reach, in windows.
_FOCUS, _FOCUS_REACH = 2.0, 0.15


class SpecSource(Protocol):
    """Draws what scenes are made by."""

    def draw(self, count: int, side: int) -> list[SceneSpec]: ...


class Batch(NamedTuple):
    """What the network sees and what it should answer.

    Attributes:
        image: float32 [items, 3, S, S], 0 to 255.
        prompt: [items, 10, S/4, S/4].
        previous: [items, 1, S/2, S/2], -1 to 1.
        meant, whole: opacity [items, S/2, S/2].
        weights: [items, 3], see `losses.loss`.
        focus: [items, S/2, S/2], what each pixel counts; more around the newest click of LOCAL windows.
        single: bool [items].
        windows: [items, 4], x0, y0, x1, y1 from 0 to 1.
        kinds: int64 [items], WHOLE, OBJECT or LOCAL.
    """

    image: Tensor
    prompt: Tensor
    previous: Tensor
    meant: Tensor
    whole: Tensor
    weights: Tensor
    focus: Tensor
    single: Tensor
    windows: Tensor
    kinds: Tensor


class Items(NamedTuple):
    """Scenes with their prompts so far, places from 0 to 1.

    Attributes:
        pixels, meant, whole, weights: see `scenes.Scenes`.
        state: float32 [items, S, S], logits of the mask so far on half the canvas' grid; 0 where there is none.
        points: [items, CLICKS, 2].
        labels: int64 [items, CLICKS], -1 where there is no click.
        clicked: int64 [items], how many places of these are used.
        box: [items, 4].
        boxed: bool [items].
    """

    pixels: Tensor
    meant: Tensor
    whole: Tensor
    weights: Tensor
    state: Tensor
    points: Tensor
    labels: Tensor
    clicked: Tensor
    box: Tensor
    boxed: Tensor


@dataclass(frozen=True)
class Shape:
    """How large and how many.

    Attributes:
        side: S, of what the network sees; canvases have twice that.
        items: in a batch.
        fresh: of them, replaced at every step.
    """

    side: int
    items: int
    fresh: int


class Rounds:
    """The items of a training run at one size.

    Args:
        specs, renderer: make scenes.
        shape: how large and how many.
        random: for everything drawn on the host.
        device: that trains.
        prompts: how often a prompt begins as a single click, a box, several clicks, a careless mask.
    """

    def __init__(
        self,
        specs: SpecSource,
        renderer: Renderer,
        shape: Shape,
        random: np.random.Generator,
        device: torch.device,
        prompts: tuple[float, float, float, float] = PROMPTS,
    ) -> None:
        self._prompts = prompts
        self.shape, self._random, self._device = shape, random, device
        self._recipes, self._renderer = specs, renderer
        self._stock: tuple[Items, NDArray[np.int64]] | None = None
        self._items: Items | None = None
        self._everything = torch.tensor((0.0, 0.0, 1.0, 1.0), device=device)
        self._ages = np.full(shape.items, -1)
        self._kinds = np.zeros(shape.items, np.int64)

    @property
    def state(self) -> Tensor:
        """Logits of the masks so far, see `Items`."""
        return self._now.state

    def next(self) -> Batch:
        """Replace some items, click where others are wrong, and show all of them."""
        with torch.no_grad():
            if self._items is None:
                self._begin(np.arange(self.shape.items))
            else:
                # Older items are likelier to go.
                keys = (
                    self._random.random(self.shape.items)
                    * np.array((0.9, 1.0, 1.05, 1.1, 1.2, 1.4, 1.8, 9))[self._ages.clip(0, 7)]
                )
                gone = np.sort(np.argsort(-keys)[: self.shape.fresh])
                self._begin(gone)
            old = self._ages > 0
            self._correct(np.flatnonzero(old & (self._random.random(self.shape.items) < _ANOTHER)))
            return self._show()

    @torch.no_grad()
    def looks(self, count: int) -> Iterator[Batch]:
        """New items and so many looks at them; of all but the first, half with another click."""
        self._begin(np.arange(self.shape.items))
        yield self._show()
        for _ in range(count - 1):
            self._correct(np.flatnonzero(self._random.random(self.shape.items) < 0.5))
            yield self._show()

    @torch.no_grad()
    def take(self, batch: Batch, logits: Tensor) -> None:
        """The answers [items, 3, S/2, S/2] become the masks so far, inside their windows."""
        side = self.shape.side
        lines = (torch.arange(side, device=self._device) + 0.5) / side
        windows = batch.windows[:, :, None]
        x = (lines - windows[:, 0]) / (windows[:, 2] - windows[:, 0]) * 2 - 1
        y = (lines - windows[:, 1]) / (windows[:, 3] - windows[:, 1]) * 2 - 1
        grid = torch.stack([x[:, None, :].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], 3)
        chosen = self._chosen(batch, logits)
        moved = F.grid_sample(chosen[:, None].float(), grid, padding_mode="border", align_corners=False)[:, 0]
        inside = (grid.abs() < 1).all(3)
        items = self._now
        state = torch.where(inside, moved.clamp(-8, 8), items.state)
        # A whole that was answered where a part was meant is, mostly, taken for what was meant.
        whole, meant = ((self._shrunk(each) > 127) for each in (items.whole, items.meant))
        answer = state > 0
        overlap = [(answer & each).sum((1, 2)) / (answer | each).sum((1, 2)).clamp_min(1) for each in (whole, meant)]
        accepted = batch.single & (overlap[0] > overlap[1]) & (torch.rand(len(answer), device=self._device) < 0.7)
        meant = torch.where(accepted[:, None, None], items.whole, items.meant)
        self._items = items._replace(state=state, meant=meant)
        self._ages += 1

    @property
    def _now(self) -> Items:
        if self._items is None:
            raise RuntimeError("no items have been shown yet")
        return self._items

    def _chosen(self, batch: Batch, logits: Tensor) -> Tensor:
        """The answers that are shown: the first, or now and then the best of three."""
        answers = logits > 0
        wanted = (batch.meant > 0.5)[:, None]
        iou = (answers & wanted).sum((2, 3)) / (answers | wanted).sum((2, 3)).clamp_min(1)
        best = torch.where(batch.single & (torch.rand(len(iou), device=self._device) < 0.5), iou.argmax(1), 0)
        return logits[torch.arange(len(iou), device=self._device), best]

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return upload(array, self._device)

    def _shrunk(self, canvas: Tensor) -> Tensor:
        """A canvas uint8 [items, 2 S, 2 S] at half its size, float32."""
        return F.avg_pool2d(canvas[:, None].float(), 2)[:, 0]

    def _begin(self, places: NDArray[np.intp]) -> None:
        """New scenes and their first prompts in these places."""
        if self._stock is None or len(self._stock[1]) < len(places):
            self._stock = self._made(max(_AHEAD, -(-len(places) // self.shape.fresh)))
        stock, kinds = self._stock
        taken, count = Items(*(each[: len(places)] for each in stock)), len(places)
        self._stock = Items(*(each[count:] for each in stock)), kinds[count:]
        self._kinds[places], self._ages[places] = kinds[:count], 0
        if self._items is None:
            # In the order of their places, all of them.
            self._items = Items(*(each.clone() for each in taken))
            return
        index = self._tensor(places)
        for own, new in zip(self._items, taken, strict=True):
            own[index] = new

    def _made(self, steps: int) -> tuple[Items, NDArray[np.int64]]:
        """Items for so many steps with their first prompts, and of which kind these are."""
        random, side = self._random, 2 * self.shape.side
        specs = [spec for _ in range(steps) for spec in self._recipes.draw(self.shape.fresh, side)]
        count = len(specs)
        scenes: Scenes = self._renderer.render(specs, side, random)
        mask = self._shrunk(scenes.meant) > 127
        kinds = random.choice(4, size=count, p=self._prompts)
        slack = random.normal(0, 1, (count, 4)) * np.where(random.random((count, 1)) < 0.5, 0.02, 0.06)
        box = clicks.boxes(mask, self._tensor(slack.astype(np.float32)))
        drawn = self._tensor(kinds == 3)
        masks = clicks.careless(mask, self._tensor(random.random((count, 4)).astype(np.float32)))
        state = torch.where(drawn[:, None, None], masks.float() * 8 - 4, 0.0)
        asked = (kinds == 0) | ((kinds == 1) & (random.random(count) < 0.3)) | (kinds == 2)
        asked |= (kinds == 3) & (random.random(count) < 0.4)
        places, there = clicks.first_clicks(mask, self._shares(count, (0.25, 0.45)))
        labels = torch.full((count, CLICKS), -1, dtype=torch.int64, device=self._device)
        points = torch.zeros(count, CLICKS, 2, device=self._device)
        points[:, 0] = places
        labels[:, 0] = torch.where(self._tensor(asked) & there, 1, -1)
        clicked = (labels[:, 0] == 1).long()
        several = np.flatnonzero(kinds == 2)
        if len(several):
            chosen = self._tensor(several)
            shown = mask[chosen]
            near = F.max_pool2d(shown[:, None].float(), 25, 1, 12)[:, 0] > 0
            regions = torch.cat([shown, near & ~shown, ~shown, shown])
            more, found = clicks.first_clicks(regions, self._shares(4 * len(several), (0.2, 0.3)))
            found = found & self._tensor(random.random(4 * len(several)) < 0.55)
            kind = self._tensor(np.repeat(np.array((1, 0, 0, 1)), len(several)))
            points[chosen, 1:5] = more.reshape(4, -1, 2).transpose(0, 1)
            labels[chosen, 1:5] = torch.where(found, kind, -1).reshape(4, -1).T
            clicked[chosen] = 5
        boxed = self._tensor(kinds == 1)
        return Items(*scenes, state, points, labels, clicked, box, boxed), kinds

    def _shares(self, count: int, chances: tuple[float, float]) -> Tensor:
        kind = self._random.random(count)
        shares = np.where(kind < chances[0], 0.99, np.where(kind < sum(chances), 0.6, 0.01))
        return self._tensor(shares.astype(np.float32))

    def _correct(self, places: NDArray[np.intp]) -> None:
        if not len(places):
            return
        items, index = self._now, self._tensor(places)
        mask = self._shrunk(items.meant[index]) > 127
        at, labels, there = clicks.corrections(mask, items.state[index] > 0, self._shares(len(places), (0.6, 0.25)))
        clicked = items.clicked[index]
        there = there & (clicked < CLICKS)
        place = clicked.clamp_max(CLICKS - 1)
        items.points[index, place] = torch.where(there[:, None], at, items.points[index, place])
        items.labels[index, place] = torch.where(there, labels, items.labels[index, place])
        items.clicked[index] = clicked + there.long()

    def _show(self) -> Batch:
        side, count, random, items = self.shape.side, self.shape.items, self._random, self._now
        kinds = random.choice(3, size=count, p=_WINDOWS)
        kinds = np.where(self._ages == 0, WHOLE, kinds)
        windows, kind = self._windows(self._tensor(kinds))
        image = self._cut(items.pixels, windows, side)
        meant, whole = (
            F.avg_pool2d(self._cut(each[:, None], windows, side), 2)[:, 0] / 255 for each in (items.meant, items.whole)
        )
        begun = items.state.abs().amax((1, 2)) > 0
        previous = torch.tanh(self._cut(items.state[:, None], windows, side // 2) / 2) * begun[:, None, None, None]
        colours = opponent(image)
        corner, extent = windows[:, :2], windows[:, 2:] - windows[:, :2]
        cells = side // 4
        points = (items.points - corner[:, None]) / extent[:, None]
        seen = ((points > 0) & (points < 1)).all(2)
        labels = torch.where(seen, items.labels, -1)
        box = ((items.box.reshape(-1, 2, 2) - corner[:, None]) / extent[:, None]).reshape(-1, 4) * cells
        single = self._tensor((self._ages == 0) & (self._kinds == 0))
        focus = _focus(points, items.clicked, kind == LOCAL, side // 2)
        prompt = prompt_planes(
            colours, points * cells, labels, items.clicked - 1, box, items.boxed, single, kind == LOCAL
        )
        return Batch(image, prompt, previous, meant, whole, items.weights, focus, single, windows, kind)

    def _windows(self, kinds: Tensor) -> tuple[Tensor, Tensor]:
        """Windows [items, 4] of the kinds that are asked for, and the kinds that they are."""
        count, items = self.shape.items, self._now

        def drawn(low: float, high: float) -> Tensor:
            return torch.rand(count, device=self._device) * (high - low) + low

        shown = items.state > 0
        x0, x1 = clicks.extent(shown.any(1))
        y0, y1 = clicks.extent(shown.any(2))
        empty = ~shown.any(2).any(1)
        on = items.labels == 1
        low = torch.where(on[:, :, None], items.points, 2.0).amin(1)
        high = torch.where(on[:, :, None], items.points, -1.0).amax(1)
        x0, y0 = torch.minimum(x0, low[:, 0]), torch.minimum(y0, low[:, 1])
        x1, y1 = torch.maximum(x1, high[:, 0]), torch.maximum(y1, high[:, 1])
        boxed = items.boxed
        x0, y0 = (torch.where(boxed, torch.minimum(a, b), a) for a, b in ((x0, items.box[:, 0]), (y0, items.box[:, 1])))
        x1, y1 = (torch.where(boxed, torch.maximum(a, b), a) for a, b in ((x1, items.box[:, 2]), (y1, items.box[:, 3])))
        margin = 2 * _MARGIN * ((x1 - x0) * (y1 - y0)).clamp_min(1e-4).sqrt() * drawn(0.7, 1.4)
        width, height = x1 - x0 + margin, y1 - y0 + margin
        width, height = torch.maximum(width, height / _LONGEST), torch.maximum(height, width / _LONGEST)
        width, height = width.clamp_min(_LEAST), height.clamp_min(_LEAST)
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        around = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1).clamp(0, 1)
        size = (width * height).sqrt().clamp_max(1.0)
        # A tenth of the canvas is some fifty pixels.
        local = (size * drawn(0.25, 0.75)).clamp(0.14, 0.6)
        stretch = drawn(0.85, 1.18)
        newest = items.points.gather(1, (items.clicked - 1).clamp_min(0)[:, None, None].expand(-1, 1, 2))[:, 0]
        middle = newest + (torch.rand(count, 2, device=self._device) - 0.5) * 0.4 * local[:, None]
        half = torch.stack([local * stretch, local / stretch], 1).clamp_max(1.0) / 2
        middle = torch.maximum(torch.minimum(middle, 1 - half), half)
        close = torch.cat([middle - half, middle + half], 1)
        last = items.labels.gather(1, (items.clicked - 1).clamp_min(0)[:, None])[:, 0]
        there = (items.clicked > 0) & (last >= 0)
        kinds = torch.where((kinds == LOCAL) & ~there, OBJECT, kinds)
        kinds = torch.where((kinds == OBJECT) & empty, WHOLE, kinds)
        chosen = torch.where(
            (kinds == LOCAL)[:, None], close, torch.where((kinds == OBJECT)[:, None], around, self._everything)
        )
        return chosen, kinds

    def _cut(self, canvas: Tensor, windows: Tensor, side: int) -> Tensor:
        """What windows show of [items, channels, h, w], float32 [items, channels, side, side]."""
        theta = torch.zeros(len(windows), 2, 3, device=self._device)
        theta[:, 0, 0], theta[:, 1, 1] = windows[:, 2] - windows[:, 0], windows[:, 3] - windows[:, 1]
        theta[:, :, 2] = windows[:, :2] + windows[:, 2:] - 1
        grid = F.affine_grid(theta, [len(windows), canvas.shape[1], side, side], align_corners=False)
        return F.grid_sample(canvas.float(), grid, padding_mode="border", align_corners=False)


def _focus(points: Tensor, clicked: Tensor, local: Tensor, side: int) -> Tensor:
    """What each pixel counts, [items, side, side]; points are in windows, from 0 to 1."""
    newest = points.gather(1, (clicked - 1).clamp_min(0)[:, None, None].expand(-1, 1, 2))[:, 0]
    lines = (torch.arange(side, device=points.device) + 0.5) / side
    near = torch.exp((lines - newest[:, :, None]).square() / (-2 * _FOCUS_REACH**2))
    return 1 + _FOCUS * local[:, None, None] * near[:, 1, :, None] * near[:, 0, None, :]
