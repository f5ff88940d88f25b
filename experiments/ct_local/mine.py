"""Where a trained network raises false alarms: crops round its highest places in whole authentic slices.

    python experiments/ct_local/mine.py --data DIR --run runs/1 --bank runs/bank

Writes runs/bank/mined: crops of the training patients, whole body, each slice as it is and after benign changes.
Another training learns from them as well: `train.py --mined`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file
from scipy import ndimage
from torch import nn

from tamperscope import attacks, preprocess
from tamperscope.datasets import ct_authentic, manifest
from tamperscope.models import moment_net
from tamperscope.records import FloatArray, Volume
from tamperscope.train.crops import CROP, Recipe

HERE = Path(__file__).parent
STRIDE = 4
CHANGES = ("denoise", "add-noise", "kernel-change-sharpen", "kernel-change-soften", "resample-whole", "compress")
PEAKS = 3
APART = 16
"""Cells of the answer, 64 pixels, between two places of one slice."""
OF_SINGLES = 8
"""Versions of a slice that is all there is of a patient; a slice of a whole volume has two."""


def versions(volume: Volume, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Planes (H, W): each slice as it is, and after benign changes."""
    for k in range(volume.shape[0]):
        one = volume.slab(k, k + 1)
        yield one.voxels[0]
        for _ in range((OF_SINGLES if volume.shape[0] == 1 else 2) - 1):
            change = attacks.benign()[str(rng.choice(CHANGES))]
            yield change.apply(one, change.sample(one, rng)).volume.voxels[0]


def crops_of(net: nn.Module, plane: FloatArray, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Channels (3, 128, 128) round the highest places of a slice, which lie anywhere in them."""
    rows, columns = (size // 16 * 16 for size in plane.shape)
    seen = preprocess.channels(plane, Recipe().clip_hu)[:, :rows, :columns]
    with torch.inference_mode():
        logits = net(torch.from_numpy(seen[None]))[0, 0].numpy()
    peaks = np.where(logits == ndimage.maximum_filter(logits, APART), logits, -np.inf)
    for place in np.argsort(peaks, axis=None)[::-1][:PEAKS]:
        centre = np.array(np.unravel_index(place, peaks.shape)) * STRIDE
        row, column = (
            int(np.clip(at - rng.integers(24, CROP - 24), 0, size - CROP))
            for at, size in zip(centre, (rows, columns), strict=True)
        )
        yield seen[:, row : row + CROP, column : column + CROP]


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    rng = np.random.default_rng(options.seed)
    net = moment_net(*([] if options.width is None else [options.width])).eval()
    net.load_state_dict(load_file(options.run / "average.safetensors"))
    entries = ct_authentic.entries(options.data / "ct-authentic")
    parts = manifest.read_split(HERE / "split.json", entries)
    folder = options.bank / "mined"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [entry for entry in entries if parts[entry.patient] == "train"]
    for number, (patient, volume) in enumerate(ct_authentic.volumes(chosen)):
        found = [crop for plane in versions(volume, rng) for crop in crops_of(net, plane, rng)]
        part = folder / f"{number:05d}.part"
        save_file({"authentic": np.stack(found).astype(np.float16)}, part, {"patient": json.dumps(patient)})
        part.replace(part.with_suffix(".safetensors"))
        print(f"{patient}: {len(found)} crops", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True, help="of the network that is asked")
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--width", type=int, help="the published one unless given")
    parser.add_argument("--seed", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
