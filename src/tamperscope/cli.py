"""The command line: which commands there are, and what is common to them."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from tamperscope.commands import datasets, models, node, serve, train
from tamperscope.commands.benchmark import benchmark
from tamperscope.commands.doctor import doctor
from tamperscope.commands.evaluate import evaluate
from tamperscope.commands.forge import forge
from tamperscope.commands.forge_set import forge_set
from tamperscope.commands.scan import scan
from tamperscope.commands.status import status
from tamperscope.commands.terminal import USAGE_ERROR
from tamperscope.commands.verify import verify

app = typer.Typer(
    name="tamperscope",
    help="Was this medical image altered or generated, and where? Research use only, not for diagnosis.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(scan)
app.command()(forge)
app.command("forge-set")(forge_set)
app.add_typer(datasets.app)
app.add_typer(train.app)
app.command()(evaluate)
app.command()(benchmark)
app.add_typer(models.app)
app.add_typer(serve.app)
app.add_typer(node.app)
app.command()(status)
app.command()(verify)
app.command()(doctor)


def _version(wanted: bool) -> None:
    if wanted:
        from tamperscope import __version__

        typer.echo(f"tamperscope {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Options that stand before a command."""


def main() -> None:
    """Run the command line."""
    try:
        app()
    except Exception:
        # Python's own exit code for a crash is 1, which would say "suspicious".
        traceback.print_exc()
        sys.exit(USAGE_ERROR)
