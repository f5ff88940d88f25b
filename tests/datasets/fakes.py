"""Every data set in its published layout, made of phantoms: a function that fills a folder for each layout.

They are small, so what a set of fixed size should hold is missing; `Fake.short` says so.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from tamperscope import phantom, study
from tamperscope.datasets import table
from tamperscope.datasets.manifest import Entry, file_digest
from tamperscope.decode import decode
from tamperscope.records import Volume


@dataclass(frozen=True)
class Fake:
    """One layout of one data set."""

    name: str
    """Of the data set."""
    make: Callable[[Path], None]
    loss: str = ""
    """A file or folder that the layout or its tables promise; empty where nothing is promised."""
    short: bool = False
    """The published number of pictures is known, and the fake holds fewer."""


def texture(seed: int, side: int = 40) -> np.ndarray:
    """uint8 (side, side): smooth blobs that no other seed makes."""
    blobs = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((side, side)), 2)
    return np.uint8(255 * (blobs - blobs.min()) / np.ptp(blobs))


def picture(path: Path, seed: int, side: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(texture(seed, side)).save(path)


def chest(seed: int, depth: int = 1, side: int = 24) -> Volume:
    """A CT whose pictures are texture in Hounsfield units: phantoms of this size would all look alike."""
    planes = [np.float32(texture(1000 * seed + k, side)) * 4 - 1000 for k in range(depth)]
    return replace(phantom_ct(), voxels=np.stack(planes))


@cache
def phantom_ct() -> Volume:
    return phantom.chest((1, 8, 8), (2.5, 0.9, 0.9))


def series(folder: Path, seed: int, depth: int = 2) -> list[Path]:
    return phantom.write_dicom(chest(seed, depth), folder)


def rows(path: Path, header: Iterable[str], lines: Iterable[Iterable[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *lines])


# --- CT-GAN ---

GAN_COLUMNS = ("type", "uuid", "slice", "x", "y")


def scan(folder: Path, slices: Iterable[int], seed: int) -> None:
    """A scan whose files are called after their slice."""
    names = list(slices)
    for name, path in zip(names, series(folder, seed, len(names)), strict=True):
        path.rename(path.with_name(f"{name}.dcm"))


def ct_gan_small(root: Path) -> None:
    """Four scans with one slice each; the place in the last one is authentic."""
    kinds = ("FB", "FM", "FM", "TB")
    for number in range(4):
        scan(root / str(1000 + number), [number + 40], number)
    rows(root / "labels.csv", GAN_COLUMNS, [(k, 1000 + n, n + 40, 5 + n, 9 + n) for n, k in enumerate(kinds)])


def _ct_gan(tables: Path, folders: dict[str, Path]) -> None:
    """Three scans in the first part, two in the second, and 6031 in both, in different states."""
    labels = {
        "exp1": [("FB", 1280, 1, 6, 7), ("FB", 1280, 1, 15, 14), ("TM", 2000, 0, 5, 5), ("FM", 6031, 2, 8, 9)],
        "exp2": [("TB", 6031, 1, 3, 3), ("FM", 3000, 2, 11, 12)],
    }
    for part, lines in labels.items():
        rows(tables / f"labels_{part}.csv", GAN_COLUMNS, lines)
        for uuid in sorted({line[1] for line in lines}):
            scan(folders[part] / str(uuid), range(3), uuid + len(part + folders[part].name))


def ct_gan_uci(root: Path) -> None:
    base = root / "Tampered Scans"
    _ct_gan(base, {"exp1": base / "Experiment 1 - Blind", "exp2": base / "Experiment 2 - Open"})


def ct_gan_kaggle(root: Path) -> None:
    base = root / "CT_Scans"
    _ct_gan(root, {"exp1": base / "EXP1_blind", "exp2": base / "EXP2_open"})


# --- M3Dsynth ---


def tiff(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compression="lzma")


def m3dsynth(root: Path) -> None:
    """Three patients; two forgeries of the first share their pristine scan by a link, as the set's tools make it."""
    patients = ("LIDC-IDRI-0003", "LIDC-IDRI-0129", "LIDC-IDRI-0440")
    forged = (("inj_1", "pix2pix", 0), ("rem_2", "cycle", 0), ("inj_3", "diffusion", 1), ("rem_4", "pix2pix", 2))
    lines: list[tuple[object, ...]] = []
    for seed, (name, mod, number) in enumerate(forged):
        lines += [(name, name[:3], origin, patients[number], 2 + number, 1, 12, 9) for origin in ("real", mod)]
        for k in range(3):
            stored = np.uint16(texture(50 * number + k)) * 16
            mask = np.zeros(stored.shape, dtype=bool)
            mask[8:16, 5:13] = k == 1
            stored[mask] += np.uint16(300 + seed)
            tiff(root / mod / "scan" / name / f"slide{k:04d}.tiff", stored)
            tiff(root / mod / "label" / name / f"slide{k:04d}.tiff", mask)
            if name != "rem_2":
                tiff(root / "real/scan" / name / f"slide{k:04d}.tiff", np.uint16(texture(50 * number + k)) * 16)
    (root / "real/scan/rem_2").symlink_to("inj_1", target_is_directory=True)
    columns = ("img_id", "ty", "mod", "orig_id", "sdir_id", "coord_z", "coord_y", "coord_x")
    rows(root / "data/data.csv", columns, lines)
    rows(root / "data/sets.csv", ("orig_id", "set"), zip(patients, ("train", "valid", "test"), strict=True))


# --- Back-in-Time Diffusion ---


def array(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.int16(texture(seed)) * 4 - 1000)


def btd(root: Path) -> None:
    """Slices of both modalities; one CT slice is forged in two places, one authentic slice stands in two tables."""
    for kind, seed in (("injection", 10), ("removal", 20)):
        columns = ("type", "path", "x", "y", f"CTGAN-CT-{kind}", f"SD-CT-{kind}")
        folder = f"CT/{kind}/slices"
        lines = [
            ("fake", f"{folder}/{kind}_a1.npy", 12, 20, 1, 0),
            ("fake", f"{folder}/{kind}_a1.npy", 30, 8, 1, 0),
            ("fake", f"{folder}/{kind}_b2.npy", 14, 15, 0, 1),
            ("real", f"{folder}/c3.npy", 9, 9, 1, 1),
            ("real", "CT/injection/slices/c3.npy", 5, 6, 1, 1),
        ]
        rows(root / f"CT/{kind}/CT_{kind}.csv", columns, lines)
        for number, line in enumerate(lines[1:4]):
            array(root / str(line[1]), seed + number)
        pictures = [("1", f"MRI/{kind}_m1_fake.png", "7.0", "8.0"), ("0", f"MRI/{kind}_m1.png", "7.0", "8.0")]
        rows(root / f"MRI/MRI_{kind}.csv", ("type", "path", "x", "y"), pictures)
        for number, line in enumerate(pictures):
            picture(root / line[1], seed + 5 + number)


# --- LIDC-IDRI ---

MESSAGE = """<?xml version="1.0" encoding="UTF-8"?>
<LidcReadMessage xmlns="http://www.nih.gov">
<ResponseHeader><SeriesInstanceUid>{series}</SeriesInstanceUid></ResponseHeader>
{sessions}
</LidcReadMessage>
"""
SESSION = "<readingSession><annotationVersion>3.12</annotationVersion>{findings}</readingSession>"


def nodule_xml(name: str, rois: Iterable[tuple[str, float, Iterable[tuple[int, int]]]], malignancy: int = 0) -> str:
    """One reader's nodule: (SOP Instance UID, z, (row, column) of its outline) a slice."""
    rated = f"<characteristics><subtlety>4</subtlety><malignancy>{malignancy}</malignancy></characteristics>"
    text = "".join(
        f"<roi><imageZposition>{z}</imageZposition><imageSOP_UID>{uid}</imageSOP_UID><inclusion>TRUE</inclusion>"
        + "".join(f"<edgeMap><xCoord>{i}</xCoord><yCoord>{j}</yCoord></edgeMap>" for j, i in points)
        + "</roi>"
        for uid, z, points in rois
    )
    return f"<unblindedReadNodule><noduleID>{name}</noduleID>{rated if malignancy else ''}{text}</unblindedReadNodule>"


def no_nodule_xml(name: str, uid: str, z: float, row: int, column: int) -> str:
    return (
        f"<nonNodule><nonNoduleID>{name}</nonNoduleID><imageZposition>{z}</imageZposition><imageSOP_UID>{uid}"
        f"</imageSOP_UID><locus><xCoord>{column}</xCoord><yCoord>{row}</yCoord></locus></nonNodule>"
    )


def message(series_uid: str, *sessions: str) -> str:
    """An XML file with what each reader found."""
    return MESSAGE.format(
        series=series_uid, sessions="\n".join(SESSION.format(findings=findings) for findings in sessions)
    )


def marked(folder: Path, seed: int, xml: Path) -> Volume:
    """A series of four slices with one nodule that two readers outlined, and its XML file."""
    volume = decode(study.read(series(folder, seed, 4)).studies[0].series[0])
    rois = [
        (uid or "", volume.position_mm((k, 0, 0))[2], [(8, 10), (8, 14), (12, 10), (12, 14)])
        for k, uid in enumerate(volume.sop_instance_uids[1:3], start=1)
    ]
    xml.parent.mkdir(parents=True, exist_ok=True)
    sessions = nodule_xml("Nodule 001", rois, 5), nodule_xml("IL057_1", rois, 4)
    xml.write_text(message(volume.series_uid or "", *sessions), encoding="utf-8")
    return volume


def lidc_small(root: Path) -> None:
    for number in range(3):
        folder = root / f"LIDC-IDRI-{number + 1:04d}"
        marked(folder, 70 + number, folder / "nodules.xml")


def lidc_tcia(root: Path) -> None:
    """Marks beside the slices for the first patient, all together in a folder of their own for the others."""
    for number in range(3):
        below = f"LIDC-IDRI-{number + 1:04d}/01-01-2000-NA-NA-3017{number}/3000566.000000-NA-0319{number}"
        folder = root / "LIDC-IDRI" / below
        xml = folder / "069.xml" if number == 0 else root / f"LIDC-XML-only/tcia-lidc-xml/157/{158 + number}.xml"
        marked(folder, 80 + number, xml)


# --- the others ---


def ct_authentic(root: Path) -> None:
    """Two collections of three patients each, one of them with two series."""
    seed = 0
    for collection in ("first", "second"):
        for number in range(3):
            patient = f"P{number + 1 + 3 * (collection == 'second')}"
            for name in ("soft", "sharp") if patient == "P1" else ("",):
                seed += 1
                series(root / collection / patient / name, seed)


def medforge(root: Path) -> None:
    """Originals and their edits; a name and a disease may both hold hyphens."""
    for number, (slug, name) in enumerate((("chest-xray", "a-1"), ("chest-xray", "b2"), ("fundus", "c3"))):
        picture(root / "real" / slug / "normal" / f"{name}.jpg", number)
    edits = (
        ("nano-banana", "chest-xray-edit/pleural-effusion", "a-1-pleural-effusion-edit.jpeg"),
        ("flux", "chest-xray-edit/edema", "a-1-edema-edit.jpeg"),
        ("flux", "chest-xray-remove/normal", "b2-edema-remove.jpeg"),
        ("flux", "fundus-edit/glaucoma", "c3-glaucoma-edit.jpeg"),
    )
    pairs = []
    for number, (editor, folder, name) in enumerate(edits):
        picture(root / "deepfake" / editor / folder / name, 10 + number)
        mask = root / "masks" / editor / f"{Path(name).stem}.png"
        picture(mask, 20)
        pairs.append(
            {
                "model": editor,
                "image_path": f"/elsewhere/{name}",
                "mask_path": f"/elsewhere/{mask.name}",
                "dataset_type": "",
            }
        )
    (root / "image_mask_mapping.json").write_text(json.dumps({"mapping": pairs}), encoding="utf-8")


KNEES = (("9000001", 0), ("9000002", 1), ("9000003", 2), ("9000004", 4))


def knees(folder: Path, knee: Callable[[int, str], Path], side: int) -> None:
    """Both knees of four patients; the picture depends on the knee alone, so both sizes hold the same."""
    for number, (patient, grade) in enumerate(KNEES):
        for letter in "LR":
            seed = 2 * number + (letter == "R")
            path = folder / knee(number, str(grade)) / f"{patient}{letter}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(texture(seed, 60)).resize((side, side), Image.Resampling.BICUBIC).save(path)


def knee_severity(root: Path) -> None:
    parts = ("train", "val", "test", "auto_test")
    for size, side in (("kneeKL224", 56), ("kneeKL299", 75)):
        knees(root / "KneeXrayData/ClsKLData" / size, lambda number, grade: Path(parts[number], grade), side)


def knee_severity_one_size(root: Path) -> None:
    parts = ("train", "train", "val", "test")
    knees(root, lambda number, grade: Path(parts[number], grade), 56)


def knee_severity_small(root: Path) -> None:
    knees(root, lambda _, grade: Path(f"kl{grade}"), 56)


def knee_synthetic(root: Path) -> None:
    for number in range(6):
        picture(root / ("KL01_160K" if number % 2 else "KL234_160K") / f"img_{number}.png", number)


def knee_synthetic_small(root: Path) -> None:
    for number in range(4):
        picture(root / f"generated_{number}.png", number)


def folders(root: Path) -> None:
    """Patients by folder and by name, two generators, masks."""
    series(root / "real/P1/soft", 1)
    series(root / "real/P2", 2)
    series(root / "fake/P1/soft", 3)
    picture(root / "real/photo.png", 4)
    picture(root / "fake-wgan/photo.png", 5)
    for path in sorted((root / "fake/P1/soft").iterdir()):
        picture(root / "masks/P1/soft" / f"{path.stem}.png", 6)
    picture(root / "masks/fake-wgan/photo.png", 7)


def manifest(root: Path) -> None:
    """Three patients with a split, one of them forged."""
    listed = []
    for number, part in enumerate(("train", "calibrate", "test")):
        path = root / "images" / f"{number}.png"
        picture(path, number)
        entry = Entry(path, "own", f"P{number}", "s", file_digest(path), part=part, modality="DX")
        listed.append(entry)
    picture(root / "masks/2.png", 9)
    listed[2] = Entry(
        listed[2].path,
        "own",
        "P2",
        "s",
        listed[2].sha256,
        label="forged",
        generator="wgan",
        mask=root / "masks/2.png",
        places=((12, 5), (30, 31)),
        modality="DX",
        part="test",
    )
    table.write(root / "manifest.csv", listed, root, {"split": "patient", "seed": 1})


FAKES = {
    "CT-GAN, small": Fake("ct-gan", ct_gan_small, "1001"),
    "CT-GAN, UCI": Fake("ct-gan", ct_gan_uci, "Tampered Scans/Experiment 1 - Blind/1280/1.dcm"),
    "CT-GAN, Kaggle": Fake("ct-gan", ct_gan_kaggle, "labels_exp2.csv"),
    "M3Dsynth": Fake("m3dsynth", m3dsynth, "pix2pix/label/rem_4/slide0001.tiff"),
    "BTD": Fake("btd", btd, "MRI/removal_m1_fake.png"),
    "LIDC-IDRI, small": Fake("lidc-idri", lidc_small, "LIDC-IDRI-0002/nodules.xml"),
    "LIDC-IDRI, TCIA": Fake("lidc-idri", lidc_tcia, "LIDC-XML-only"),
    "authentic CT": Fake("ct-authentic", ct_authentic),
    "MedForge-90K": Fake("medforge-90k", medforge, "real/fundus"),
    "knee severity, both sizes": Fake(
        "knee-severity", knee_severity, "KneeXrayData/ClsKLData/kneeKL224/val", short=True
    ),
    "knee severity, one size": Fake("knee-severity", knee_severity_one_size, "test", short=True),
    "knee severity, small": Fake("knee-severity", knee_severity_small),
    "WGAN knees": Fake("knee-synthetic", knee_synthetic, "KL01_160K", short=True),
    "KneeOAGen": Fake("knee-synthetic", knee_synthetic_small),
    "real and fake": Fake("folders", folders, "masks/P1"),
    "manifest": Fake("manifest", manifest, "images/1.png"),
}
