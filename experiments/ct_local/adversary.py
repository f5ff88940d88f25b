"""An adversary who knows the network, and one who covers traces afterwards: what is left of the detector.

    python experiments/ct_local/adversary.py --data DIR --run runs/2 --second runs/cards/ct-trace.json

On slices of the test patients, each with a forgery and beside its untouched twin. The first adversary follows the
network's gradient (projected gradient descent, Madry et al., Towards Deep Learning Models Resistant to Adversarial
Attacks, ICLR 2018) and moves every pixel of the forged place by up to 2 HU, in whole HU as the file stores them, so
that its strongest places there fall. The second changes the whole slice, the twin alike, or grains the place anew. Each
is met by the network as it ships and by defences that it does not know of: noise added before looking, a slice moved
by a pixel, and a second network that it has not seen.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from tamperscope import attacks, preprocess, weights
from tamperscope.datasets import ct_authentic, manifest
from tamperscope.detectors import TraceDetector, places
from tamperscope.evaluate.metrics import auroc
from tamperscope.evaluate.simulate import simulate
from tamperscope.inputs import ct
from tamperscope.models import moment_net
from tamperscope.records import FloatArray, MaskArray, Volume
from tamperscope.train.crops import Recipe
from tamperscope.train.loss import strongest

HERE = Path(__file__).parent
ATTACKS = (
    "ct-gan-inject",
    "ct-gan-remove",
    "ct-gan-blend-inject",
    "ct-gan-blend-remove",
    "diffusion-inpaint-inject",
    "autoencoder-region",
    "inpaint",
    "splice",
)
LIMIT_HU, STEPS, STEP_HU = 2.0, 12, 0.5
WINDOW = 256
"""Pixels round the place that the gradient is followed in."""
ADDED_HU, LOOKS = 4.0, 4
"""Noise of the defence that adds some, and how often it looks."""
GRADIENT, AGAINST_GRADIENTS = "gradient within 2 HU", ("with noise added", "moved by pixels")
Judge = Callable[[Volume], FloatArray]
"""A slice to its map of logits."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A slice with a forgery, its twin, and the mask (H, W) of what was changed."""

    attack: str
    forged: Volume
    twin: Volume
    mask: MaskArray


def pairs(volumes: list[tuple[str, Volume]], count: int) -> Iterator[Pair]:
    """The slice of each simulated forgery in which most was changed."""
    for one in simulate(volumes, ATTACKS, count, np.random.default_rng(21)):
        changed = np.abs(one.forged.voxels - one.twin.voxels) > 0.5
        k = int(changed.sum(axis=(1, 2)).argmax())
        if changed[k].any():
            yield Pair(one.attack, one.forged.slab(k, k + 1), one.twin.slab(k, k + 1), changed[k])


def seen(plane: Tensor, noise: float) -> Tensor:
    """`preprocess.channels` with a gradient: (H, W) in HU to (1, 3, H, W)."""
    low, high = Recipe().clip_hu
    plane = plane.clamp(low, high)[None, None]
    kernel = torch.tensor([1.0, 2.0, 1.0])
    smooth = functional.conv2d(
        functional.pad(plane, (1, 1, 1, 1), mode="replicate"), (kernel[:, None] * kernel / 16.0)[None, None]
    )
    residual, most = plane - smooth, preprocess.LARGEST_RESIDUAL
    absolute = (residual / preprocess.RESIDUAL_HU).clamp(-most, most)
    relative = (0.5 * residual / noise).clamp(-most, most)
    return torch.cat([(plane - low) * (2.0 / (high - low)) - 1.0, absolute, relative], dim=1)


def evaded(net: nn.Module, pair: Pair) -> Volume:
    """The forged slice after the first adversary: within 2 HU, whole HU, in the forged place alone."""
    voxels = pair.forged.voxels[0]
    rows, columns = (round(float(c)) for c in ndimage.center_of_mass(pair.mask))
    top = int(np.clip(rows - WINDOW // 2, 0, voxels.shape[0] - WINDOW))
    left = int(np.clip(columns - WINDOW // 2, 0, voxels.shape[1] - WINDOW))
    cut = (slice(top, top + WINDOW), slice(left, left + WINDOW))
    start, mask = torch.from_numpy(voxels[cut].copy()), torch.from_numpy(pair.mask[cut])
    noise = preprocess.noise_level(np.clip(voxels, *Recipe().clip_hu))
    cells = functional.avg_pool2d(mask[None, None].float(), 4) > 0
    moved = torch.zeros_like(start)
    for _ in range(STEPS):
        moved.requires_grad_(True)
        strongest(net(seen(start + moved, noise)), cells).sum().backward()  # type: ignore[no-untyped-call]
        slope = moved.grad
        if slope is None:
            break
        moved = ((moved - STEP_HU * slope.sign()) * mask).clamp(-LIMIT_HU, LIMIT_HU).detach()
    found = voxels.copy()
    found[cut] += np.rint(moved.numpy())
    return replace(pair.forged, voxels=found[None])


def covered(name: str, pair: Pair) -> tuple[Volume, Volume]:
    """Forgery and twin after the second adversary."""
    rng = np.random.default_rng(3)
    if name == "regrain the place":
        row, column = (round(float(c)) for c in ndimage.center_of_mass(pair.mask))
        attack = attacks.local()["regrain"]
        again = attack.apply(pair.forged, attack.sample(pair.forged, rng, at=(0, row, column))).volume
        return again, pair.twin
    change = attacks.benign()[name]
    params = change.sample(pair.forged, rng)
    return change.apply(pair.forged, params).volume, change.apply(pair.twin, params).volume


def looks(judge: Judge, second: Judge) -> Mapping[str, Judge]:
    """The network as it ships, and the defences."""

    def noisy(volume: Volume) -> FloatArray:
        rng = np.random.default_rng(5)
        drawn = (rng.normal(0.0, ADDED_HU, volume.shape).astype(np.float32) for _ in range(LOOKS))
        return mean([judge(replace(volume, voxels=volume.voxels + more)) for more in drawn])

    def moved(volume: Volume) -> FloatArray:
        steps = ((0, 0), (2, 1), (1, 3), (3, 2))
        return mean([judge(replace(volume, voxels=np.roll(volume.voxels, s, (1, 2)))) for s in steps])

    def both(volume: Volume) -> FloatArray:
        return mean([judge(volume), second(volume)])

    return {"as it ships": judge, "with noise added": noisy, "moved by pixels": moved, "with a second network": both}


def mean(maps: list[FloatArray]) -> FloatArray:
    """Of maps of one size."""
    return np.asarray(np.mean(maps, axis=0), dtype=np.float32)


def judge_of(card: weights.Card) -> Judge:
    detector = TraceDetector(card, threads=1)

    def judge(volume: Volume) -> FloatArray:
        inside = ct.body_of(volume)
        return np.asarray(np.where(inside, detector.maps(volume, inside), places.FLOOR)[0], dtype=np.float32)

    return judge


def pointed(found: FloatArray, mask: MaskArray) -> bool:
    """Whether the highest place of a map lies in the forged one, or next to it."""
    row, column = (4 * int(n) + 2 for n in np.unravel_index(int(found.argmax()), found.shape))
    return bool(ndimage.binary_dilation(mask, iterations=8)[min(row, len(mask) - 1), min(column, mask.shape[1] - 1)])


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    net = moment_net(*([] if options.width is None else [options.width])).eval().requires_grad_(False)
    net.load_state_dict(load_file(options.run / "average.safetensors"))
    entries = ct_authentic.entries(options.data / "ct-authentic")
    parts = manifest.read_split(HERE / "split.json", entries)
    volumes = list(ct_authentic.volumes([entry for entry in entries if parts[entry.patient] == "test"]))
    made = list(pairs(volumes, options.forgeries))
    card, second = weights.read_card(options.cards / f"{options.name}.json"), weights.read_card(options.second)
    defences = looks(judge_of(card), judge_of(second))
    adversaries: dict[str, list[tuple[Volume, Volume]]] = {"none": [(one.forged, one.twin) for one in made]}
    adversaries[GRADIENT] = [(evaded(net, one), one.twin) for one in made]
    for name in ("regrain the place", "denoise", "add-noise", "resample-whole", "compress"):
        adversaries[name] = [covered(name, one) for one in made]
    print(f"{len(made)} slices; adversary | defence | AUROC | found at 1 % | pointing")
    told = {}
    for name, volumes_of in adversaries.items():
        for defence, judge in defences.items():
            if defence in AGAINST_GRADIENTS and name not in ("none", GRADIENT):
                continue
            told[f"{name}, {defence}"] = row = figures(judge, volumes_of, [one.mask for one in made])
            print(f"{name} | {defence} | {row['auroc']:.3f} | {row['found']:.2f} | {row['pointing']:.2f}", flush=True)
    (HERE / "adversary.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def figures(judge: Judge, both: list[tuple[Volume, Volume]], masks: list[MaskArray]) -> dict[str, float]:
    """AUROC against the twins, the share above the twins' 99th percentile, and the pointing game."""
    maps = [judge(forged) for forged, _ in both]
    forged: NDArray[np.float64] = np.array([float(one.max()) for one in maps])
    twins = np.array([float(judge(twin).max()) for _, twin in both])
    return {
        "auroc": round(auroc(forged, twins), 4),
        "found": round(float((forged > np.quantile(twins, 0.99)).mean()), 4),
        "pointing": round(float(np.mean([pointed(one, mask) for one, mask in zip(maps, masks, strict=True)])), 4),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True, help="of the network that the adversary knows")
    parser.add_argument("--cards", type=Path, default=weights.PACKAGED, help="where its Card lies")
    parser.add_argument("--name", default="ct-fast", help="of its Card")
    parser.add_argument("--second", type=Path, required=True, help="Card of a network that the adversary has not seen")
    parser.add_argument("--forgeries", type=int, default=3, help="of each attack")
    parser.add_argument("--width", type=int, help="the published one unless given")
    return parser.parse_args()


if __name__ == "__main__":
    main()
