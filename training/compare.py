"""Compare shapes of the network: each learns the same scenes for the same number of steps.

    python -m training.compare --data DIR --out DIR [--seeds 2] [SHAPE ...]

Scenes and first clicks depend on the seed and the step alone, so shapes differ by themselves and by what chance makes
of their first weights; two seeds tell how much that is. Scenes are never shown twice: an IoU of training is one of new
scenes. A comparison that was interrupted goes on where it stopped.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the usual name

from training.data import open_data
from training.network import PREVIOUS_PLANES, PROMPT_PLANES, Conv, Decoder, Look, Nano, Residual, Widths
from training.schedules import SCHEDULES
from training.train import Training

# Of the run, at its end: what is compared.
_LAST_STEPS = 100

# What it costs is measured on an image of this shape, in this many calls.
_SHAPE, _CALLS = (208, 240), 20


def shipped() -> Nano:
    """As it is."""
    return Nano()


def without_attention() -> Nano:
    """Six residual blocks in place of four with three of attention."""
    return Nano(Widths(blocks=6, attention=0))


def without_likeness() -> Nano:
    """Nothing says how much a place resembles what was clicked."""
    network = Nano()
    network.decoder.like_quarter = network.decoder.like_eighth = _NoLikeness()  # type: ignore[assignment]
    return network


def fine() -> Nano:
    """Half as many channels again at a quarter, fewer at a sixteenth."""
    return Nano(Widths(quarter=48, eighth=96, sixteenth=128, blocks=3, attention=2))


def joined_at_a_quarter() -> Nano:
    """The prompt is there before the features at an eighth are made, so that each click makes them again."""
    network = Nano()
    network.encoder.down, network.encoder.eighth = nn.Identity(), nn.Identity()  # type: ignore[assignment]
    network.decoder = _JoinedAtAQuarter(network.widths)
    return network


SHAPES: dict[str, Callable[[], Nano]] = {
    each.__name__.replace("_", "-"): each
    for each in (shipped, without_attention, without_likeness, fine, joined_at_a_quarter)
}


class _NoLikeness(nn.Module):
    def forward(self, _: Tensor, clicks: Tensor) -> Tensor:
        return torch.zeros_like(clicks)


class _JoinedAtAQuarter(Decoder):
    def __init__(self, widths: Widths) -> None:
        super().__init__(widths)
        self.tell = Conv(PROMPT_PLANES + PREVIOUS_PLANES, widths.quarter)
        self.again = nn.Sequential(
            Conv(widths.quarter, widths.eighth, stride=2), Residual(widths.eighth), Residual(widths.eighth)
        )

    def look(self, half: Tensor, quarter: Tensor, eighth: Tensor, prompt: Tensor, previous: Tensor) -> Look:
        told = quarter + self.tell(torch.cat([prompt, F.pixel_unshuffle(previous, 2)], 1))
        return super().look(half, told, self.again(told), prompt, previous)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.compare", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="photos with masks, and cut-outs")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for a checkpoint of each")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each")
    parser.add_argument("--schedule", choices=sorted(SCHEDULES), default="trial")
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=f"of {', '.join(SHAPES)}; none: all")
    options = parser.parse_args(arguments)
    if unknown := set(options.shapes) - set(SHAPES):
        parser.error(f"no such shape: {', '.join(sorted(unknown))}; there are {', '.join(SHAPES)}")
    learned, _ = open_data(options.data)
    rows = []
    # Seed by seed, so that there is one of each early.
    for seed in range(options.seeds):
        for name in options.shapes or SHAPES:
            torch.manual_seed(seed)
            out = options.out / f"{name}-{seed}"
            out.mkdir(parents=True, exist_ok=True)
            training = Training(learned, SCHEDULES[options.schedule], out, seed, SHAPES[name]())
            training.run()
            rows.append({"shape": name, "seed": seed, **_ends(training.log), **_costs(training.network)})
            print(json.dumps(rows[-1]), flush=True)
    print(_table(rows))
    return 0


def _ends(log: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over the last steps, and seconds of processor time a step."""
    last = [row for row in log if row["step"] > log[-1]["step"] - _LAST_STEPS]
    ends = {name: statistics.fmean(row[name] for row in last) for name in ("loss", "iou_single", "iou_other")}
    return ends | {"cpu": sum(row["cpu"] for row in log) / log[-1]["step"]}


@torch.inference_mode()
def _costs(network: Nano) -> dict[str, float]:
    """Parameters in millions, and medians of milliseconds that the two parts of a shape take in bf16."""
    network.eval()
    rows, columns = _SHAPE
    image = torch.zeros(1, 3, rows, columns).contiguous(memory_format=torch.channels_last)
    planes, previous = (
        torch.zeros(1, PROMPT_PLANES, rows // 4, columns // 4),
        torch.zeros(1, 1, rows // 2, columns // 2),
    )
    taken: dict[str, list[float]] = {"encode": [], "click": []}
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(_CALLS):
            started = time.perf_counter()
            features = network.encoder(image)
            encoded = time.perf_counter()
            network.decoder(*features, planes, previous)
            taken["encode"].append(encoded - started)
            taken["click"].append(time.perf_counter() - encoded)
    size = sum(weights.numel() for weights in network.parameters()) / 1e6
    return {"parameters": size} | {name: 1000 * statistics.median(times) for name, times in taken.items()}


def _table(rows: Sequence[dict[str, float | str]]) -> str:
    names = ("loss", "iou_single", "iou_other", "parameters", "encode", "click", "cpu")
    lines = [f"{'shape':22}" + "".join(f"{name:>12}" for name in names)]
    for shape in dict.fromkeys(row["shape"] for row in rows):
        runs = [row for row in rows if row["shape"] == shape]
        means = [statistics.fmean(float(run[name]) for run in runs) for name in names]
        lines.append(f"{shape:22}" + "".join(f"{mean:12.3f}" for mean in means))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
