"""Fuzz the readers of clients' bytes, one target after the other.

    python -m fuzz [TARGET …] [--seconds 600]

Seeds are in fuzz/corpus/TARGET; new inputs that reach new code are kept in .cache/fuzz/TARGET. An input that fails is
written to .cache/fuzz/failures. Exits with status 1 if a target fails.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from fuzz.targets import TARGETS

_CORPUS = Path(__file__).parent / "corpus"
_CACHE = Path(__file__).parents[1] / ".cache" / "fuzz"

# Seconds after which an input counts as a hang, whatever it waits for; CPU time has a limit of its own.
_HANG = 30


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)} (default: all)")
    parser.add_argument("--seconds", type=int, default=600, help="for each target (default: 600)")
    options = parser.parse_args()
    unknown = [name for name in options.targets if name not in TARGETS]
    if unknown:
        parser.error(f"unknown target {unknown[0]!r}; the targets are {', '.join(TARGETS)}")
    failures = _CACHE / "failures"
    failures.mkdir(parents=True, exist_ok=True)
    failed = [name for name in options.targets or TARGETS if not _fuzz(name, options.seconds, failures)]
    print(f"failed: {', '.join(failed)}; see {failures}" if failed else "no failures")
    return int(bool(failed))


def _fuzz(name: str, seconds: int, failures: Path) -> bool:
    """Whether no input failed."""
    print(f"=== {name}: {seconds} s", flush=True)
    found = _CACHE / name
    found.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fuzz.worker", name, str(found), str(_CORPUS / name)]
    limits = [f"-max_total_time={seconds}", f"-timeout={_HANG}", "-rss_limit_mb=2048", "-max_len=65536"]
    return (
        subprocess.run(
            [*command, *limits, f"-artifact_prefix={failures}/{name}-", "-print_final_stats=1"],
            cwd=_CACHE.parents[1],
            check=False,
        ).returncode
        == 0
    )


if __name__ == "__main__":
    sys.exit(main())
