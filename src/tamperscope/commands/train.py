"""``tamperscope train``: classifiers of the literature from a recipe, and the networks of generative attacks."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from tamperscope.commands.terminal import progress, told

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from tamperscope.records import Volume
    from tamperscope.train.recipe import Recipe

    Tick = Callable[[str, int, int], None]

RECIPE = "recipe"
"""The command that is meant where no other is named."""
HELP = "Train a classifier from a recipe (RECIPE.toml), or a network of a generative attack. Needs the extra 'train'."


class RecipeGroup(typer.core.TyperGroup):
    """Takes what begins with no command for a recipe and its options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See click."""
        known = {*self.list_commands(ctx), *ctx.help_option_names}
        return super().parse_args(ctx, [RECIPE, *args] if args and args[0] not in known else args)


app = typer.Typer(name="train", help=HELP, cls=RecipeGroup, no_args_is_help=True)


class Mode(StrEnum):
    """What a network of CT-GAN does."""

    INJECT = "inject"
    REMOVE = "remove"


@app.callback(help=HELP)
def options() -> None:
    """Nothing is common to the commands."""


@app.command(RECIPE)
def recipe(
    path: Annotated[
        Path | None, typer.Argument(metavar="RECIPE.toml", help="What to train; see experiments/baselines.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for checkpoints, record, network and model.json.")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="A manifest instead of the recipe's; with --from, that of the earlier training."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="A seed instead of the recipe's.")] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODULE:BUILD", help="A network of your own instead of the recipe's: my_module:build."),
    ] = None,
    earlier: Annotated[
        str | None,
        typer.Option("--from", metavar="RUN", help="Instead of a recipe: go on with an earlier training, or its name."),
    ] = None,
    add: Annotated[Path | None, typer.Option(help="With --from: the manifest of new forgeries.")] = None,
    rehearse: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="With --from: share of the batches from the earlier manifest.")
    ] = 0.5,
    margin: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="With --from: AUROC that an old group may lose.")
    ] = 0.02,
    ray: Annotated[
        int | None, typer.Option(min=1, help="Workers of a Ray cluster to train in. Needs the extra 'ray'.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Train two batches, and say how long and how much memory it would take.")
    ] = False,
    show_augmentations: Annotated[
        Path | None, typer.Option(metavar="SHEET.png", help="Draw what the augmentation does to slices, and leave.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps decoded pictures: the next training on them starts at once.")
    ] = None,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Train although a patient, file or picture is in two parts.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Keep the record for TensorBoard too. Needs the extra 'tensorboard'.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Train a system of the literature, or yours: `tamperscope train RECIPE.toml --out RUN` means this command.

    It learns from the part train of a manifest, is stopped and calibrated by the part calibrate, and never sees
    another. The same command goes on with an interrupted run. `torchrun -m tamperscope train ...` trains in several
    processes. Exit codes: 0 trained; 2 usage error, a manifest that leaks or lacks a class, a training that failed, or
    new weights that are refused because they forget.
    """
    from tamperscope.report import words

    silent = quiet or os.environ.get("RANK", "0") != "0"  # of the processes of torchrun, the first speaks

    def say(line: str) -> None:
        if not silent:
            typer.echo(words.visible(line))

    sources = data or []
    with told(), progress(silent=silent) as bar:
        shared: dict[str, Any] = {"allow_leaks": allow_leaks, "say": say, "tick": bar}
        if earlier is not None or add is not None:
            _alone(path, seed, model, ray, cache, dry_run, show_augmentations)
            said = _learn_on(earlier, add, sources, out, rehearse, margin, tensorboard=tensorboard, **shared)
        else:
            asked = dry_run or show_augmentations is not None
            chosen = _recipe(path, sources, seed, out, model, asked=asked)
            if asked:
                said = _shown(chosen, show_augmentations, dry_run=dry_run, allow_leaks=allow_leaks, tick=bar)
            else:
                said = _trained(chosen, out, ray, tensorboard=tensorboard, cache=cache, **shared)
        for line in said.splitlines():
            say(line)


def _alone(*others: object) -> None:
    """That nothing was said that has no meaning where an earlier training goes on."""
    from tamperscope.errors import UsageError

    if any(one not in (None, False) for one in others):
        raise UsageError(
            "--from goes with no recipe, --seed, --model, --ray, --cache, --dry-run or --show-augmentations",
            hint="the recipe is that of the earlier training",
        )


def _learn_on(
    earlier: str | None,
    add: Path | None,
    sources: list[Path],
    out: Path | None,
    rehearse: float,
    margin: float,
    **shared: Any,
) -> str:
    from tamperscope.errors import UsageError

    if earlier is None or add is None or not sources or out is None:
        raise UsageError(
            "an earlier training goes on with four things", hint="say --from RUN --data OLD --add NEW --out ANOTHER_RUN"
        )
    _baseline()
    from tamperscope.train import continual

    plan = continual.Plan(rehearse, margin)
    return f"Model: {continual.learn_on(_earlier(earlier), sources, add, out, plan, **shared)}"


def _earlier(name: str) -> Path:
    """The folder of an earlier training, or of an imported one."""
    from tamperscope import weights
    from tamperscope.errors import UsageError
    from tamperscope.evaluate import store

    if name in {card.name for card in weights.packaged()} or Path(name).suffix == ".json":
        raise UsageError(
            f"{name} is a Card: it holds a network for scanning, and neither the recipe nor the weights of a training",
            hint="give the run folder of tamperscope train; the package's are trained by experiments/ct_local/train.py",
        )
    return store.found(name) or Path(name)


def _shown(chosen: Recipe, sheet: Path | None, *, dry_run: bool, allow_leaks: bool, tick: Tick | None) -> str:
    """What a training would take, and a sheet of what it would see, a line each."""
    baseline, said = _baseline(), list[str]()
    if sheet is not None:
        baseline.sheet_to(chosen, sheet, allow_leaks=allow_leaks, tick=tick)
        said.append(f"Augmentations: {sheet}")
    if dry_run:
        said.append(str(baseline.try_out(chosen, allow_leaks=allow_leaks, tick=tick)))
    return "\n".join(said)


def _trained(chosen: Recipe, out: Path | None, ray: int | None, **shared: Any) -> str:
    baseline = _baseline()
    if ray is None:
        return f"Model: {baseline.train(chosen, out, **shared)}"
    from tamperscope.train import cluster

    settings = {key: shared[key] for key in ("allow_leaks", "cache", "tensorboard")}
    return f"Model: {cluster.train_on_ray(chosen, out or Path(), ray, **settings)}"


def _recipe(
    path: Path | None, data: list[Path], seed: int | None, out: Path | None, model: str | None, *, asked: bool
) -> Recipe:
    """The recipe with the manifest, seed and network to take; ``asked`` says that nothing is trained."""
    from dataclasses import replace

    from tamperscope.errors import UsageError
    from tamperscope.train.recipe import read_recipe, with_own

    if path is None:
        raise UsageError("nothing to train was named", hint="give RECIPE.toml, or --from RUN")
    if not path.exists() and not path.suffix:
        raise UsageError(f"{path} is no command and no recipe", hint="give RECIPE.toml, or ct-gan")
    if out is None and not asked:
        raise UsageError("no folder for the run was named", hint="say --out RUN, or --dry-run")
    if len(data) > 1:
        raise UsageError(f"{len(data)} manifests", hint="one recipe learns from one; --from takes several")
    found = read_recipe(path)
    found = found if model is None else with_own(found, model)
    found = found if seed is None else replace(found, train=replace(found.train, seed=seed))
    return replace(found, manifest=data[0]) if data else found


def _baseline() -> ModuleType:
    """The module that needs torch."""
    from tamperscope.errors import MissingExtraError

    try:
        from tamperscope.train import baseline
    except ModuleNotFoundError as error:
        raise MissingExtraError((error.name or "torch").partition(".")[0], "train") from error
    return baseline


@app.command("ct-gan")
def ct_gan(
    mode: Annotated[Mode, typer.Option(help="Put nodules in, or take them out.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for checkpoints, record, network and its Card.")],
    studies: Annotated[
        list[Path] | None, typer.Argument(help="Authentic chest CT: files, folders, zips or DICOMDIRs.")
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(help="Instead of studies: a manifest (CSV or Parquet), of which the part train is learned from."),
    ] = None,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Train although a patient, file or picture is in two parts of it.")
    ] = False,
    marks: Annotated[
        Path | None,
        typer.Option(
            help="Where nodules are: LIDC's XML, a folder of it, or CSV (k,j,i or x,y,z in mm, and series_uid)."
        ),
    ] = None,
    drawn: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Share of drawn nodules; 0 with marks and 1 without, if left out."),
    ] = None,
    width: Annotated[int, typer.Option(min=1, help="Filters of the first layers; 100 as published.")] = 16,
    deepest: Annotated[int | None, typer.Option(min=1, help="Most filters of a layer; no limit as published.")] = None,
    cubes: Annotated[int, typer.Option(min=2, help="Cubes to cut and turn.")] = 1500,
    batch: Annotated[int, typer.Option(min=2, help="Cubes a step.")] = 32,
    generator_rate: Annotated[float, typer.Option(min=0.0, help="As published if left out.")] = 2e-4,
    discriminator_rate: Annotated[float, typer.Option(min=0.0, help="As published if left out.")] = 1e-6,
    average: Annotated[
        float, typer.Option(min=0.0, max=0.9999, help="Decay of a moving average of the weights; 0 as published.")
    ] = 0.0,
    steps: Annotated[int, typer.Option(min=1)] = 2000,
    minutes: Annotated[float | None, typer.Option(min=0.0, help="Stop after so long, and export.")] = None,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 100,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; torch's own choice if left out.")] = None,
    modality: Annotated[str | None, typer.Option(help="What NIfTI files are, which do not say it: CT.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Train one network of CT-GAN: a remover from any lungs, an injector from marked or drawn nodules.

    The same command goes on with an interrupted run. Exit codes: 0 trained; 2 usage error, a manifest that leaks, or
    nothing to train on.
    """
    from tamperscope.report import words

    def say(line: str) -> None:
        if not quiet:
            typer.echo(line)

    with told():
        training, run = _training()
        share = drawn if drawn is not None else float(marks is None)
        recipe = training.Recipe(
            mode=mode.value,
            width=width,
            deepest=deepest,
            cubes=cubes,
            drawn_share=share,
            batch=batch,
            generator_rate=generator_rate,
            discriminator_rate=discriminator_rate,
            average=average,
        )
        budget = run.Budget(steps, minutes, save_every, seed)
        with progress(silent=quiet) as bar:
            tick: Tick = bar if bar is not None else lambda *_: None
            listed = studies or []
            if manifest is not None or not listed:
                listed = _listed(listed, manifest, tick, allow_leaks=allow_leaks)
            volumes = _volumes(listed, modality, training.usable, tick)
            sources = _marked(volumes, marks, training)
            facts = {"volumes": len(volumes), "digests": [volume.digest for volume in volumes]}
            path = training.train(sources, recipe, budget, out, facts, threads=threads, say=say, tick=tick)
    say(words.visible(f"Network: {path}"))


def _training() -> tuple[ModuleType, ModuleType]:
    """The modules that need torch."""
    from tamperscope.errors import MissingExtraError

    try:
        from tamperscope.train import ct_gan, run
    except ModuleNotFoundError as error:
        raise MissingExtraError((error.name or "torch").partition(".")[0], "train") from error
    return ct_gan, run


def _listed(studies: list[Path], manifest: Path | None, tick: Tick, *, allow_leaks: bool) -> list[Path]:
    """The authentic files in the part "train" of a manifest that does not leak."""
    from tamperscope.datasets import leaks, table
    from tamperscope.errors import UsageError

    if manifest is None or studies:
        raise UsageError("nothing or two things to train on", hint="give either studies or --manifest")
    listed = table.entries(manifest, tick)
    leaks.check(listed, allow_leaks=allow_leaks, tick=tick)
    found = [entry.path for entry in listed if entry.part == "train" and entry.label == "authentic"]
    if not found:
        raise UsageError(f"{manifest} lists no authentic file in the part train", hint="split it by patient first")
    return found


def _volumes(studies: list[Path], modality: str | None, usable: Callable[[Volume], bool], tick: Tick) -> list[Volume]:
    """Every series that cubes can be cut from; what cannot be read is named and left out."""
    from dataclasses import replace

    from tamperscope import study
    from tamperscope.decode import decode
    from tamperscope.errors import InputError
    from tamperscope.report import words

    reading = study.read(studies)
    for failure in reading.failed:
        typer.echo(words.visible(f"left out  {failure.source}: {failure.error}"), err=True)
    every = [series for one in reading.studies for series in one.series]
    found = []
    for number, series in enumerate(every):
        tick("reading studies", number, len(every))
        try:
            volume = decode(series)
        except InputError as error:
            typer.echo(words.visible(f"left out  {series.instances[0].source}: {error}"), err=True)
            continue
        if modality and volume.format != "dicom":
            volume = replace(volume, modality=modality.upper())
        if usable(volume):
            found.append(volume)
    if not found:
        raise InputError(
            f"none of the {len(every)} series is a CT of at least 32 mm with known spacing", hint="give chest CT"
        )
    return found


def _marked(volumes: list[Volume], marks: Path | None, training: ModuleType) -> list[object]:
    if marks is None:
        return [training.Source(volume) for volume in volumes]
    from tamperscope.train import marks as reader

    placed = reader.marks(marks, volumes)
    return [training.Source(volume, places) for volume, places in zip(volumes, placed, strict=True)]
