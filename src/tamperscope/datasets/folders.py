"""A folder of your own: ``real/`` and ``fake/``, with ``masks/`` if there are any.

``fake-NAME/`` beside or instead of ``fake/`` says what made the forgeries in it. The first folder below each is the
patient; a file that lies in it directly is a patient of its own, by its name without suffix, so that
``real/a.png`` and ``fake/a.png`` are one patient. The mask of ``fake/a/1.dcm`` is ``masks/a/1.png`` (any picture, or
the same name), of ``fake-NAME/a/1.dcm`` first ``masks/fake-NAME/a/1.png``.
"""

from __future__ import annotations

from pathlib import Path

from tamperscope.datasets import layout
from tamperscope.datasets.dataset import Facts, Findings
from tamperscope.datasets.manifest import Entry, Tick, Truth, digested

REAL, FAKE, MASKS = "real", "fake", "masks"

FACTS = Facts(
    name="folders",
    title="real/ and fake/ folders",
    source="your own",
    licence="yours",
    modality="any",
    patients="as in the folder",
    patient_key="the first folder below real/ or fake/; of a file without one, its name",
    layout="real/[PATIENT/]**/*, fake/ or fake-GENERATOR/ alike, masks/ with the same names",
    generators=("as in the folder",),
    checked_against="generated files",
    traps=(
        "One person under two names is two patients, and may end up in two parts: name folders by person.",
        "Files of the same name in real/ and fake/ count as one patient.",
        "Where real/ and fake/ went through different programs, the program tells them apart: write both classes with "
        "one writer.",
    ),
)


def entries(root: Path, tick: Tick | None = None) -> tuple[Entry, ...]:
    """Every image below ``real/`` and ``fake*/``.

    Raises:
        UnreadableError: none there.
    """
    return digested(_listed(root), tick)


def check(root: Path) -> Findings:
    """Both classes, and a mask for every forgery if there is any mask at all.

    Raises:
        UnreadableError: no image below ``real/`` or ``fake*/``.
    """
    listed, missing, notes = _listed(root), [], []
    for label, name in (("authentic", f"{REAL}/"), ("forged", f"{FAKE}/ or {FAKE}-NAME/")):
        if not any(entry.label == label for entry in listed):
            missing.append(f"{label} images: put them below {root / name}")
    bare = [str(entry.path) for entry in listed if entry.label == "forged" and entry.mask is None]
    if bare and (root / MASKS).is_dir():
        missing.append(f"the mask of {len(bare)} forgeries ({layout.named(bare)}): name it as the image")
    elif bare:
        notes.append("no masks: where the forgeries are cannot be judged")
    return Findings.of(listed, FACTS.layout, missing, notes)


def _listed(root: Path) -> list[Entry]:
    found = [entry for folder in sorted(root.glob("*")) if _label(folder) for entry in _files(root, folder)]
    if not found:
        raise layout.absent(FACTS.title, root, (f"{REAL}/", f"{FAKE}/"), "make these two folders and put images there")
    return found


def _label(folder: Path) -> Truth | None:
    if not folder.is_dir():
        return None
    if folder.name == REAL:
        return "authentic"
    return "forged" if folder.name == FAKE or folder.name.startswith(f"{FAKE}-") else None


def _files(root: Path, folder: Path) -> list[Entry]:
    label, found = _label(folder), []
    for path in sorted(folder.rglob("*")):
        # A DICOM file often has no suffix at all; what it is, its reader decides.
        if not path.is_file() or not (layout.is_image(path) or "." not in path.name):
            continue
        first, *below = path.relative_to(folder).parts
        found.append(
            Entry(
                path,
                "folders",
                first if below else _stem(path),
                "/".join((folder.name, *below[:-1])),
                "",
                label=label or "authentic",
                generator=folder.name.removeprefix(FAKE).lstrip("-") if label == "forged" else "",
                mask=_mask(root, folder, path) if label == "forged" else None,
            )
        )
    return found


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def _mask(root: Path, folder: Path, path: Path) -> Path | None:
    below = path.relative_to(folder)
    names = [below.name, *(f"{_stem(below)}{suffix}" for suffix in layout.IMAGES)]
    places = [root / MASKS / folder.name / below.parent, root / MASKS / below.parent]
    return layout.first(place / name for place in places for name in names)
