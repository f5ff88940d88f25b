"""What commands share towards the terminal: exit codes, errors as one line, and the progress bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

USAGE_ERROR = 2
SOME_FAILED = 4


@contextmanager
def told() -> Iterator[None]:
    """Errors of the project, and memory that ran out, as one line on standard error, and exit code 2."""
    import typer

    from tamperscope.errors import TamperscopeError

    try:
        yield
    except TamperscopeError as error:
        typer.echo(f"tamperscope: {visible(str(error))}", err=True)
        raise typer.Exit(USAGE_ERROR) from error
    except MemoryError as error:
        typer.echo("tamperscope: out of memory (close other programs, or ask for less at a time)", err=True)
        raise typer.Exit(USAGE_ERROR) from error


def visible(text: str) -> str:
    """Text from paths and headers, harmless on a terminal."""
    from tamperscope.report import words

    return words.visible(text)


@contextmanager
def progress(*, silent: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """A bar on standard error where that is a terminal, else nothing: a function of (what, done, total), or None."""
    if silent or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("scanning", total=None)

        def tick(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield tick
