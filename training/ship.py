"""From a checkpoint to what is shipped: normalisation, scores, graphs, the model card's numbers and its images.

python -m training.ship --data DIR --checkpoint FILE --graphs DIR --figures DIR --numbers FILE
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from maskery.models.builtin.nano import Nano
from training import checkpoint, curves, figures
from training.cases import cases
from training.data import open_data
from training.evaluate import follow, summarise
from training.export import export
from training.robustness import measure
from training.scores import finish

_CLICKS = 5

# Each is asked seven times, so a quarter of what else is measured on has to do.
_CHANGED = 4


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    torch.manual_seed(0)
    learned, held = open_data(options.data)
    if not options.fitted:
        finish(options.checkpoint, learned, options.batches)
    export(checkpoint.averaged(options.checkpoint), checkpoint.judge(options.checkpoint), options.graphs)
    found = cases(held, options.per_source)
    model = Nano(folder=options.graphs)
    courses = [follow(model, case, _CLICKS) for case in found]
    figures.draw(found, courses, options.figures)
    curves.draw(checkpoint.load(options.checkpoint)["log"], options.figures / "nano-curves.png")
    numbers = {
        "held_out": summarise(found, courses),
        "changed": measure(cases(held, -(-options.per_source // _CHANGED)), options.graphs),
        "bytes": sum(path.stat().st_size for path in options.graphs.glob("nano-*.onnx")),
    }
    options.numbers.write_text(json.dumps(numbers, indent=1) + "\n")
    print(json.dumps(numbers, indent=1))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.ship", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help="what is fitted is kept in it")
    parser.add_argument("--graphs", type=Path, required=True, metavar="DIR")
    parser.add_argument("--figures", type=Path, required=True, metavar="DIR")
    parser.add_argument("--numbers", type=Path, required=True, metavar="FILE")
    parser.add_argument("--batches", type=int, default=600, help="to fit the judge on")
    parser.add_argument("--per-source", type=int, default=60, help="cases to measure on, at most")
    parser.add_argument("--fitted", action="store_true", help="the checkpoint has all that already")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
