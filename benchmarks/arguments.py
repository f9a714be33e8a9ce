"""Arguments and checks that the benchmarks share."""

import argparse
import importlib.util


class CannotMeasure(Exception):  # noqa: N818 - the name states what was found
    """A requirement of the benchmark is missing; the message says which."""


def count(text: str) -> int:
    """Parse an argument that is a whole number of at least 1.

    Raises:
        ArgumentTypeError: it is not.
    """
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def need(command: str, *modules: str) -> None:
    """Check that the packages to compare with are installed.

    Args:
        command: the make target that installs them.

    Raises:
        CannotMeasure: one is missing.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise CannotMeasure(
                f"{module} is not installed, which this benchmark compares with: run `{command}`, or install "
                "benchmarks/requirements-models.txt"
            )
