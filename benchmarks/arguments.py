"""What the benchmarks' command lines have in common."""

import argparse
import importlib.util


class CannotMeasure(Exception):  # noqa: N818 - the name states what was found
    """Something that is needed is not there."""


def count(text: str) -> int:
    """An argument that is a whole number of at least 1.

    Raises:
        ArgumentTypeError: it is none.
    """
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def need(command: str, *modules: str) -> None:
    """See that what ours is compared with is installed.

    Args:
        command: that makes an environment with it.

    Raises:
        CannotMeasure: one is not.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise CannotMeasure(
                f"{module} is not installed, with which ours is compared: run `{command}`, "
                "or install benchmarks/requirements-models.txt"
            )
