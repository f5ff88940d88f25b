"""The truth of a forgery as NIfTI-1: 1 where a voxel differs from the twin, as the files hold them, else 0."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np

from tamperscope.records import MaskArray, Volume
from tamperscope.report.files import save
from tamperscope.report.nifti import ras_affine

SUFFIX = ".mask.nii.gz"


def write(volume: Volume, mask: MaskArray, path: Path) -> None:
    """Write a mask (D, H, W) on the volume's own grid as uint8, with axes (i, j, k) and millimetres in RAS.

    The same mask gives the same bytes.

    Raises:
        UsageError: the file cannot be written.
    """
    affine = ras_affine(volume.affine)
    image = nib.Nifti1Image(mask.astype(np.uint8).transpose(2, 1, 0), affine)  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm" if volume.geometry != "none" else "unknown")  # type: ignore[no-untyped-call]
    image.header["descrip"] = b"tamperscope mask of changed voxels"
    image.set_sform(affine, code=1 if volume.geometry == "patient" else 2)  # type: ignore[no-untyped-call]
    save(path, gzip.compress(image.to_bytes(), 4, mtime=0))
