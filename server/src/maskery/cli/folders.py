"""Work on all images of a folder: several at a time, with progress, continued after an interruption."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import typer
from rich.console import Console
from rich.progress import Progress

from maskery.cli.connection import ServerUnavailableError
from maskery.cli.journal import Journal
from maskery.errors import UserError
from maskery.resources import processors

Result = TypeVar("Result")

#: Exit status after Ctrl-C, as of a process that the signal has ended.
INTERRUPTED = 130

# Failures that are printed.
_MAX_LINES = 20

_CONTINUE = "run the same command again to continue"


def for_each(
    names: Sequence[str],
    work: Callable[[str], tuple[Result, bool]],
    finish: Callable[[list[Result]], str],
    journal: Journal,
    to_error: bool = False,
) -> None:
    """Do work on every image of a folder, several at a time. A failed image does not stop the others.

    Args:
        names: of the images.
        work: called with a name; returns the result, and whether it had been done before.
        finish: called with the results, in the order of the names; what was written, for the user.
        journal: deleted when no image has failed.
        to_error: print on standard error.

    Raises:
        UserError: some failed, or the server is unavailable.
        typer.Exit: Ctrl-C was pressed.
    """

    def attempt(name: str) -> tuple[list[tuple[Result, bool]], str | None]:
        try:
            return [work(name)], None
        except ServerUnavailableError:
            raise
        except UserError as error:
            return [], f"{name}: {error}"

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    pool = ThreadPoolExecutor(processors())
    try:
        with Progress(console=console) as progress:
            outcomes = list(progress.track(pool.map(attempt, names), total=len(names), description="segmenting"))
    except KeyboardInterrupt:
        typer.echo(f"interrupted: {_CONTINUE}.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except ServerUnavailableError as error:
        raise UserError(f"{error}\nStopped: {_CONTINUE}.") from None
    finally:
        # Images that have been begun are finished, and no further ones are begun.
        pool.shutdown(cancel_futures=True)
    done = [result for results, _ in outcomes for result in results]
    failures = [failure for _, failure in outcomes if failure]
    before = sum(was_done for _, was_done in done)
    earlier = f" ({before} of them before)" if before else ""
    written = finish([result for result, _ in done])
    typer.echo(f"{len(done)} of {len(names)} images segmented{earlier}, {written}", err=to_error)
    if not failures:
        journal.remove()
        return
    more = [f"and {len(failures) - _MAX_LINES:,} more."] if len(failures) > _MAX_LINES else []
    rest = [f"To retry them, {_CONTINUE}."] if done else []
    raise UserError("\n".join([f"{len(failures)} failed:", *failures[:_MAX_LINES], *more, *rest]))
