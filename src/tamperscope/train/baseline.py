"""A baseline from its recipe: leak check, training, calibration, export; what `evaluate.baseline` reads.

manifest ─ leaks.check ─▶ pictures ─ run.fit ─▶ best weights ─▶ calibration on the part calibrate ─▶ model.onnx, .json
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

import tamperscope
from tamperscope import weights
from tamperscope.datasets import leaks, table
from tamperscope.datasets.manifest import Entry, Tick, digest, digested
from tamperscope.errors import UnreadableError, UsageError, WeightsError
from tamperscope.evaluate.baseline import INPUT, MODEL, NETWORK, OUTPUT, Baseline, PlattCurve, logits
from tamperscope.pictures import PictureSpec
from tamperscope.records import JSON
from tamperscope.report.files import save
from tamperscope.train import export, slices
from tamperscope.train.augment import Augmentation, contact_sheet
from tamperscope.train.picture_classifier import PictureClassifier, build, spec_of
from tamperscope.train.recipe import Recipe
from tamperscope.train.run import Budget, Progress, fit
from tamperscope.train.slices import AUTHENTIC, FORGED, Batches, Slices

LARGEST_DIFFERENCE = 1e-4
"""Between the logits of torch and of the file, in parts of them where they are beyond 1."""
RUN = "run.json"
BEST = "best.safetensors"
TRIED = 4
"""Series of each label that a trial reads."""
SHOWN = 6
"""Pictures on the sheet of augmentations."""
FALSE_ALARMS = 0.01


def quiet(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a training would take, from a trial of two steps."""

    minutes: float
    """At most: all steps or the recipe's own limit, with reading and the looks at the part calibrate."""
    memory_mib: float
    device: str
    series: int

    def __str__(self) -> str:
        """As a sentence."""
        place = "of the GPU" if self.device == "cuda" else "of the machine"
        return (
            f"about {self.minutes:.1f} minutes at most and {self.memory_mib:,.0f} MiB {place} "
            f"for {self.series} series, on {self.device}"
        )


def train(
    recipe: Recipe,
    out: Path,
    *,
    allow_leaks: bool = False,
    device: str | None = None,
    say: Callable[[str], None] = quiet,
    tick: Tick | None = None,
) -> Path:
    """Train, calibrate and export; the same call goes on with an interrupted run.

    Args:
        recipe: what to train on what.
        out: folder of the run, made if it is missing.
        allow_leaks: train although a patient, file or picture is in two parts.
        device: "cpu" or "cuda"; a GPU if there is one, if None.
        say: told a line at each checkpoint.
        tick: told of progress.

    Returns:
        The ``model.json`` of the run.

    Raises:
        UsageError: the folder holds a run of another recipe or manifest.
        InputError: the manifest leaks, lacks a part or a class, or a series cannot be read.
        TrainingError: the loss is no number, or memory ran out.
        WeightsError: the checkpoint is damaged, or the exported file answers otherwise than torch.
    """
    spec, net = spec_of(recipe), build(recipe)
    entries = checked(recipe, allow_leaks=allow_leaks, tick=tick)
    claim = _claim(out, recipe, digest(entries))
    taught, held = (slices.load(entries, part, spec, tick) for part in ("train", "calibrate"))
    save(out / RUN, claim)
    learner = PictureClassifier(net, Batches(taught, recipe.augment), held, recipe.train, device or _device())
    done = _fit(learner, recipe, out, say, tick)
    save_file({key: value.cpu().contiguous() for key, value in learner.best.state_dict().items()}, out / BEST)
    facts = _facts(recipe, learner, done, taught, held)
    network, difference = exported(learner.best, spec, held)
    curve = calibration(network, held)
    say(f"threshold {curve.told(FALSE_ALARMS)}")
    modalities = tuple(sorted({*taught.modalities, *held.modalities}))
    baseline = Baseline(
        recipe.name,
        recipe.system,
        spec,
        modalities,
        curve,
        hashlib.sha256(network).hexdigest(),
        digest(entries),
        {**facts, "difference_to_torch": difference},
    )
    save(out / NETWORK, network)
    save(out / MODEL, baseline.to_json(FALSE_ALARMS).encode())
    return out / MODEL


def try_out(
    recipe: Recipe, *, allow_leaks: bool = False, device: str | None = None, tick: Tick | None = None
) -> Estimate:
    """Two steps on a few series, nothing written: what the whole would take. Raises as `train` does."""
    spec, net = spec_of(recipe), build(recipe)
    entries = checked(recipe, allow_leaks=allow_leaks, tick=tick)
    series = [len(slices.grouped(entries, part)) for part in ("train", "calibrate")]
    started = time.monotonic()
    taught, held = (slices.load(entries, part, spec, tick, most=TRIED) for part in ("train", "calibrate"))
    reading = (time.monotonic() - started) / (len(taught.series) + len(held.series)) * sum(series)
    where = device or _device()
    learner = PictureClassifier(net, Batches(taught, recipe.augment), held, recipe.train, where)
    first, second = (_timed(partial(learner.step, number, np.random.default_rng(number))) for number in (0, 1))
    looked = _timed(lambda: learner.look(2))
    shown, plan = sum(len(places) for places in learner.places.values()), recipe.train
    look = looked / shown * plan.validate
    learning = min(
        plan.steps * min(first, second) + plan.steps // plan.save_every * look, 60.0 * (plan.minutes or math.inf)
    )
    count = sum(len(one.pictures) for one in (*taught.series, *held.series))
    waiting = count / (len(taught.series) + len(held.series)) * sum(series) * spec.side**2
    memory = _peak(where) + (0.0 if where == "cuda" else waiting)
    return Estimate((reading + learning) / 60.0, memory / 2**20, where, sum(series))


def sheet_to(recipe: Recipe, path: Path, *, allow_leaks: bool = False, tick: Tick | None = None) -> None:
    """Draw what the augmentation of a recipe does to slices of its part train, as PNG. Raises as `train` does."""
    entries = checked(recipe, allow_leaks=allow_leaks, tick=tick)
    taught = slices.load(entries, "train", spec_of(recipe), tick, most=TRIED)
    rng = np.random.default_rng(recipe.train.seed)
    seen, _ = Batches(taught, Augmentation()).draw(rng, SHOWN)
    stream = io.BytesIO()
    contact_sheet(list(seen), recipe.augment, rng).save(stream, "PNG")
    save(path, stream.getvalue())


def checked(recipe: Recipe, *, allow_leaks: bool = False, tick: Tick | None = None) -> tuple[Entry, ...]:
    """The entries of the recipe's manifest, with digests, once it was found not to leak.

    Raises:
        UsageError: the recipe names no manifest.
        InputError: the manifest cannot be read, leaks, or lacks a class in a part.
    """
    if recipe.manifest is None:
        raise UsageError(f"the recipe {recipe.name} names no manifest", hint="add [data] manifest, or say --data")
    entries = digested(table.read(recipe.manifest).entries, tick)
    leaks.check(entries, allow_leaks=allow_leaks, pixels=False)
    for part in ("train", "calibrate"):
        slices.grouped(entries, part)
    leaks.check(entries, allow_leaks=allow_leaks, tick=tick)
    return entries


def calibration(network: bytes, held: Slices) -> PlattCurve:
    """The curve from the highest logit of a series to a probability, as the exported ``network`` answers."""
    session = weights.opened(network, NETWORK)
    scores: dict[bool, list[float]] = {False: [], True: []}
    for one in held.series:
        scores[one.forged].append(max(logits(session, one.pictures)))
    return PlattCurve.fit(scores[False], scores[True])


def exported(net: nn.Module, spec: PictureSpec, held: Slices) -> tuple[bytes, float]:
    """The network as ONNX, and the largest difference of its logits to torch's on pictures of the part calibrate.

    Of logits beyond 1, the difference in parts of them: what single precision can promise grows with the number.

    Raises:
        WeightsError: it is larger than `LARGEST_DIFFERENCE`.
    """
    net = net.cpu().eval()
    example = torch.rand(2, 1, spec.side, spec.side, generator=torch.Generator().manual_seed(0))
    free = {"x": {0: torch.export.Dim("pictures", min=1, max=4096)}}
    with tempfile.TemporaryDirectory() as folder:
        export.write(net, Path(folder) / NETWORK, {INPUT: example}, OUTPUT, free, half=False)
        data = (Path(folder) / NETWORK).read_bytes()
    places = (held.of(AUTHENTIC)[:4] + held.of(FORGED)[:4])[:8]
    session, largest = weights.opened(data, NETWORK), 0.0
    for seen in (held.unit(places), example[:1].numpy()):
        (answer,) = session.run([OUTPUT], {INPUT: seen})
        with torch.inference_mode():
            expected = net(torch.from_numpy(seen)).numpy()
        largest = max(largest, float((np.abs(answer - expected) / np.maximum(np.abs(expected), 1.0)).max()))
    if not largest < LARGEST_DIFFERENCE:
        raise WeightsError(f"the logits of {NETWORK} differ by {largest:.2g} from torch", hint="do not use this file")
    return data, largest


def _fit(
    learner: PictureClassifier, recipe: Recipe, out: Path, say: Callable[[str], None], tick: Tick | None
) -> Progress:
    plan = recipe.train
    budget = Budget(plan.steps, plan.minutes, plan.save_every, plan.seed)
    settings: dict[str, JSON] = {
        "recipe": recipe.to_json(),
        "slices": {"train": dict(learner.batches.slices.counts), "calibrate": dict(learner.looked_at.counts)},
        **_environment(learner.device.type),
    }

    def stop() -> bool:
        if tick is not None:
            tick("training", learner.done, plan.steps)
        return learner.stopped()

    done = fit(learner, budget, out, settings, say=say, stop=stop)
    if int(learner.standing.looked) != done.step:
        say(f"step {done.step}: auroc {learner.look(done.step):.4g}")
    return done


def _facts(recipe: Recipe, learner: PictureClassifier, done: Progress, taught: Slices, held: Slices) -> dict[str, JSON]:
    return {
        "recipe": recipe.to_json(),
        "steps": done.step,
        "seconds": round(done.seconds, 1),
        "best_step": int(learner.standing.step),
        "best_slice_auroc": float(learner.standing.best),
        "slices": {"train": dict(taught.counts), "calibrate": dict(held.counts)},
        "parameters": sum(one.numel() for one in learner.best.parameters()),
        **_environment(learner.device.type),
    }


def _environment(device: str) -> dict[str, JSON]:
    return {
        "tamperscope": tamperscope.__version__,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
    }


def _claim(out: Path, recipe: Recipe, manifest: str) -> bytes:
    """What the folder says of whose run it holds; how long a run goes on may change.

    Raises:
        UsageError: it says something else already.
        UnreadableError: it says nothing that can be read.
    """
    plan = {key: value for key, value in asdict(recipe.train).items() if key not in ("steps", "minutes")}
    mine = {**recipe.to_json(), "train": plan, "manifest": manifest}
    path = out / RUN
    try:
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else mine
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{path} is damaged: {error}", hint="choose another run folder") from error
    if known != mine:
        differ = sorted(key for key in mine.keys() | known.keys() if known.get(key) != mine.get(key))
        raise UsageError(
            f"{out} holds a run of another recipe or manifest: {', '.join(differ)}", hint="choose another run folder"
        )
    return (json.dumps(mine, indent=2) + "\n").encode()


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic() - started


def _peak(device: str) -> float:
    """Bytes that this process has held at most, on the GPU or on the machine; NaN where nobody says."""
    if device == "cuda":
        return float(torch.cuda.max_memory_allocated())
    if sys.platform == "win32":
        return math.nan
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(most if sys.platform == "darwin" else 1024 * most)
