"""Runs `maskery` commands in the tests' own process: starting Python for each would take longer than all of them."""

import io
import logging
import os
import sys
from dataclasses import dataclass
from unittest.mock import patch

from maskery.cli import main


@dataclass(frozen=True)
class Result:
    returncode: int
    stdout: str
    stderr: str
    output: bytes


def maskery(*arguments: object, stdin: bytes = b"", encoding: str = "utf-8", **environment: str) -> Result:
    """Run a command as a process of its own would.

    Args:
        stdin: content of standard input.
        encoding: of standard output.
        environment: variables beside those of the tests.
    """
    out = io.TextIOWrapper(io.BytesIO(), encoding, write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True)
    code = 0
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # A command that configures logging closes the handlers that it finds.
    root.handlers[:] = []
    with (
        patch.object(sys, "argv", ["maskery", *map(str, arguments)]),
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        patch.object(sys, "stdout", out),
        patch.object(sys, "stderr", err),
        patch.dict(os.environ, {"COLUMNS": "80", **environment}),
    ):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            root.handlers[:], root.level = handlers, level
    written, said = (stream.buffer.getvalue() for stream in (out, err))
    return Result(code, written.decode(encoding, "replace"), said.decode(), written)


def succeeds(*arguments: object, stdin: bytes = b"", **environment: str) -> str:
    """Run a command that must succeed. Returns its standard output."""
    result = maskery(*arguments, stdin=stdin, **environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


def fails(*arguments: object, stdin: bytes = b"", **environment: str) -> str:
    """Run a command that must fail with one sentence and exit status 2. Returns the sentence."""
    result = maskery(*arguments, stdin=stdin, **environment)
    assert (result.returncode, result.stdout) == (2, ""), result
    assert result.stderr.startswith("maskery: "), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr
