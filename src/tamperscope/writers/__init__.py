"""Forgeries and their twins as files, one format per file: the format of the source, and what lies beside it.

`write` is the one way out. What it writes is marked (`mark`), and what a reader will decode from it comes back with
it, for the truth is computed from that.
"""

from __future__ import annotations

from pathlib import Path

from tamperscope.errors import UnsupportedError
from tamperscope.records import Series, Volume
from tamperscope.study import DEFAULT_LIMITS, Limits

from . import comparison, dicom, lossy, mask, nifti, pictures, record
from .dicom import Edit
from .mark import TWIN, Mark, Role, prefix
from .written import Written, covered

__all__ = [
    "TWIN",
    "Edit",
    "Mark",
    "Role",
    "Written",
    "comparison",
    "covered",
    "dicom",
    "lossy",
    "mask",
    "nifti",
    "pictures",
    "prefix",
    "record",
    "write",
]


def write(
    series: Series,
    original: Volume,
    volume: Volume,
    out: Path,
    name: str,
    mark: Mark | None,
    *,
    edit: Edit | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Written:
    """Write a volume in the format of the series that it was made from.

    A DICOM series becomes the folder ``OUT/ROLE-NAME``, a NIfTI file or a picture the file ``OUT/ROLE-NAME.suffix``.

    Args:
        series: what was read.
        original: its voxels (D, H, W) as `decode` gives them.
        volume: the voxels to write, on the same grid or a part of it.
        out: a folder; made if it is missing.
        name: stem, without the prefix that says whether it is forged.
        mark: the mark of a forgery; None for a pristine twin.
        edit: forges the headers of DICOM.
        limits: what a file of the source may ask for.

    Raises:
        UsageError: there is no mark for what differs from the source.
        UnsupportedError: the format cannot hold it exactly, or has no headers to forge.
        InputError: the source cannot be read again.
    """
    if series.format == "dicom":
        folder = out / f"{prefix(mark)}{name}"
        return dicom.write(series, original, volume, folder, mark, edit=edit, limits=limits)
    if edit is not None:
        raise UnsupportedError(
            f"{series.instances[0].source}: has no DICOM header to forge", hint="leave the header attacks out"
        )
    if series.format == "nifti":
        return nifti.write(series, original, volume, out, name, mark, limits=limits)
    return pictures.write(series, original, volume, out, name, mark)
