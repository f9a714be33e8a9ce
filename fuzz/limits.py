"""What one input may cost: CPU time, and memory beyond that of the process."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fuzz.targets import IMAGE_LIMITS, REFUSALS

#: CPU seconds. CPU time does not depend on the load of the machine.
MAX_SECONDS = 2.0

#: Bytes: what the settings reserve for each pixel, the largest request in each of its forms (text, JSON, base64, file),
#: and allocator overhead.
MAX_BYTES = 24 * IMAGE_LIMITS.max_pixels + 8 * IMAGE_LIMITS.max_bytes + 32 * 2**20

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


class LimitExceeded(Exception):  # noqa: N818 - the name states what was found
    """An input costs more time or memory than it may."""


def check(target: Callable[[bytes], None], data: bytes) -> None:
    """Run a target on one input.

    Raises:
        LimitExceeded: the input takes too long, or too much memory.
        Exception: the target failed.
    """
    # Resets the peak to the current size.
    _RESET.write_text("5")
    before = _status("VmRSS")
    start = time.process_time()
    with suppress(*REFUSALS):
        target(data)
    seconds, used = time.process_time() - start, _status("VmHWM") - before
    if seconds > MAX_SECONDS:
        raise LimitExceeded(f"{seconds:.1f} s of CPU time; the limit is {MAX_SECONDS:g} s")
    if used > MAX_BYTES:
        raise LimitExceeded(f"{used:,} bytes of memory; the limit is {MAX_BYTES:,}")


def _status(name: str) -> int:
    """A size of this process in bytes."""
    text = _STATUS.read_text()
    start = text.index(f"{name}:") + len(name) + 1
    return int(text[start : text.index("kB", start)]) * 1024
