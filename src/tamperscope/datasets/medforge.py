"""MedForge-90K: radiographs, brain MRI and fundus pictures edited by ten text-guided editors (Chen et al., ACL 2026).

Layout, as the set's tools read it: ``real/MODALITY/.../NAME.EXT``, and ``deepfake/EDITOR/MODALITY-edit/...`` (a
disease was put in) and ``deepfake/EDITOR/MODALITY-remove/...`` (one was taken out), with files
``NAME-DISEASE-edit.jpeg`` and ``NAME-DISEASE-remove.jpeg`` and MODALITY one of chest-xray, brain-mri, fundus. Where
``image_mask_mapping.json`` lies beside them, it names the mask of each edit. Checked against the published tools
only; the pictures have not been met.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from tamperscope.datasets import layout
from tamperscope.datasets.dataset import Facts, Findings
from tamperscope.datasets.manifest import Entry, Tick, digested
from tamperscope.errors import UnreadableError

MODALITIES = {"chest-xray": "DX", "brain-mri": "MR", "fundus": "OP"}
"""Folder to DICOM modality (PS3.3 C.7.3.1.1.1); OP: ophthalmic photography."""
EDITS = ("edit", "remove")
PUBLISHED = {"authentic": 30_000, "forged": 60_000}
MAPPING = "image_mask_mapping.json"
NAME = re.compile(r"^(.+-.+)-(?:edit|remove)$")

FACTS = Facts(
    name="medforge-90k",
    title="MedForge-90K",
    source="Chen et al., MedForge, ACL 2026, arXiv:2603.18577; github.com/VectorCipher/ACL2026-MedForge",
    licence="C-UDA",
    modality="DX, MR, OP",
    patients="unknown; 30,000 real pictures",
    patient_key="the name of the real picture that was edited",
    layout="real/MODALITY/**/NAME.EXT and deepfake/EDITOR/MODALITY-(edit|remove)/**/NAME-DISEASE-(edit|remove).EXT for "
    "MODALITY in chest-xray, brain-mri, fundus",
    generators=("ten editors",),
    checked_against="published tools",
    traps=(
        "The editors write the whole file anew (JPEG, quality 95): every pixel of a forgery has another history than "
        "its original, and a detector of file history scores well without seeing the edit.",
        "Patients are unknown: two pictures of one person have two keys. All edits of one picture share one.",
        "Its paper names chest radiographs, brain MRI and fundus pictures; its page names CT, MRI and radiographs.",
        "A detector trained on it called 40 % of the authentic images of another source forged (arXiv:2609.36549).",
    ),
)


def entries(root: Path, tick: Tick | None = None) -> tuple[Entry, ...]:
    """Every picture, with the mask of an edit where the mapping names one.

    Raises:
        UnreadableError: no ``real/`` and ``deepfake/`` with pictures, or a damaged mapping.
    """
    return digested(_listed(root), tick)


def check(root: Path) -> Findings:
    """Both classes with their published number of pictures, and the original of every edit.

    Raises:
        UnreadableError: no ``real/`` and ``deepfake/`` with pictures, or a damaged mapping.
    """
    listed, missing, short = _listed(root), [], []
    real = {entry.patient for entry in listed if entry.label == "authentic"}
    orphans = sorted({entry.patient for entry in listed if entry.label == "forged"} - real)
    if orphans:
        missing.append(f"the originals of {len(orphans)} edited pictures ({layout.named(orphans)}): fetch real/ too")
    for label, published in PUBLISHED.items():
        there = sum(entry.label == label for entry in listed)
        if there < published:
            short.append(f"{label}: {there:,} of {published:,} published pictures")
    return Findings.of(listed, FACTS.layout, missing, short=short)


def _listed(root: Path) -> list[Entry]:
    masks = _masks(root)
    found = [entry for slug in MODALITIES for entry in _real(root, slug)]
    real = {entry.patient for entry in found}
    found += [entry for folder in sorted((root / "deepfake").glob("*/*")) for entry in _edited(folder, real, masks)]
    if not found:
        way_out = "give the folder that holds real/ and deepfake/"
        raise layout.absent(FACTS.title, root, ("real/chest-xray", "deepfake/EDITOR/chest-xray-edit"), way_out)
    return found


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if layout.is_image(path, layout.PICTURES))


def _real(root: Path, slug: str) -> Iterator[Entry]:
    folder = root / "real" / slug
    for path in _pictures(folder):
        below = path.parent.relative_to(folder).as_posix()
        series = slug if below == "." else f"{slug}/{below}"
        yield Entry(path, "medforge-90k", f"{slug}/{path.stem}", series, "", modality=MODALITIES[slug])


def _edited(folder: Path, real: Collection[str], masks: dict[str, Path]) -> Iterator[Entry]:
    slug, _, edit = folder.name.rpartition("-")
    if slug not in MODALITIES or edit not in EDITS:
        return
    for path in _pictures(folder):
        match = NAME.match(path.stem)
        if match is None:
            raise UnreadableError(
                f"{path}: not named NAME-DISEASE-{edit}, so its original is unknown", hint="keep the published names"
            )
        patient, disease = _original(f"{slug}/{match[1]}", real)
        yield Entry(
            path,
            "medforge-90k",
            patient,
            f"{folder.parent.name}/{folder.name}",
            "",
            label="forged",
            generator=folder.parent.name,
            mask=masks.get(f"{folder.parent.name}/{path.name}"),
            modality=MODALITIES[slug],
            grade=disease,
        )


def _original(name: str, real: Collection[str]) -> tuple[str, str]:
    """(patient, disease) of MODALITY/NAME-DISEASE: both may hold hyphens, so the real pictures decide where it ends."""
    cuts = [place for place, letter in enumerate(name) if letter == "-"]
    known = [cut for cut in cuts if name[:cut] in real]
    cut = known[-1] if known else cuts[-1]
    return name[:cut], name[cut + 1 :]


def _masks(root: Path) -> dict[str, Path]:
    """Editor and file name to the mask, of those that are there."""
    path = root / MAPPING
    if not path.is_file():
        return {}
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["mapping"]
        pairs = [(f"{one['model']}/{Path(one['image_path']).name}", str(one["mask_path"])) for one in listed]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableError(
            f"{path} is no list of masks: {error}", hint="fetch it again, or remove it to go without masks"
        ) from error
    # The paths are those of the machine that made the set: only what lies below this folder counts.
    known = {mask.name: mask for mask in root.glob("**/*mask*/**/*") if layout.is_image(mask, layout.PICTURES)}
    return {image: known[Path(mask).name] for image, mask in pairs if Path(mask).name in known}
