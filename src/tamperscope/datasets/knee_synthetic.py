"""Knee radiographs that no patient has: 320,000 by a WGAN (Prezja et al. 2022), and a few by a diffusion model.

Published layout (Mendeley Data fyybnjkw7v): ``KL01_160K/`` and ``KL234_160K/``, one network a group of grades; the
folders may also be called ``KL01/`` and ``KL234/``. Small layout: ``generated_0.png`` and so on in the folder itself,
made by KneeOAGen (MIT). Checked against real files of the small layout (50 pictures); against the published
description in the other.
"""

from __future__ import annotations

from pathlib import Path

from tamperscope.datasets import layout
from tamperscope.datasets.dataset import Facts, Findings
from tamperscope.datasets.manifest import Entry, Tick, digested

GROUPS = {"KL01": ("KL01_160K", "KL01"), "KL234": ("KL234_160K", "KL234")}
PUBLISHED = 160_000
"""Pictures in each group."""
SMALL = "generated_*.png"

FACTS = Facts(
    name="knee-synthetic",
    title="Synthetic (DeepFake) Knee Osteoarthritis X-ray Images from GANs",
    source="Prezja, Paloneva, Pölönen, Niinimäki & Äyrämö (2022), Mendeley Data V3, doi:10.17632/fyybnjkw7v.3, "
    "Sci Rep 12:18573; small layout: github.com/khizar-anjum/KneeOAGen",
    licence="as its Mendeley page states",
    modality="DX",
    patients="none",
    patient_key="the group and the file name",
    layout="KL01_160K/*.png and KL234_160K/*.png; or generated_*.png",
    generators=("wgan", "kneeoagen"),
    checked_against="real files (50 of KneeOAGen, none of the WGAN)",
    traps=(
        "Trained on real knees of the Osteoarthritis Initiative, the source of knee-severity: a picture can resemble a "
        "patient of the training set, and a near duplicate across parts is a leak.",
        "Every picture is forged: the class is also the data set, so size, contrast recipe and file type tell it. "
        "Re-encode both classes alike and run a probe on the histogram first.",
        "Two groups of grades, two networks: hold out one group to see whether a detector knows more than one network.",
        "KneeOAGen pictures are 128 x 128 and smooth: easy.",
    ),
)


def entries(root: Path, tick: Tick | None = None) -> tuple[Entry, ...]:
    """Every picture, all of them forged.

    Raises:
        UnreadableError: none there.
    """
    return digested(_listed(root), tick)


def check(root: Path) -> Findings:
    """Both groups with their published number of pictures; the small layout has no such number.

    Raises:
        UnreadableError: none there.
    """
    groups, missing = _groups(root), []
    for group in GROUPS if groups else ():
        there = len(layout.images(groups[group])) if group in groups else 0
        if there < PUBLISHED:
            folder = groups.get(group, root / GROUPS[group][0])
            missing.append(f"{folder}: {there:,} of {PUBLISHED:,} pictures: unpack the archive again")
    return Findings.of(_listed(root), "WGAN" if groups else "small (KneeOAGen)", missing)


def _groups(root: Path) -> dict[str, Path]:
    found = {group: layout.first(root / name for name in names) for group, names in GROUPS.items()}
    return {group: folder for group, folder in found.items() if folder is not None}


def _listed(root: Path) -> list[Entry]:
    found = [
        _entry(path, group.lower(), "wgan", group.lower())
        for group, folder in _groups(root).items()
        for path in layout.images(folder)
    ]
    if not found:
        found = [_entry(path, "", "kneeoagen", "") for path in sorted(root.glob(SMALL))]
    if not found:
        looked = (*(names[0] for names in GROUPS.values()), SMALL)
        raise layout.absent(FACTS.title, root, looked, "give the folder that holds KL01_160K and KL234_160K")
    return found


def _entry(path: Path, series: str, generator: str, grade: str) -> Entry:
    patient = "/".join(word for word in (generator, series, path.stem) if word)
    return Entry(
        path,
        "knee-synthetic",
        patient,
        series,
        "",
        label="forged",
        generator=generator,
        modality="DX",
        grade=grade,
    )
