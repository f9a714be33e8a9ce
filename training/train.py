"""Train on one device for a given time.

    python -m training.train --bank DIR --out DIR --seconds 480

The rate of learning follows the time that has passed, so that a run ends settled however fast the device is. The folder
gets `weights.safetensors` (averaged weights, normalised anew, with the judge), `network.safetensors` (to continue from)
and `log.jsonl`.
"""

import argparse
import copy
import json
import sys
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the usual name

from training import weights
from training.bank import Bank, with_cutouts
from training.judge import Judge
from training.losses import hard_iou, loss
from training.network import Nano, Widths
from training.optimiser import optimisers
from training.rounds import LOCAL, Batch, Rounds, Shape
from training.scenes import Renderer, SceneSampler, SceneSpec
from training.scores import collect, fit, of_photos, save_evidence

_REPORT = 100
_AHEAD = 24
_COARSE_LOSS = 0.4
_WARMUP = 150

# Looks around a click are taken at 160 × 160 pixels, others at 256 × 256 or so.
_STAGES = ("0.4:160:256:112", "0.6:256:160:72,256:160:72,160:256:112")


class SamplerPool:
    """A `SpecSource` whose scenes are drawn ahead by processes of their own.

    To be made before the process touches a GPU, for its processes are forks of this one.
    """

    def __init__(self, sampler: SceneSampler, seed: int, workers: int) -> None:
        global _COOK  # noqa: PLW0603 - what forks inherit
        _COOK = sampler
        self._seed, self._drawn = seed, 0
        self._pool = ProcessPoolExecutor(workers, mp_context=get_context("fork")) if workers else None
        self._waiting: dict[tuple[int, int], deque[Future[list[SceneSpec]]]] = {}
        if self._pool:
            list(self._pool.map(_draw, [(seed, -1 - worker, 1, 256) for worker in range(2 * workers)]))

    def draw(self, count: int, side: int) -> list[SceneSpec]:
        """So many specs for canvases of that side."""
        if not self._pool:
            return _draw(self._next(count, side))
        waiting = self._waiting.setdefault((count, side), deque())
        while len(waiting) < _AHEAD:
            waiting.append(self._pool.submit(_draw, self._next(count, side)))
        return waiting.popleft().result()

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def _next(self, count: int, side: int) -> tuple[int, int, int, int]:
        self._drawn += 1
        return self._seed, self._drawn, count, side


_COOK: SceneSampler


def _draw(work: tuple[int, int, int, int]) -> list[SceneSpec]:
    seed, number, count, side = work
    random = np.random.default_rng((seed, number + 1000))
    return [_COOK.draw(random, side) for _ in range(count)]


class Training:
    """A run.

    Args:
        bank: what scenes are made of.
        options: see `_options`.
    """

    def __init__(self, bank: Bank, options: argparse.Namespace) -> None:
        self._bank = bank
        self._samplers = SamplerPool(SceneSampler(bank), options.seed, options.workers)
        torch.manual_seed(options.seed)
        self._options = options
        self._device = torch.device(options.device)
        self._random = np.random.default_rng(options.seed)
        self._renderer = Renderer(bank, self._device)
        self.network = Nano(Widths()).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._graphs: dict[Shape, Any] = {}
        if options.start:
            self.network.load_state_dict(weights.load(options.start)[0].state_dict())
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self._forward: nn.Module = torch.compile(self.network, dynamic=False) if options.compile else self.network  # type: ignore[assignment]
        self._optimisers = optimisers(self.network, options.muon, options.adam)
        self._rates = [[float(group["lr"]) for group in each.param_groups] for each in self._optimisers]
        self.step, self._begun = 0, time.monotonic()
        self._sums = torch.zeros(8, device=self._device)
        self._no_edges = torch.tensor((1.0, 0.0, 1.0), device=self._device)

    def run(self) -> None:
        """Train until the time is over."""
        out: Path = self._options.out
        out.mkdir(parents=True, exist_ok=True)
        log = (out / "log.jsonl").open("a")
        stage, reported = -1, time.monotonic()
        saved, many = self._begun, []
        ends = np.cumsum([share for share, _ in self._options.stages])
        while (passed := self._passed()) < 1 and self.step < self._options.steps:
            wanted = min(int(np.searchsorted(ends, passed, side="right")), len(ends) - 1)
            if wanted != stage:
                stage = wanted
                self._graphs.clear()
                many = self._many(stage)
            rounds = many[self.step % len(many)]
            self._learn(rounds, passed)
            self.step += 1
            if self.step % self._options.report == 0:
                sums = self._sums.tolist()
                self._sums.zero_()
                now = time.monotonic()
                row = {
                    "step": self.step, "passed": round(passed, 4), "stage": stage,
                    "loss": sums[0] / self._options.report, "single": sums[1] / max(1, sums[2]),
                    "further": sums[3] / max(1, sums[4]), "local": sums[5] / max(1, sums[6]),
                    "unseen": sums[7] / self._options.report,
                    "ms": 1000 * (now - reported) / self._options.report,
                }  # fmt: skip
                reported = now
                print(json.dumps({name: round(value, 4) for name, value in row.items()}), flush=True)
                log.write(json.dumps(row) + "\n")
                log.flush()
                if now - saved > self._options.save:
                    saved = now
                    self.save(out)
        self._graphs.clear()
        self.save(out)
        self.calibrate(self._options.calibrate)
        self.save_weights(out, None)
        shape = self._options.stages[-1][1][0]
        shape = Shape(shape.side, shape.items, shape.items)
        scenes = collect(self.average, self._rounds(shape), self._options.judge)
        photos, sources = of_photos(
            self.average, self._bank, self._renderer, shape, self._options.judge_photos, self._device
        )
        save_evidence(out / "scenes.npz", scenes)
        save_evidence(out / "photos.npz", photos, sources)
        self.save_weights(out, fit(scenes, photos, self._options.judge_steps))
        self._samplers.close()
        print(json.dumps({"steps": self.step, "seconds": time.monotonic() - self._begun}), flush=True)

    def save(self, out: Path) -> None:
        """The weights, without averaging and without the optimiser: what only starts another run."""
        weights.save(out / "network.safetensors", self.network, None, self.step)

    def save_weights(self, out: Path, judge: Judge | None) -> None:
        weights.save(out / "weights.safetensors", self.average, judge, self.step)

    @torch.no_grad()
    def calibrate(self, batches: int) -> None:
        """Measure the statistics of batch normalisation for the averaged weights, on batches of the last stage."""
        norms = [each for each in self.average.modules() if isinstance(each, nn.BatchNorm2d)]
        usual = [each.momentum for each in norms]
        for each in norms:
            each.momentum = None
            each.reset_running_stats()
        self.average.train()
        many = self._many(-1)
        for number in range(batches):
            rounds = many[number % len(many)]
            batch = rounds.next()
            with torch.autocast(self._device.type, torch.bfloat16):
                logits, _ = self.average(_seen(batch), batch.prompt, batch.previous)
            rounds.take(batch, logits)
        for each, momentum in zip(norms, usual, strict=True):
            each.momentum = momentum
        self.average.eval()

    def _passed(self) -> float:
        return (time.monotonic() - self._begun) / self._options.seconds

    def _learn(self, rounds: Rounds, passed: float) -> None:
        rate = min(1.0, (self.step + 1) / _WARMUP, max(0.0, 1 - passed) / (1 - self._options.hold))
        for optimiser, rates in zip(self._optimisers, self._rates, strict=True):
            for group, full in zip(optimiser.param_groups, rates, strict=True):
                group["lr"].fill_(full * rate)
        batch = rounds.next()
        total, logits = self._descend(batch, rounds.shape)
        self._follow()
        rounds.take(batch, logits)
        self._count(batch, logits, total)

    def _rounds(self, shape: Shape) -> Rounds:
        return Rounds(self._samplers, self._renderer, shape, self._random, self._device)

    def _many(self, stage: int) -> list[Rounds]:
        return [self._rounds(shape) for shape in self._options.stages[stage][1]]

    def _descend(self, batch: Batch, shape: Shape) -> tuple[Tensor, Tensor]:
        """One step of the optimisers; the loss and the logits, without their history."""
        if not self._options.graph:
            return self._update(batch)
        if shape not in self._graphs:
            self._graphs[shape] = self._recorded(Batch(*(each.clone() for each in batch)))
        graph, still, answer = self._graphs[shape]
        torch._foreach_copy_(list(still), list(batch))
        graph.replay()
        return answer

    def _recorded(self, still: Batch) -> tuple[Any, Batch, tuple[Tensor, Tensor]]:
        """A graph of `_update` that reads a batch; it is tried first, at a rate of zero."""
        rates = [group["lr"] for each in self._optimisers for group in each.param_groups]
        kept = [rate.clone() for rate in rates]
        for rate in rates:
            rate.zero_()
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(3):
                self._update(still)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        for each in self.network.parameters():
            each.grad = None
        with torch.cuda.graph(graph):
            answer = self._update(still, fresh=False)
        for rate, before in zip(rates, kept, strict=True):
            rate.copy_(before)
        return graph, still, answer

    def _update(self, batch: Batch, fresh: bool = True) -> tuple[Tensor, Tensor]:
        if fresh:
            for each in self.network.parameters():
                each.grad = None
        with torch.autocast(self._device.type, torch.bfloat16, cache_enabled=not self._options.graph):
            logits, coarse = self._forward(_seen(batch), batch.prompt, batch.previous)
        total = loss(logits, batch.meant, batch.whole, batch.single, batch.weights, batch.focus)
        truths = [F.avg_pool2d(each[:, None], 4)[:, 0] for each in (batch.meant, batch.whole, batch.focus)]
        plain = batch.weights * self._no_edges
        total = total + _COARSE_LOSS * loss(coarse, truths[0], truths[1], batch.single, plain, truths[2])
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0, foreach=True)
        for optimiser in self._optimisers:
            optimiser.step()
        return total.detach(), logits.detach()

    @torch.no_grad()
    def _follow(self) -> None:
        keep = min(self._options.average, (1 + self.step) / (20 + self.step))
        mine, theirs = list(self.average.parameters()), list(self.network.parameters())
        torch._foreach_lerp_(mine, theirs, 1 - keep)
        torch._foreach_copy_(list(self.average.buffers()), list(self.network.buffers()))

    @torch.no_grad()
    def _count(self, batch: Batch, logits: Tensor, total: Tensor) -> None:
        wanted = torch.where(batch.single[:, None, None], batch.whole, batch.meant)
        reached = hard_iou(logits[:, :1], wanted)[:, 0]
        shown = batch.weights[:, 0] > 0
        local = batch.kinds == LOCAL
        groups = (batch.single & shown, ~batch.single & shown & ~local, local & shown)
        counted = [value for group in groups for value in ((reached * group).sum(), group.sum().float())]
        self._sums += torch.stack([total, *counted, (~shown).float().mean()])


def _seen(batch: Batch) -> Tensor:
    """Images as the network reads them."""
    return (batch.image / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def _stage(text: str) -> tuple[float, tuple[Shape, ...]]:
    share, _, shapes = text.partition(":")
    return float(share), tuple(Shape(*(int(number) for number in each.split(":"))) for each in shapes.split(","))


def _options(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bank", type=Path, required=True, metavar="DIR", help="that `training.bank` unpacked")
    parser.add_argument("--cutouts", type=Path, metavar="FILE", help="packed cut-outs, if the bank has none")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--steps", type=int, default=10**9, help="at most")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--stages", type=_stage, nargs="+", metavar="SHARE:SIDE:ITEMS:FRESH[,...]",
                        default=[_stage(each) for each in _STAGES],
                        help="share of the time, and one or more sizes that take turns")  # fmt: skip
    parser.add_argument("--start", type=Path, metavar="FILE", help="a checkpoint to go on from")
    parser.add_argument("--hold", type=float, default=0.3, help="share of the time at the full rate")
    parser.add_argument("--muon", type=float, default=0.02)
    parser.add_argument("--adam", type=float, default=2e-3)
    parser.add_argument("--average", type=float, default=0.999)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--graph", action="store_true", help="replay one recorded CUDA graph for each step")
    parser.add_argument("--judge", type=int, default=90, help="batches of scenes on which the scores are fitted")
    parser.add_argument("--judge-photos", type=int, default=200,
                        help="batches of single clicks on photos on which they are fitted too")  # fmt: skip
    parser.add_argument("--judge-steps", type=int, default=600)
    parser.add_argument("--workers", type=int, default=6, help="processes that draw specs")
    parser.add_argument("--calibrate", type=int, default=60, help="batches")
    parser.add_argument("--report", type=int, default=_REPORT, help="steps")
    parser.add_argument("--save", type=float, default=60, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    torch.backends.cudnn.benchmark = True
    bank = Bank.load(options.bank)
    if options.cutouts:
        bank = with_cutouts(bank, options.cutouts, options.workers)
    training = Training(bank, options)
    training.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
