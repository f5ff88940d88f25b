"""Train the small generators of CT-GAN that come with the package.

    python experiments/forge/ct_gan_train.py --data DIR --run runs/ct-gan-remove --mode remove --minutes 11
    python experiments/forge/ct_gan_train.py --data DIR --run runs/ct-gan-inject --mode inject --minutes 11

DIR holds ct-authentic/ (see `tamperscope.datasets.ct_authentic`). Only patients of the part "train" of
experiments/ct_local/split.json are learned from, those with a whole volume. The part "calibrate" says at the end how
far the network is off; nothing is chosen by it. The folder of the run receives the network with its Card, and
sheet.png: cubes of held-out lung, and below each what the network makes of it. Interrupted, the same command goes on.
For a trial: --steps 20 --cubes 60.

What departs from the paper, so that ten minutes of one core are enough: width and deepest layers, the rate of the
generator, the batch, and a moving average of the weights. Few nodules are marked in these patients, so the injector
learns mostly from drawn ones (`tamperscope.train.ct_gan.draw_nodule`).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image

from tamperscope.attacks.ct_gan import Equalisation, Mode
from tamperscope.attacks.ct_gan_blend import HOLE, SIDE
from tamperscope.attacks.network import Network
from tamperscope.datasets import ct_authentic, leaks, manifest
from tamperscope.datasets.manifest import Entry, Part
from tamperscope.records import JSON, FloatArray
from tamperscope.train import ct_gan
from tamperscope.train.ct_gan import Recipe, Source
from tamperscope.train.marks import marks
from tamperscope.train.run import Budget

SPLIT = Path(__file__).parents[1] / "ct_local" / "split.json"
DRAWN_SHARE = 0.95
"""Of the injector's cubes; the rest shows the one nodule that is marked in a training patient."""
HELD_OUT = 24
HOLE_ = (slice(HOLE, SIDE - HOLE),) * 3


def main() -> None:
    options = arguments()
    entries = ct_authentic.entries(options.data / "ct-authentic")
    parts = manifest.read_split(SPLIT, entries)
    leaks.check(manifest.placed(entries, parts))
    recipe = Recipe(
        mode=options.mode,
        width=options.width,
        deepest=options.deepest,
        cubes=options.cubes,
        drawn_share=DRAWN_SHARE,
        batch=options.batch,
        generator_rate=options.rate,
        discriminator_rate=options.discriminator_rate,
        average=options.average,
    )
    training, facts = sources(entries, parts, "train")
    print(json.dumps(facts))
    budget = Budget(options.steps, options.minutes, options.save_every, options.seed)
    path = ct_gan.train(
        training, recipe, budget, options.run, facts | about(options.mode), threads=options.threads, say=print
    )
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    held_out, _ = sources(entries, parts, "calibrate")
    print(json.dumps(judged(held_out, recipe, path)))


def sources(entries: tuple[Entry, ...], parts: dict[str, Part], part: Part) -> tuple[list[Source], dict[str, JSON]]:
    """The usable volumes of a part with their marked nodules, and what the Card says of them."""
    chosen = [entry for entry in entries if parts[entry.patient] == part]
    found, patients = [], []
    for patient, volume in ct_authentic.volumes(chosen):
        if not ct_gan.usable(volume):
            continue
        folder = next(entry.path.parent for entry in chosen if entry.patient == patient)
        marked = marks(folder, [volume])[0] if any(folder.glob("*.xml")) else ()
        found.append(Source(volume, marked))
        patients.append(patient)
    used = [entry for entry in chosen if entry.patient in patients]
    names: list[JSON] = [*sorted(set(patients))]
    collections: list[JSON] = [*sorted({entry.collection for entry in used})]
    facts: dict[str, JSON] = {
        "patients": names,
        "series": len(found),
        "collections": collections,
        "source": "The Cancer Imaging Archive, CC BY 3.0 and CC BY 4.0",
        "manifest_sha256": manifest.digest(used),
        "marked_nodules": sum(len(one.marks) for one in found),
    }
    return found, facts


def about(mode: Mode) -> dict[str, JSON]:
    if mode == "remove":
        return {"places": "healthy lung, found automatically; no scan made by CT-GAN was used"}
    return {
        "places": f"nodules: {DRAWN_SHARE:.0%} drawn by a procedure into healthy lung (solid, part-solid, spiculated, "
        "ground glass), the others marked by the radiologists of LIDC-IDRI; no scan made by CT-GAN was used"
    }


def judged(held_out: list[Source], recipe: Recipe, path: Path) -> dict[str, float]:
    """Median absolute error in HU on held-out cubes, in the hole and in the ring round it; and the sheet."""
    network = Network(path.stem, path.parent)
    table = Equalisation.of(network.card)
    true = ct_gan.training_cubes(held_out, replace(recipe, cubes=HELD_OUT, drawn_share=1.0), np.random.default_rng(7))
    masked = table.forward(true)
    masked[(slice(None), *HOLE_)] = 0.0
    made = np.stack([table.back(network.run(masked=one[None, None])[0, 0]) for one in masked])
    sheet(true, made).save(path.with_name("sheet.png"))
    wrong = np.abs(made - true)
    ring = np.ones((SIDE,) * 3, dtype=bool)
    ring[HOLE_] = False
    return {
        "held_out_hole_hu": round(float(np.median(wrong[(slice(None), *HOLE_)])), 1),
        "held_out_ring_hu": round(float(np.median(wrong[:, ring])), 1),
    }


def sheet(true: FloatArray, made: FloatArray) -> Image.Image:
    """Middle slices in a lung window: two rows of cubes, and below each row what the network made."""
    half = len(true) // 2
    rows = [
        np.concatenate(list(shown[part, SIDE // 2]), axis=1)
        for part in (slice(0, half), slice(half, None))
        for shown in (true, made)
    ]
    grey = np.clip((np.concatenate(rows) + 1200.0) / 1600.0, 0.0, 1.0) * 255.0
    picture = Image.fromarray(grey.astype(np.uint8))
    return picture.resize((picture.width * 3, picture.height * 3), Image.Resampling.NEAREST)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--mode", choices=get_args(Mode), required=True)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--deepest", type=int, default=32)
    parser.add_argument("--cubes", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3, help="of the generator")
    parser.add_argument("--discriminator-rate", type=float, default=1e-6)
    parser.add_argument("--average", type=float, default=0.99)
    parser.add_argument("--steps", type=int, default=2200)
    parser.add_argument("--minutes", type=float, help="of training, after the cubes are cut; then it exports")
    parser.add_argument("--save-every", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
