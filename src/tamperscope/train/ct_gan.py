"""Train CT-GAN as published: cubes of lung, one table that equalises them, and two networks that learn together.

Mirsky et al., CT-GAN: Malicious Tampering of 3D Medical Imagery using Deep Learning, USENIX Security 2019, and its
released code. The remover learns from healthy places of the lung, the injector from nodules. Where too few nodules are
marked, `draw_nodule` draws some more into healthy places.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from tamperscope import anatomy, weights
from tamperscope.attacks import cubes, nodule
from tamperscope.attacks.ct_gan import Equalisation, Mode
from tamperscope.attacks.ct_gan_blend import HOLE
from tamperscope.attacks.network import SCHEMA
from tamperscope.errors import InputError, WeightsError
from tamperscope.models.ct_gan import SIDE, Discriminator, Generator
from tamperscope.records import JSON, FloatArray, Volume
from tamperscope.train import export, run
from tamperscope.train.run import Budget, Progress

CUT_MM = 40.0
"""The box of the network and 8 mm for shifts and rotations."""
OUTSIDE_HU = -1000.0
RANGE_HU = (-1024.0, 3071.0)
"""What CT stores of air and metal; scanners fill the corners of a slice with lower values, which mean nothing."""
FLIPS, SHIFT, DEGREES = ((), (2,), (1,), (1, 2)), 4, 6
VERSIONS = len(FLIPS) + 4 + 360 // DEGREES - 1
"""Of one cube: itself and its flips, four shifts, 59 rotations, of which the half turn is both flips again."""
BINS = 10_000
KNOTS = 512
"""Along each axis of the table, of which at most twice as many are kept."""

DENSE_HU, LUNG_HU = -500.0, -700.0
LARGEST_BODY_MM3 = 65.0
"""A dense body that ends inside the cube and is larger, a ball of 5 mm, may be a nodule; vessels leave the cube."""
OPEN_SHARE = 0.3
"""Largest dense share of a hole into which a nodule is drawn."""
KINDS: tuple[Literal["solid", "part-solid", "spiculated"] | None, ...] = (None, "solid", "part-solid", "spiculated")
DRAWN_RADIUS_MM = (3.5, 8.5)
TRIES = 40
"""Places looked at for each that is wanted, before a volume is given up."""
LARGEST_DIFFERENCE = 0.03
"""Between torch and ONNX Runtime, of a range of 1: weights in half precision move the answer by thousandths."""

Tick = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A CT and the nodules marked in it."""

    volume: Volume
    marks: tuple[cubes.Triple, ...] = ()
    """Their centres, (k, j, i)."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained, from how many cubes, and how. Where the paper has a number, it is the default."""

    mode: Mode
    width: int = 16
    """Filters of the first layers; 100 as published, which needs a graphics card."""
    deepest: int | None = None
    """Most filters of any layer of the generator; none if left out, as published."""
    cubes: int = 1500
    drawn_share: float = 0.0
    """Of the injector's cubes: nodules that `draw_nodule` draws."""
    batch: int = 32
    generator_rate: float = 2e-4
    discriminator_rate: float = 1e-6
    mae_weight: float = 100.0
    average: float = 0.0
    """Decay of the moving average of the generator's weights that is exported; 0 exports the last, as published."""


# --- cubes ---


def cut(volume: Volume, centre: cubes.Triple) -> FloatArray:
    """The 40 mm round ``centre`` at 1 mm: float32 of about (40, 40, 40) in Hounsfield units, -1000 outside."""
    size = [max(round(CUT_MM / mm), 1) for mm in volume.spacing_mm]
    starts = [c - s // 2 for c, s in zip(centre, size, strict=True)]
    spans = [(max(a, 0), min(a + s, n)) for a, s, n in zip(starts, size, volume.shape, strict=True)]
    box = volume.voxels[tuple(slice(first, last) for first, last in spans)]
    missing = [(first - a, a + s - last) for a, s, (first, last) in zip(starts, size, spans, strict=True)]
    cube = np.pad(np.clip(box, *RANGE_HU), missing, constant_values=OUTSIDE_HU)
    grid = tuple(max(round(s * mm), SIDE) for s, mm in zip(size, volume.spacing_mm, strict=True))
    return cubes.resize(cube, grid, 3)


def usable(volume: Volume) -> bool:
    """Whether cubes can be cut from it: CT with a spacing, and a stack at least as thick as a cube."""
    depth, *_ = volume.shape
    return volume.modality == "CT" and volume.geometry != "none" and depth > 1 and depth * volume.spacing_mm[0] >= SIDE


def version(cube: FloatArray, number: int) -> FloatArray:
    """One of the 67 versions of a cube from `cut`, turned and moved in the axial plane, its middle: (32, 32, 32)."""
    if number < len(FLIPS):
        return _middle(np.flip(cube, FLIPS[number]))
    number -= len(FLIPS)
    if number < 4:
        return _middle(cube, (SHIFT * (number // 2 * 2 - 1), SHIFT * (number % 2 * 2 - 1)))
    angle = float(DEGREES * (number - 3))
    return _middle(ndimage.rotate(cube, angle, axes=(1, 2), reshape=False, mode="reflect"))


def _middle(cube: FloatArray, shift: tuple[int, int] = (0, 0)) -> FloatArray:
    starts = [
        int(np.clip((n - SIDE) // 2 + move, 0, n - SIDE)) for n, move in zip(cube.shape, (0, *shift), strict=True)
    ]
    return np.ascontiguousarray(cube[tuple(slice(a, a + SIDE) for a in starts)], dtype=np.float32)


def healthy(cube: FloatArray) -> bool:
    """Whether a cube (32, 32, 32) in HU shows no nodule: no dense body that ends inside of it, as vessels do not."""
    labels, count = ndimage.label(cube > DENSE_HU)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    for face in (labels[[0, -1]], labels[:, [0, -1]], labels[:, :, [0, -1]]):
        sizes[np.unique(face)] = 0
    return bool(sizes.max() <= LARGEST_BODY_MM3)


def draw_nodule(cube: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The cube from `cut` with a nodule of random kind, size and density in its middle, as noisy as its place."""
    lung = Volume(cube, np.diag([1.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]], "CT")
    attack = nodule.Nodule(KINDS[int(rng.integers(len(KINDS)))])
    k, j, i = (n // 2 for n in cube.shape)
    params = attack.sample(lung, rng, (k, j, i))
    params |= {"radius_mm": round(float(rng.uniform(*DRAWN_RADIUS_MM)), 2), "grain": "soft", "grain_gain": 1.0}
    return attack.apply(lung, params).volume.voxels


def training_cubes(
    sources: Sequence[Source], recipe: Recipe, rng: np.random.Generator, tick: Tick = lambda *_: None
) -> FloatArray:
    """float32 (N, 32, 32, 32) in HU: each a place of its own in one of the 67 versions.

    Raises:
        InputError: no marked nodule where the recipe wants some, or no lung that is healthy.
    """
    marked = [(one.volume, mark) for one in sources for mark in one.marks]
    drawn = recipe.cubes if recipe.mode == "remove" else round(recipe.drawn_share * recipe.cubes)
    if drawn < recipe.cubes and not marked:
        raise InputError("no nodule is marked in these studies", hint="give marks, or let nodules be drawn")
    finders = [_Finder(one, recipe.mode) for one in sources] if drawn else []
    made = []
    for number in range(recipe.cubes):
        tick("cutting cubes", number, recipe.cubes)
        if number < drawn:
            cube = _found(finders, rng)
            cube = cube if recipe.mode == "remove" else draw_nodule(cube, rng)
        else:
            cube = cut(*marked[int(rng.integers(len(marked)))])
        made.append(version(cube, int(rng.integers(VERSIONS))))
    return np.stack(made)


class _Finder:
    """Healthy places in the lungs of one volume."""

    def __init__(self, source: Source, mode: Mode) -> None:
        self.source = source
        self.open = mode == "inject"
        self.lung = np.flatnonzero(anatomy.lungs(source.volume.voxels))

    def find(self, rng: np.random.Generator) -> FloatArray | None:
        """A cube from `cut`, or None where so many places were all unfit."""
        volume = self.source.volume
        for _ in range(TRIES if self.lung.size else 0):
            k, j, i = (int(x) for x in np.unravel_index(int(rng.choice(self.lung)), volume.shape))
            if self._near_a_mark((k, j, i)):
                continue
            cube = cut(volume, (k, j, i))
            if healthy(_middle(cube)) and (not self.open or _open(_middle(cube))):
                return cube
        return None

    def _near_a_mark(self, place: cubes.Triple) -> bool:
        return any(
            all(abs(a - b) * mm < CUT_MM for a, b, mm in zip(place, mark, self.source.volume.spacing_mm, strict=True))
            for mark in self.source.marks
        )


def _found(finders: Sequence[_Finder], rng: np.random.Generator) -> FloatArray:
    """From a random volume; from the others in turn if that one has no fit place."""
    for number in rng.permutation(len(finders)):
        cube = finders[int(number)].find(rng)
        if cube is not None:
            return cube
    raise InputError(
        f"no healthy lung found in {len(finders)} volumes",
        hint="give chest CT with lungs in Hounsfield units, at least 32 mm of it",
    )


def _open(cube: FloatArray) -> bool:
    """Whether there is room for a nodule: air in the middle, and little that is dense in the hole."""
    hole = cube[(slice(HOLE, SIDE - HOLE),) * 3]
    middle = hole[(slice(8, 12),) * 3]
    return bool(middle.mean() < LUNG_HU) and bool((hole > DENSE_HU).mean() < OPEN_SHARE)


def equalisation(cubes_hu: FloatArray) -> Equalisation:
    """The table of cubes (N, 32, 32, 32) in HU: their cumulative histogram in 10 000 bins, divided by N.

    Of the 10 000 at most 1024 knots are kept: those nearest to 512 equal steps of value and to 512 equal steps of
    level. Between two knots the value moves by at most a 512th of its range, and the level by a 512th of its own and
    what one bin holds.
    """
    counts, edges = np.histogram(cubes_hu, bins=BINS)
    hu, level = (edges[:-1] + edges[1:]) / 2, np.cumsum(counts) / len(cubes_hu)
    by_value = np.rint(np.linspace(0, BINS - 1, KNOTS)).astype(int)
    by_level = np.searchsorted(level, np.linspace(level[0], level[-1], KNOTS))
    kept = np.unique(np.concatenate([by_value, by_level]))
    hu, level = np.round(hu[kept], 2), np.round(level[kept], 2)
    rising = np.concatenate([[True], (np.diff(level) > 0) & (np.diff(hu) > 0)])
    hu, level = hu[rising], level[rising]
    seen = np.interp(cubes_hu.ravel(), hu, level)
    return Equalisation(hu, level, round(float(seen.mean()), 3), float(seen.min()), float(seen.max()))


# --- learning ---


class Learner:
    """Generator and discriminator, as `run.fit` moves them.

    One pass of the generator serves both, where the release asks it again, without dropout, for the cubes that the
    discriminator learns from. All is computed in single precision: in bfloat16, torch's gradients of convolutions in
    three dimensions differ from run to run on a processor, and end in NaN.
    """

    def __init__(self, recipe: Recipe, seen: FloatArray, seed: int, steps: int, tick: Tick = lambda *_: None) -> None:
        torch.manual_seed(seed)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.generator = Generator(recipe.width, recipe.deepest).to(self.device).train()
        self.discriminator = Discriminator(recipe.width).to(self.device).train()
        self.result = deepcopy(self.generator) if recipe.average else self.generator
        """What is exported."""
        learning = {"generator": self.generator, "discriminator": self.discriminator}
        self.parts: Mapping[str, nn.Module] = learning | ({"average": self.result} if recipe.average else {})
        rates = {"generator": recipe.generator_rate, "discriminator": recipe.discriminator_rate}
        self.optimisers: Mapping[str, Optimizer] = {
            name: Adam(part.parameters(), lr=rates[name], betas=(0.5, 0.999)) for name, part in learning.items()
        }
        self.recipe, self.seen, self.steps, self.tick = recipe, seen, steps, tick

    def step(self, number: int, rng: np.random.Generator) -> dict[str, float]:
        """See `run.Learner.step`."""
        self.tick("training", number, self.steps)
        torch.manual_seed(int(rng.integers(2**31)))  # dropout
        chosen = rng.choice(len(self.seen), self.recipe.batch, replace=len(self.seen) < self.recipe.batch)
        real = torch.from_numpy(self.seen[chosen][:, None]).to(self.device)
        masked = cleared(real)
        made = self.generator(masked)
        judged = self._discriminate(real, masked, made.detach())
        self.discriminator.requires_grad_(False)
        opinion = self.discriminator(made, masked)
        adversarial = functional.mse_loss(opinion, torch.zeros_like(opinion))
        wrong = (made - real).abs()
        loss = adversarial + self.recipe.mae_weight * wrong.mean()
        self._descend("generator", loss)
        if self.recipe.average:
            run.follow(self.result, self.generator, self.recipe.average, number)
        return {
            "loss": loss.item(),
            "mae": wrong.mean().item(),
            "mae_hole": wrong[(..., *(slice(HOLE, SIDE - HOLE),) * 3)].mean().item(),
            "adversarial": adversarial.item(),
            "discriminator": judged,
        }

    def _discriminate(self, real: Tensor, masked: Tensor, made: Tensor) -> float:
        """Least squares with labels real = 0 and fake = 1, as published (Mao et al., LSGAN, ICCV 2017)."""
        self.discriminator.requires_grad_(True)
        true, false = (self.discriminator(cube, masked) for cube in (real, made))
        real_loss = functional.mse_loss(true, torch.zeros_like(true))
        loss = 0.5 * (real_loss + functional.mse_loss(false, torch.ones_like(false)))
        self._descend("discriminator", loss)
        return float(loss.item())

    def _descend(self, which: str, loss: Tensor) -> None:
        self.optimisers[which].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimisers[which].step()


def cleared(seen: Tensor) -> Tensor:
    """Cubes (N, 1, 32, 32, 32) with the hole, voxels 6 to 25 of each axis, set to 0."""
    masked = seen.clone()
    masked[(..., *(slice(HOLE, SIDE - HOLE),) * 3)] = 0.0
    return masked


def train(
    sources: Sequence[Source],
    recipe: Recipe,
    budget: Budget,
    folder: Path,
    facts: Mapping[str, JSON],
    *,
    threads: int | None = None,
    say: Callable[[str], None] = lambda _: None,
    tick: Tick = lambda *_: None,
) -> Path:
    """Cut cubes, train, and export; the same call goes on with an interrupted run.

    Args:
        sources: Chest CT in Hounsfield units.
        recipe: What to train.
        budget: How long.
        folder: Receives checkpoints, ``record.jsonl``, and the network ``ct-gan-MODE.onnx`` with its Card beside it.
        facts: What the Card says of the training data.
        threads: Of torch; its own choice if None.
        say: Gets a line each time the run saves.
        tick: Gets (what, done, total).

    Returns:
        The ONNX file.

    Raises:
        InputError: no marked nodules, or no healthy lung.
        WeightsError: the folder holds a run of other networks, or the exported file answers otherwise than torch.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    cubes_hu = training_cubes(sources, recipe, np.random.default_rng(budget.seed), tick)
    table = equalisation(cubes_hu)
    learner = Learner(recipe, table.forward(cubes_hu), budget.seed, budget.steps, tick)
    settings: dict[str, JSON] = {**asdict(recipe), "device": str(learner.device), "knots": len(table.hu)}
    done = run.fit(learner, budget, folder, settings, say=say)
    training = {**facts, "recipe": asdict(recipe), "seed": budget.seed, "steps": done.step, "minutes": _minutes(done)}
    return write(learner.result, table, recipe.mode, training, folder)


def write(generator: Generator, table: Equalisation, mode: Mode, training: Mapping[str, JSON], folder: Path) -> Path:
    """The generator as ``ct-gan-MODE.onnx`` in ``folder``, with its Card beside it; returns the file.

    Raises:
        WeightsError: ONNX Runtime answers otherwise than torch.
    """
    name = f"ct-gan-{mode}"
    path = folder / f"{name}.onnx"
    net = generator.cpu().eval()
    noise = torch.rand(1, 1, SIDE, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) - 0.5
    masked = cleared(noise)
    export.write(net, path, {"masked": masked}, "cube")
    session = weights.opened(path.read_bytes(), path.name)
    (answer,) = session.run(None, {"masked": masked.numpy()})
    with torch.inference_mode():
        difference = float(np.abs(answer - net(masked).numpy()).max())
    if difference > LARGEST_DIFFERENCE:
        raise WeightsError(f"{path} differs by {difference:.2g} from torch", hint="do not ship this file")
    card: dict[str, JSON] = {
        "schema": SCHEMA,
        "name": name,
        "what": f"The generator of CT-GAN ({_task(mode)}), published layers, smaller widths; trained anew.",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "licence": "Apache-2.0 (weights)",
        "input": "masked: float32 (1, 1, 32, 32, 32) at 1 mm, equalised and normalised, voxels 6 to 25 of each axis 0",
        "training": dict(training),
        "largest_difference_from_torch": round(difference, 5),
        "equalisation": dict(table.to_json()),
    }
    path.with_suffix(".json").write_text(json.dumps(card) + "\n", encoding="utf-8")
    return path


def _task(mode: Mode) -> str:
    return "puts a nodule into lung" if mode == "inject" else "takes a nodule out of lung"


def _minutes(done: Progress) -> float:
    return round(done.seconds / 60.0, 1)
