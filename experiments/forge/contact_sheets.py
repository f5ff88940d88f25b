"""What each attack looks like: before, after and difference of three forgeries, one sheet an attack, on phantoms.

    python experiments/forge/contact_sheets.py --out DIR [--knees DIR]

Chest CT for the attacks on lungs, a radiograph for markers and for the whole films that networks make; with --knees,
films in that folder instead, for a phantom of a chest shows nothing of what they do to a joint. With --overview the
first forgery of every attack that is not benign also goes into one picture of that name, which docs/ shows.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from tamperscope import attacks, phantom
from tamperscope.attacks import Attack, Marker, Nodule
from tamperscope.datasets import images
from tamperscope.records import Volume, voxel_digest
from tamperscope.writers import Mark, comparison, covered

SEEDS = (0, 1, 2)
PLACE = (10, 250, 385)
"""In the left lung of the phantom."""
WIDTH = 640
OVERVIEW_WIDTH, COLUMNS, COLOURS = 460, 3, 96
"""Of a drawing in the overview, how many stand side by side, and how many colours keep the file small."""


def main() -> None:
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    donor = phantom.chest((20, 256, 256), (2.5, 1.3, 1.3), np.random.default_rng(8))
    first = []
    for name, attack in (attacks.local((donor,)) | attacks.synthesis() | attacks.benign()).items():
        drawn = [forged(attack, seed, options.knees) for seed in SEEDS]
        joined(drawn, len(drawn), WIDTH).save(options.out / f"{name}.png")
        first += drawn[:1] if not attack.benign else []
        print(options.out / f"{name}.png")
    if options.overview:
        joined(first, COLUMNS, OVERVIEW_WIDTH).quantize(COLOURS).save(options.overview, optimize=True)


def forged(attack: Attack, seed: int, films: Path | None) -> Image.Image:
    """One forgery, drawn as `tamperscope forge` draws it."""
    volume, place = patient(attack)
    if films is not None and attack.name.startswith(("knee", "jekyll")):
        voxels = images.planes(sorted(films.rglob("*.png"))[seed])
        volume = replace(volume, voxels=voxels, bits_stored=8, digest=voxel_digest(voxels))
    made = attack.apply(volume, attack.sample(volume, np.random.default_rng(seed), place)).volume
    before = replace(made, voxels=volume.voxels[covered(volume, made)])
    mask = np.zeros(made.shape, dtype=bool) if attack.benign else made.voxels != before.voxels
    return comparison.draw(before, made, mask, Mark(attack.name, "0" * 64, "forged").attack)


def patient(attack: Attack) -> tuple[Volume, tuple[int, int, int] | None]:
    """A phantom that suits the attack: with a finding where one is to be taken out or changed."""
    if attack.name.startswith(("marker", "knee", "jekyll")):
        film = replace(phantom.radiograph((384, 384), np.random.default_rng(4)), header={"body_part": "KNEE"})
        letter = Marker("draw")
        lettered = letter.apply(film, letter.sample(film, np.random.default_rng(1)) | {"mirror": False}).volume
        return (lettered if attack.name in ("marker-erase", "marker-replace") else film), None
    chest = phantom.chest((20, 512, 512), (2.5, 0.7, 0.7), np.random.default_rng(7))
    if attack.name.startswith("nodule") or attack.name.endswith("inject"):
        return chest, PLACE
    finding = Nodule("solid")
    params = finding.sample(chest, np.random.default_rng(2), PLACE)
    params |= {"radius_mm": 7.0, "level_hu": 40.0, "blend": "maximum", "grain": "soft", "grain_gain": 0.6}
    return finding.apply(chest, params).volume, PLACE


def joined(drawings: list[Image.Image], columns: int, width: int) -> Image.Image:
    """Drawings side by side, all of one width, in rows as high as their highest."""
    small = [one.resize((width, round(one.height * width / one.width)), Image.Resampling.LANCZOS) for one in drawings]
    rows = [small[n : n + columns] for n in range(0, len(small), columns)]
    heights = [max(one.height for one in row) for row in rows]
    sheet = Image.new("RGB", (width * min(columns, len(small)), sum(heights)), small[0].getpixel((0, 0)))
    for n, row in enumerate(rows):
        for m, one in enumerate(row):
            sheet.paste(one, (m * width, sum(heights[:n])))
    return sheet


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--knees", type=Path, help="folder of real films of knees, which stay where they are")
    parser.add_argument("--overview", type=Path, help="a PNG with the first forgery of every attack")
    return parser.parse_args()


if __name__ == "__main__":
    main()
