"""A training on a cluster through Ray Train: the same function in every worker, the run folder on a disk all share.

Needs the extra ``ray``, and tamperscope on every machine of the cluster. Ray starts the processes and joins them
(`workers.joined` finds them); what they do is `baseline.train`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tamperscope.errors import MissingExtraError, TamperscopeError, TrainingError, UsageError
from tamperscope.evaluate.baseline import MODEL
from tamperscope.train import baseline
from tamperscope.train.recipe import Recipe

FOLDER = "ray"
"""Of what Ray keeps in the run folder."""


def train_on_ray(
    recipe: Recipe,
    out: Path,
    count: int,
    *,
    allow_leaks: bool = False,
    cache: Path | None = None,
    tensorboard: bool = False,
) -> Path:
    """Train in ``count`` workers, on GPUs where the cluster has as many; the same call goes on with a stopped run.

    Ray's own settings count: ``RAY_ADDRESS`` names the cluster, without it Ray starts one on this machine.

    Raises:
        MissingExtraError: Ray is not installed.
        TamperscopeError: what `baseline.train` raises in a worker.
        TrainingError: a worker was lost, or the cluster has no place for so many.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report home
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    try:
        import ray
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer
    except ModuleNotFoundError as error:
        raise MissingExtraError((error.name or "ray").partition(".")[0], "ray") from error
    baseline.writable(out)
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level="error")
    held = ray.cluster_resources()
    if held.get("CPU", 0.0) < count:
        raise UsageError(
            f"the cluster has {held.get('CPU', 0.0):.0f} cores for {count} workers", hint="ask for fewer with --ray"
        )
    trainer = TorchTrainer(
        _work,
        train_loop_config={
            "recipe": _absolute(recipe),
            "out": out.absolute(),
            "allow_leaks": allow_leaks,
            "cache": None if cache is None else cache.absolute(),
            "tensorboard": tensorboard,
        },
        scaling_config=ScalingConfig(num_workers=count, use_gpu=held.get("GPU", 0.0) >= count),
        run_config=RunConfig(name=FOLDER, storage_path=str(out.absolute())),
    )
    try:
        trainer.fit()
    except Exception as error:  # Ray wraps what a worker raises, in other classes in each of its versions
        raise _cause(error) from error
    return out / MODEL


def _work(settings: Mapping[str, Any]) -> None:
    """In every worker."""
    baseline.train(**settings)


def _absolute(recipe: Recipe) -> Recipe:
    """Paths that a worker, which starts elsewhere, can follow."""
    manifest = None if recipe.manifest is None else recipe.manifest.absolute()
    return replace(recipe, manifest=manifest, folder=recipe.folder.absolute())


def _cause(error: Exception) -> TamperscopeError:
    """What a worker raised of ours, or that Ray failed."""
    raised = [*getattr(error, "worker_failures", {}).values(), error.__cause__]
    for one in (*raised, *(getattr(each, "cause", None) for each in raised)):
        if isinstance(one, TamperscopeError):
            return one
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return TrainingError(
        f"Ray ended the training: {lines[-1]}",
        hint="the same command goes on from the last checkpoint",
    )
