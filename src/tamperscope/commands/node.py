"""``tamperscope node``: a DICOM node beside the PACS, and what its keeper asks of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tamperscope.commands.terminal import USAGE_ERROR, told

if TYPE_CHECKING:
    from tamperscope.jobs.queue import Queue
    from tamperscope.node.config import Config as Settings

app = typer.Typer(
    name="node",
    help="Run a DICOM node beside the PACS: studies in, verdicts back into the study.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
DEFAULT = Path("node.toml")
Config = Annotated[Path, typer.Option("--config", "-c", help="The node's settings.")]


@app.callback()
def node(context: typer.Context, config: Config = DEFAULT) -> None:
    """Run a DICOM node beside the PACS, until Ctrl-C or SIGTERM: studies in, verdicts back into the study."""
    context.obj = config
    if context.invoked_subcommand is not None:
        return
    with told():
        from tamperscope.jobs.processes import on_signals
        from tamperscope.node.run import Node

        one = Node(config)
        on_signals(one.stop)
        one.run(_begun)


def _begun(settings: Settings) -> None:
    where = f"{settings.listener.address}:{settings.listener.port}"
    typer.echo(f"{settings.ae_title} listens at {where}; what happens is in {settings.folder / 'audit.jsonl'}")


@app.command()
def check(context: typer.Context, config: Annotated[Path | None, typer.Option("--config", "-c")] = None) -> None:
    """Test settings and peers: disk, database, models, ports, C-ECHO, what destinations take. Sends no image.

    Exit codes: 0 all is well; 2 something is not.
    """
    with told():
        from tamperscope.node import check as checking
        from tamperscope.node.config import read

        settings, bad = read(config or context.obj), 0
        for finding in checking.check(settings):
            bad += not finding.well
            typer.echo(f"{'ok    ' if finding.well else 'NOT OK'}  {finding.what}: {finding.words}")
    raise typer.Exit(USAGE_ERROR if bad else 0)


@app.command()
def dead(context: typer.Context, config: Annotated[Path | None, typer.Option("--config", "-c")] = None) -> None:
    """List the jobs that were given up, with the reason."""
    with told():
        rows = _queue(config or context.obj).dead()
        for row in rows:
            ended = datetime.fromtimestamp(row["ended"], UTC).isoformat(timespec="seconds")
            typer.echo(f"{row['id']}  {row['kind']}  {ended}  {row['tries']} tries  {row['error']}")
        if not rows:
            typer.echo("No job is dead.")


@app.command()
def resend(
    context: typer.Context,
    job: Annotated[int | None, typer.Argument(help="The number that `tamperscope node dead` shows.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    config: Annotated[Path | None, typer.Option("--config", "-c")] = None,
) -> None:
    """Let dead jobs be tried again."""
    if (job is None) != every:
        typer.echo("tamperscope: say which job, or --all", err=True)
        raise typer.Exit(USAGE_ERROR)
    with told():
        count = _queue(config or context.obj).resend(job)
        typer.echo(f"{count} jobs will be tried again." if count != 1 else "1 job will be tried again.")


@app.command()
def conformance() -> None:
    """Print the DICOM conformance statement."""
    with told():
        from tamperscope.node.conformance import statement

        typer.echo(statement(), nl=False)


def _queue(config: Path) -> Queue:
    from tamperscope.jobs import database
    from tamperscope.jobs.queue import Queue
    from tamperscope.node.config import read

    engine = database.connect(read(config).database)
    database.ready(engine)
    return Queue(engine)
