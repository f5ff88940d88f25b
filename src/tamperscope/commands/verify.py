"""``tamperscope verify``: are these the pixels that the node saw first?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamperscope.commands.terminal import USAGE_ERROR, told

CHANGED, UNKNOWN = 1, 3


def verify(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files, folders or zips of the study; may be left out.")
    ] = None,
    config: Annotated[Path, typer.Option("--config", "-c", help="Settings of the node that keeps the ledger.")] = Path(
        "node.toml"
    ),
) -> None:
    """Set pictures against the node's ledger, and follow the ledger's own chain.

    Exit codes: 0 all is as it was first seen; 1 something has changed; 2 the ledger is damaged or cannot be read; 3
    nothing has changed, but some pictures are not in the ledger.
    """
    with told():
        from tamperscope import study
        from tamperscope.decode import decode
        from tamperscope.jobs import audit, database
        from tamperscope.jobs.ledger import Ledger
        from tamperscope.node.config import read

        settings = read(config)
        engine = database.connect(settings.database)
        database.ready(engine)
        ledger = Ledger(engine)
        rows = ledger.check()
        ledger.reaches(audit.last(settings.folder, "ledger"))
        typer.echo(f"The ledger holds {rows} slices; its chain is whole and ends in {ledger.head()}")
        if not paths:
            return
        reading = study.read(list(paths))
        found = ledger.compare(decode(series) for one in reading.studies for series in one.series)
    for failure in reading.failed:
        typer.echo(f"failed        {failure.error}", err=True)
    for changed in found.changed:
        typer.echo(f"CHANGED       {changed}")
    typer.echo(
        f"{found.same} slices are as they were first seen, {len(found.changed)} are not, {found.unknown} unknown"
    )
    if found.changed:
        raise typer.Exit(CHANGED)
    if reading.failed and not found.same:
        raise typer.Exit(USAGE_ERROR)
    raise typer.Exit(UNKNOWN if found.unknown or reading.failed else 0)
