"""Fuzz one target in this process: `python -m fuzz.worker TARGET [libFuzzer's arguments]`."""

import sys
from contextlib import suppress

import atheris

# Coverage is measured in what is imported here.
with atheris.instrument_imports(include=["maskery", "starlette.formparsers", "python_multipart", "PIL"]):
    from PIL import Image

    # Imports the readers of all formats.
    Image.init()
    from fuzz.limits import check
    from fuzz.targets import REFUSALS, TARGETS


def main() -> None:
    name, *arguments = sys.argv[1:]
    target = TARGETS[name]
    # The first call imports what is imported lazily, which is not the input's cost.
    for _ in range(2):
        with suppress(*REFUSALS):
            target(b"{}")
    atheris.Setup([f"fuzz.{name}", *arguments], lambda data: check(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
