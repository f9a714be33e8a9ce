"""IoU after each click, clicks to 85% and 90% IoU, and one box, on what is held out or on a folder of images and masks.

    python -m training.evaluate --data DIR --weights FILE        # held-out photos
    python -m training.evaluate --folder DIR --weights FILE      # images/<id>.jpg, masks/<id>.png
    python -m training.evaluate --data DIR --shipped             # the model of the installed package

Clicks follow the usual protocol (Sofiiuk et al., 2021): the deepest point of the largest error.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from training.bank import held_out
from training.data import Photo

Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Click = tuple[float, float, int]

_LEAST_SHARE, _MOST_OF_A_PHOTO = 0.01, 3


@dataclass(frozen=True, eq=False)
class Case:
    """An object to be found; `ignored` pixels count neither for nor against."""

    source: str
    name: str
    pixels: Bytes
    mask: Bools
    ignored: Bools


class Session(Protocol):
    """Answers about one image."""

    def click(self, clicks: Sequence[Click]) -> tuple[Bools, float, list[Bools]]:
        """Mask, score and all candidates for these clicks."""
        ...

    def box(self, box: tuple[float, float, float, float]) -> Bools: ...


def cases(data: Path, per_source: int) -> list[Case]:
    """The largest whole objects of the held-out photos, the same at every call."""
    return largest(held_out(data).photos, per_source)


def largest(photos: Sequence[Photo], per_source: int) -> list[Case]:
    """The largest whole objects of photos, at most so many of a source."""
    found: list[Case] = []
    for source in sorted({photo.source for photo in photos}):
        mine = []
        for photo in (each for each in photos if each.source == source):
            least = _LEAST_SHARE * photo.pixels[:, :, 0].size
            wholes = sorted(
                (each for each in photo.things if each.whole and each.area > least), key=lambda each: -each.area
            )
            mine += [(photo, thing) for thing in wholes[:_MOST_OF_A_PHOTO]]
        for index in sorted(np.random.default_rng(0).permutation(len(mine))[:per_source]):
            photo, thing = mine[index]
            mask = thing.mask() > 0
            found.append(Case(source, photo.name, photo.pixels, mask, np.zeros_like(mask)))
    return found


def folder_cases(folder: Path) -> list[Case]:
    """Images and masks of a benchmark: 255 object, 0 background, 128 ignored."""
    found = []
    for path in sorted((folder / "masks").glob("*.png")):
        [image] = (folder / "images").glob(f"{path.stem}.*")
        pixels = np.ascontiguousarray(cv2.imread(str(image))[:, :, ::-1]).astype(np.uint8)
        values = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        found.append(Case(folder.name, path.stem, pixels, values == 255, values == 128))
    return found


def pack(found: Sequence[Case], out: Path) -> None:
    """Write cases to one file."""
    coded = [
        cv2.imencode(".webp", case.pixels[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, 90])[1].ravel() for case in found
    ]
    np.savez_compressed(
        out,
        images=np.concatenate(coded),
        image_ends=np.cumsum([len(each) for each in coded]),
        masks=np.concatenate([np.packbits(np.stack([case.mask, case.ignored])) for case in found]),
        names=np.array([(case.source, case.name) for case in found]),
    )


def packed_cases(path: Path) -> list[Case]:
    """The cases that `pack` wrote."""
    found, start, bits = [], 0, 0
    with np.load(path) as stored:
        images, masks = stored["images"], stored["masks"]
        for end, (source, name) in zip(stored["image_ends"].tolist(), stored["names"].tolist(), strict=True):
            pixels = np.ascontiguousarray(cv2.imdecode(images[start:end], cv2.IMREAD_COLOR)[:, :, ::-1]).astype(
                np.uint8
            )
            size = 2 * pixels[:, :, 0].size
            used = -(-size // 8)
            mask, ignored = np.unpackbits(masks[bits : bits + used])[:size].reshape(2, *pixels.shape[:2]) > 0
            found.append(Case(source, name, pixels, mask, ignored))
            start, bits = end, bits + used
    return found


def next_click(case: Case, answer: Bools) -> Click | None:
    """The deepest point of the deeper kind of error."""
    best: tuple[float, Click] | None = None
    for label, region in ((1, case.mask & ~answer), (0, answer & ~case.mask & ~case.ignored)):
        distance = cv2.distanceTransform(np.pad(region.astype(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        distance = distance[1:-1, 1:-1]
        y, x = np.unravel_index(int(np.rint(distance.astype(np.float64) ** 2).argmax()), distance.shape)
        if distance[y, x] > (best[0] if best else 0):
            best = float(distance[y, x]), (float(x) + 0.5, float(y) + 0.5, label)
    return best[1] if best else None


def iou(case: Case, answer: Bools) -> float:
    union = np.count_nonzero(case.mask | (answer & ~case.ignored))
    return np.count_nonzero(case.mask & answer) / union if union else 1.0


def follow(session: Session, case: Case, most: int, least: int = 5, enough: float = 0.9) -> dict[str, Any]:
    """Click until it is right or the clicks are spent; at least `least` are asked for."""
    answer = np.zeros_like(case.mask)
    clicks: list[Click] = []
    curve: list[float] = []
    scores: list[float] = []
    row: dict[str, Any] = {"source": case.source, "name": case.name}
    while len(curve) < most and (len(curve) < least or max(curve) < enough):
        click = next_click(case, answer)
        if click is None:
            break
        clicks.append(click)
        answer, score, candidates = session.click(clicks)
        if not curve:
            row["best"] = max(iou(case, each) for each in candidates)
        curve.append(iou(case, answer))
        scores.append(float(score))
    row |= {"curve": curve, "scores": scores}
    rows, columns = np.flatnonzero(case.mask.any(1)), np.flatnonzero(case.mask.any(0))
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    row["box"] = iou(case, session.box(box))
    distance = cv2.distanceTransform(np.pad(case.mask.astype(np.uint8), 1), cv2.DIST_L2, 5)
    row["thin"] = bool(2 * distance.max() < 0.55 * np.count_nonzero(case.mask) ** 0.5)
    return row


def agreement(answers: Callable[[Bytes], Session], case: Case, most: int = 3) -> list[float]:
    """IoU of the answers to the same clicks on the image and on the image turned by 90°, mean of left and right.

    After the first click, the second, and so on.
    """
    columns, rows = case.pixels.shape[1], case.pixels.shape[0]
    upright = answers(case.pixels)
    turned = {quarters: answers(np.ascontiguousarray(np.rot90(case.pixels, quarters))) for quarters in (1, -1)}
    answer, clicks, found = np.zeros_like(case.mask), list[Click](), []
    while len(found) < most and (click := next_click(case, answer)):
        clicks.append(click)
        answer = upright.click(clicks)[0]
        same = []
        for quarters, session in turned.items():
            moved = [(y, columns - x, on) if quarters == 1 else (rows - y, x, on) for x, y, on in clicks]
            again = np.rot90(session.click(moved)[0], -quarters)
            same.append(np.count_nonzero(answer & again) / max(1, np.count_nonzero(answer | again)))
        found.append(float(np.mean(same)))
    return found


def summarise(rows: Sequence[dict[str, Any]], most: int) -> dict[str, Any]:
    """Measures by source, their mean, and those of thin objects."""
    names = sorted({row["source"] for row in rows})
    by_source = {name: _measures([row for row in rows if row["source"] == name], most) for name in names}
    mean = {
        key: round(float(np.mean([each[key] for each in by_source.values()])), 4)
        for key in next(iter(by_source.values()))
    }
    thin = [row for row in rows if row["thin"]]
    return {"mean": mean, "all": _measures(rows, most), "thin": _measures(thin, most) if thin else {}, **by_source}


def _measures(rows: Sequence[dict[str, Any]], most: int) -> dict[str, float]:
    curves = [row["curve"] + [row["curve"][-1]] * (most - len(row["curve"])) for row in rows]
    found = {"cases": float(len(rows))}
    found |= {f"iou{count}": float(np.mean([curve[count - 1] for curve in curves])) for count in (1, 2, 3, 5)}
    for goal in (85, 90):
        needed = [next((n for n, each in enumerate(row["curve"], 1) if each >= goal / 100), most) for row in rows]
        never = [max(row["curve"]) < goal / 100 for row in rows]
        found |= {f"noc{goal}": float(np.mean(needed)), f"never{goal}": float(np.mean(never))}
    found |= {
        "box": float(np.mean([row["box"] for row in rows])),
        "best1": float(np.mean([row["best"] for row in rows])),
    }
    scores, reached = np.array([row["scores"][0] for row in rows]), np.array([row["curve"][0] for row in rows])
    ranks = [np.argsort(np.argsort(each)) for each in (scores, reached)]
    found["rank"] = float(np.corrcoef(ranks[0], ranks[1])[0, 1]) if len(rows) > 2 else 0.0
    found["bias"] = float((scores - reached).mean())
    return {name: round(value, 4) for name, value in found.items()}


def shipped() -> Callable[[Bytes], Session]:
    from maskery.models.builtin.nano import Nano  # noqa: PLC0415 - one of two
    from maskery.segmentation import Image, ObjectPrompt  # noqa: PLC0415

    model = Nano()

    class Shipped:
        def __init__(self, pixels: Bytes) -> None:
            self._embedding = model.encode(Image(pixels))

        def click(self, clicks: Sequence[Click]) -> tuple[Bools, float, list[Bools]]:
            points = np.array([(x, y) for x, y, _ in clicks], np.float32)
            masks, scores = self._ask(ObjectPrompt(points, np.array([label for _, _, label in clicks], np.uint8)))
            return masks[0], scores[0], masks

        def box(self, box: tuple[float, float, float, float]) -> Bools:
            nothing = np.zeros((0, 2), np.float32), np.zeros(0, np.uint8)
            return self._ask(ObjectPrompt(*nothing, box=np.array(box, np.float32)))[0][0]

        def _ask(self, prompt: ObjectPrompt) -> tuple[list[Bools], list[float]]:
            [candidates] = model.decode(self._embedding, [prompt])
            width, height = self._embedding.size
            grown = [
                cv2.resize(each, (width, height), interpolation=cv2.INTER_LINEAR)
                for each in map(candidates.logits_of, range(len(candidates)))
            ]
            return [each > 0 for each in grown], candidates.scores.tolist()

    return Shipped


def _trained(weights: Path, settings: dict[str, Any], bf16: bool = False) -> Callable[[Bytes], Session]:
    import torch  # noqa: PLC0415 - needs PyTorch

    from training.fold import Folder, Prompt, Settings, State  # noqa: PLC0415

    # Threads that wait for each other are worth nothing on a shared machine; there are processes for more cores.
    torch.set_num_threads(1)
    folder = Folder(weights, Settings(**settings), bf16)

    class Folded:
        def __init__(self, pixels: Bytes) -> None:
            self._size = pixels.shape[1::-1]
            self._image = folder.encode(pixels)
            self._states: list[State] = []

        def click(self, clicks: Sequence[Click]) -> tuple[Bools, float, list[Bools]]:
            prompt = Prompt(tuple(clicks))
            state = (
                folder.step(self._image, prompt, self._states[-1])
                if self._states
                else folder.begin(self._image, prompt)
            )
            self._states.append(state)
            return self._mask(state.logits), state.score, [self._mask(each) for each in state.candidates]

        def box(self, box: tuple[float, float, float, float]) -> Bools:
            return self._mask(folder.begin(self._image, Prompt((), box)).logits)

        def _mask(self, logits: NDArray[np.float32]) -> Bools:
            return cv2.resize(logits, self._size, interpolation=cv2.INTER_LINEAR) > 0

    return Folded


_ANSWERS: list[Callable[[Bytes], Session]] = []


def _begin(options: argparse.Namespace) -> None:
    _ANSWERS[:] = [shipped() if options.shipped else _trained(options.weights, options.settings, options.bf16)]


def _follow(case: Case, clicks: int) -> dict[str, Any]:
    return follow(_ANSWERS[0](case.pixels), case, clicks)


def _agree(case: Case) -> list[float]:
    return agreement(_ANSWERS[0], case)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--folder", type=Path, metavar="DIR")
    parser.add_argument("--weights", type=Path, metavar="FILE")
    parser.add_argument("--shipped", action="store_true")
    parser.add_argument("--settings", type=json.loads, default={}, help="of the fold, JSON")
    parser.add_argument("--per-source", type=int, default=30)
    parser.add_argument("--every", type=int, default=1, help="take one case in so many")
    parser.add_argument("--bf16", action="store_true", help="compute as processors with bf16 do")
    parser.add_argument("--clicks", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--cases", type=Path, metavar="FILE", help="that --pack wrote")
    parser.add_argument("--pack", type=Path, metavar="FILE", help="write the cases, to be evaluated elsewhere")
    parser.add_argument("--turned", action="store_true", help="instead: whether answers agree on turned images")
    parser.add_argument("--out", type=Path, metavar="FILE", help="for every case's curve")
    options = parser.parse_args(arguments)
    if options.cases:
        found = packed_cases(options.cases)
    else:
        found = folder_cases(options.folder) if options.folder else cases(options.data, options.per_source)
    found = found[:: options.every]
    if options.pack:
        pack(found, options.pack)
        return 0
    started = time.perf_counter()
    with ProcessPoolExecutor(options.processes, get_context("spawn"), _begin, (options,)) as pool:
        if options.turned:
            same = list(pool.map(_agree, found))
            for count in (1, 2, 3):
                print(f"turned, {count} clicks: {np.mean([each[min(count, len(each)) - 1] for each in same]):.3f}")
            return 0
        rows = list(pool.map(_follow, found, [options.clicks] * len(found)))
    summary = summarise(rows, options.clicks)
    if options.out:
        options.out.write_text(json.dumps({"summary": summary, "rows": rows}))
    for name, measures in summary.items():
        print(f"{name:22}" + " ".join(f"{key} {value:.3f}" for key, value in measures.items()))
    print(f"{time.perf_counter() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
