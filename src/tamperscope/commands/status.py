"""``tamperscope status``: how a node is."""

from __future__ import annotations

import json as json_lines
from pathlib import Path
from typing import Annotated

import typer

from tamperscope.commands.terminal import USAGE_ERROR, told


def status(
    config: Annotated[Path, typer.Option("--config", "-c", help="The node's settings.")] = Path("node.toml"),
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show queue and health of a node.

    Exit codes: 0 all is well; 2 something is not.
    """
    with told():
        from tamperscope.jobs import database
        from tamperscope.node import health
        from tamperscope.node.config import read

        settings = read(config)
        engine = database.connect(settings.database)
        database.ready(engine)
        now = health.look(settings, engine)
    if json:
        typer.echo(json_lines.dumps(now.tree()))
    else:
        typer.echo(f"{now.instances} instances of {now.studies} studies, {now.studies_open} not complete yet")
        for kind, states in now.jobs.items():
            typer.echo(f"{kind}: {', '.join(f'{count} {state}' for state, count in states.items())}")
        typer.echo(f"oldest job has waited for {now.oldest_wait_s:.0f} s, {now.free_bytes / 1e9:.1f} GB are free")
        for problem in now.problems:
            typer.echo(f"NOT OK  {problem}")
    raise typer.Exit(USAGE_ERROR if now.problems else 0)
