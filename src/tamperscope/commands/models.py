"""``tamperscope models``: which there are, what each promises, and trained ones under a name of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamperscope.commands.terminal import told

app = typer.Typer(name="models", help="Models by name: list, show, import.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """The models of the package, and those that were imported."""
    from tamperscope import weights
    from tamperscope.evaluate import store
    from tamperscope.evaluate.baseline import read_baseline

    for card in weights.packaged():
        typer.echo(f"{card.name:<28}{card.input.modality:<8}packaged, version {card.version}; scan and evaluate")
    for name in store.names():
        model = read_baseline(store.home() / name)
        typer.echo(f"{name:<28}{', '.join(model.modalities):<8}{model.system}, imported; evaluate")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A packaged or imported model, or the folder of a training.")],
) -> None:
    """What a model promises: its Card, or the record of its training."""
    from tamperscope import weights
    from tamperscope.errors import UsageError
    from tamperscope.evaluate import store
    from tamperscope.evaluate.baseline import MODEL
    from tamperscope.report import words

    cards = {card.name: card for card in weights.packaged()}
    folder = store.found(name) or (Path(name) if (Path(name) / MODEL).is_file() else None)
    with told():
        if name in cards:
            typer.echo(weights.describe(cards[name]))
        elif folder is not None:
            typer.echo("\n".join(words.visible(line) for line in store.described(folder).splitlines()))
        else:
            raise UsageError(f"no model is called {name}", hint=f"there are {', '.join([*cards, *store.names()])}")


@app.command("import")
def import_(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a training, or its model.json.")],
    name: Annotated[str | None, typer.Option("--as", help="What to call it; as its recipe does if left out.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a model of this name.")] = False,
) -> None:
    """Copy a trained model to where `evaluate --model NAME` finds it, once its files were verified.

    Exit codes: 0 imported; 2 damaged, a pickle, no parity with what was trained, or a name that is taken.
    """
    from tamperscope.evaluate import store
    from tamperscope.report import words

    with told():
        called = store.add(run, name, force=force)
    typer.echo(words.visible(f"Imported: {called}, in {store.home() / called}"))
    typer.echo(f"evaluate --model {called} judges with it. scan does not: a training has no Card")
