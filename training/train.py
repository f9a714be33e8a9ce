"""Train the network.

    python -m training.train --data DIR --out DIR --schedule cpu

Goes on from the checkpoint in the output folder if there is one. What depends on chance depends on the seed and the
number of the step alone.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training import checkpoint
from training.answering import answer, encode, grow, tensor
from training.batches import Batch, Batches, loader
from training.curves import draw
from training.data import Library, open_data
from training.losses import hard_iou, loss
from training.network import Nano, Widths
from training.optimiser import optimisers
from training.rounds import Rounds
from training.schedules import SCHEDULES, Schedule, Stage

_REPORT = 50
_SAVE = 50


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    learned, _ = open_data(options.data)
    options.out.mkdir(parents=True, exist_ok=True)
    schedule = SCHEDULES[options.schedule]
    Training(learned, schedule, options.out, options.seed, muon=not options.adam).run()
    return 0


class Training:
    """A run that can be interrupted at any time.

    Args:
        library: what is learned from.
        schedule: how.
        out: folder for the checkpoint, the log and the curves.
        seed: of everything random.
        network: what learns; None: one of the usual shape, or of that in the checkpoint.
        muon: see `optimisers`.
    """

    def __init__(
        self,
        library: Library,
        schedule: Schedule,
        out: Path,
        seed: int = 0,
        network: Nano | None = None,
        muon: bool = True,
    ) -> None:
        torch.manual_seed(seed)
        self._library, self._schedule, self._out, self._seed = library, schedule, out, seed
        self._device = torch.device(schedule.device)
        self._pool = ThreadPoolExecutor(schedule.threads) if schedule.threads else None
        path = out / "checkpoint.pt"
        state = checkpoint.load(path) if path.exists() else None
        network = network or Nano(Widths(**state["widths"]) if state else None)
        self.network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = checkpoint.Average(self.network, schedule.average)
        self._optimisers = optimisers(self.network, muon, schedule.muon_lr, schedule.adam_lr)
        self._rates = [[group["lr"] for group in each.param_groups] for each in self._optimisers]
        self.step, self.log = 0, list[Any]()
        if state:
            self.network.load_state_dict(state["network"])
            self.average.network.load_state_dict(state["average"])
            for each, stored in zip(self._optimisers, state["optimisers"], strict=True):
                each.load_state_dict(stored)
            self.step, self.log = state["step"], state["log"]

    def run(self) -> None:
        """Train to the end of the schedule, reporting and saving on the way."""
        recent: list[tuple[float, ...]] = []
        start, cpu = time.time(), time.process_time()
        stage: Stage | None = None
        batches: Iterator[Batch] = iter(())
        while self.step < self._schedule.steps:
            if stage is not (now := self._schedule.stage(self.step)):
                stage = now
                made = Batches(self._library, self._seed, self.step, stage.side, stage.images, self._schedule.prompts)
                batches = loader(made, self._schedule.workers)
            recent.append(self._learn(next(batches)))
            self.step += 1
            if self.step % _REPORT == 0:
                self._report(stage.side, np.nanmean(recent, axis=0), time.time() - start, time.process_time() - cpu)
                recent, start, cpu = [], time.time(), time.process_time()
            if self.step % _SAVE == 0 or self.step == self._schedule.steps:
                self.save()
        draw(self.log, self._out / "curves.png")

    def save(self) -> None:
        checkpoint.save(self._out / "checkpoint.pt", self.network, self.average, self._optimisers, self.step, self.log)
        (self._out / "log.json").write_text(json.dumps(self.log))

    def _learn(self, batch: Batch) -> tuple[float, ...]:
        """One step; loss, its score part, and the mean IoU of the first answers to single clicks and to others."""
        random = np.random.default_rng((self._seed, self.step, 1))
        rate = self._schedule.rate(self.step)
        for each, rates in zip(self._optimisers, self._rates, strict=True):
            for group, full in zip(each.param_groups, rates, strict=True):
                group["lr"] = full * rate
        self.network.train()
        rounds = Rounds(batch, random, self._pool)
        meant, whole = (tensor(self.network, each).flatten(0, 1).float() / 255 for each in (batch.meant, batch.whole))
        with torch.autocast(self._device.type, torch.bfloat16):
            features = encode(self.network, batch)
            grow(self.network, features, rounds, random)
            logits, scores = answer(self.network, features, rounds)
        ambiguous = torch.from_numpy(rounds.ambiguous).to(self._device)
        total, scored = loss(logits, scores, meant, whole, ambiguous)
        for each in self._optimisers:
            each.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        for each in self._optimisers:
            each.step()
        self.average.follow(self.network, self.step)
        reached = hard_iou(logits.detach()[:, :1], torch.where(ambiguous[:, None, None], whole, meant))[:, 0]
        single, other = reached[ambiguous], reached[~ambiguous]
        return (
            float(total.detach()),
            float(scored),
            float(single.mean()) if len(single) else np.nan,
            float(other.mean()) if len(other) else np.nan,
        )

    def _report(self, side: int, mean: Any, seconds: float, cpu: float) -> None:
        names = ("loss", "score_loss", "iou_single", "iou_other")
        row = {"step": self.step, "side": side, **dict(zip(names, map(float, mean), strict=True))}
        row |= {"seconds": seconds, "cpu": cpu}
        self.log.append(row)
        print(
            f"step {self.step:6} of {self._schedule.steps}  {side} px  loss {row['loss']:.3f}  "
            f"score {row['score_loss']:.3f}  IoU single {row['iou_single']:.3f} other {row['iou_other']:.3f}  "
            f"{seconds / _REPORT:.2f} s/step, {cpu / _REPORT:.2f} s of CPU",
            flush=True,
        )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="photos with masks, and cut-outs")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for checkpoint, log and curves")
    parser.add_argument("--schedule", choices=sorted(SCHEDULES), default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--adam", action="store_true", help="AdamW for all weights, to compare")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
