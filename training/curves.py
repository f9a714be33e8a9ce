"""The course of a training run, drawn."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from matplotlib.figure import Figure


def draw(log: Sequence[Mapping[str, float]], path: Path) -> None:
    """Loss and IoU over the steps, from the log that training keeps."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [row["step"] for row in log]
    left.plot(steps, [row["loss"] for row in log])
    left.set(xlabel="steps", title="loss", yscale="log")
    for name, label in (("iou_single", "one click"), ("iou_other", "more clicks, boxes, masks")):
        right.plot(steps, [row[name] for row in log], label=label)
    right.set(xlabel="steps", title="IoU on training scenes", ylim=(0, 1))
    right.legend(loc="lower right")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        for before, after in pairwise(log):
            if before["side"] != after["side"]:
                axes.axvline(after["step"], color="gray", linestyle="--", linewidth=1)
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.curves", description=__doc__)
    parser.add_argument("log", type=Path, help="log.json of a run")
    parser.add_argument("image", type=Path)
    options = parser.parse_args(arguments)
    draw(json.loads(options.log.read_text()), options.image)
    return 0


if __name__ == "__main__":
    sys.exit(main())
