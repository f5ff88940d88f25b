"""Paths, folders, zips, DICOMDIRs and bytes to studies: find the images, and read their headers.

What a file is, its first bytes decide, never its name. Bad input never raises: it is listed with its error, and the
rest is read. Nothing is written, archives are not unpacked to disk, and no pixels are decoded.
"""

from __future__ import annotations

import hashlib
import os
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeAlias

from tamperscope import grouping
from tamperscope import limits as bounds
from tamperscope.errors import LimitError, TamperscopeError, UnreadableError, UnsafePathError
from tamperscope.formats import dicom, nifti, pdf, pictures
from tamperscope.formats.dicom import Parsed
from tamperscope.grouping import Found
from tamperscope.limits import DEFAULT_LIMITS, Limits
from tamperscope.records import JSON, Failure, Format, Instance, Reading, Series, Skipped, Study

__all__ = ["DEFAULT_LIMITS", "Limits", "payload", "payloads", "read"]

Source: TypeAlias = str | os.PathLike[str] | bytes
Kind: TypeAlias = Literal["dicom", "nifti", "picture", "zip"]

IMAGE_SUFFIXES = (".dcm", ".dicom", ".ima", ".nii", ".nii.gz", ".png", ".jpg", ".jpeg", ".tif", ".tiff")
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
HEAD = 4096
"""Bytes that tell what a file is, so that a film or a database in the folder is not read whole."""
SIGNED_PDF = "a PDF with Content Credentials (C2PA), which tamperscope verify reads"
ANY_IMAGE = "give DICOM, NIfTI, PNG, JPEG or TIFF images"


def read(source: Source | Iterable[Source], limits: Limits = DEFAULT_LIMITS) -> Reading:
    """Find and group all images below the paths, or in the bytes, that are given.

    Args:
        source: file, folder (recursive), zip, DICOMDIR or the bytes of a file; or several of them.
        limits: what one input may ask for.

    Returns:
        Studies with their series by number and slices along the normal; what was skipped and why; what failed
        and the way out. Bad input never raises.
    """
    entries = [source] if isinstance(source, str | bytes | os.PathLike) else list(source)
    # Damaged headers make pydicom and Pillow warn; what matters of it becomes a Failure or a finding here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scan = _Scan(limits)
        for number, entry in enumerate(entries, start=1):
            scan.add(entry, number)
        return scan.reading()


def payload(instance: Instance, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """The bytes of one instance, from its file, archive or memory.

    Raises:
        UnreadableError: gone, damaged, or other bytes than when it was read.
        LimitError: beyond the limits.
        UnsafePathError: the member's name leaves its archive.
    """
    return next(payloads((instance,), limits))


def payloads(instances: Sequence[Instance], limits: Limits = DEFAULT_LIMITS) -> Iterator[bytes]:
    """The bytes of each instance in turn; an archive that holds several of them is opened once. See `payload`."""
    opened: dict[Path | int, zipfile.ZipFile] = {}
    with ExitStack() as stack:
        for instance in instances:
            if instance.member is None:
                data = instance.data if instance.path is None else bounds.read_file(instance.path, limits)
            else:
                key = instance.path or id(instance.data)
                if key not in opened:
                    file = instance.path or BytesIO(instance.data or b"")
                    opened[key] = stack.enter_context(bounds.open_zip(file, instance.source, limits))
                data = _member(opened[key], instance, limits)
            yield _verified(data, instance)


def _member(archive: zipfile.ZipFile, instance: Instance, limits: Limits) -> bytes:
    try:
        info = archive.getinfo(instance.member or "")
    except KeyError as error:
        raise UnreadableError(f"{instance.source}: no longer in the archive", hint="read it again") from error
    return bounds.read_member(archive, info, instance.source, limits)


def _verified(data: bytes | None, instance: Instance) -> bytes:
    if data is None:
        raise UnreadableError(f"{instance.source}: neither a path nor bytes", hint="read it again")
    if instance.sha256 and hashlib.sha256(data).hexdigest() != instance.sha256:
        raise UnreadableError(f"{instance.source}: changed since it was read", hint="read it again")
    return data


def _kind(data: bytes) -> Kind | None:
    """What bytes are by their magic; None for neither an image nor a zip."""
    if data.startswith(ZIP_MAGIC):
        return "zip"
    if dicom.is_dicom(data):
        return "dicom"
    if nifti.is_nifti(data):
        return "nifti"
    return "picture" if pictures.is_picture(data) else None


FORGERY_RESULTS = (".compare.png", ".mask.nii.gz")
"""What `tamperscope forge` writes beside a forgery and its record NAME.json."""


def _is_own_result(instance: Instance, kind: Kind | None, data: bytes) -> bool:
    """Whether this is a picture or map of an earlier scan or forgery: it says so, and lies beside that one's report.

    The file's own word is not enough, or a forger could hide a file from the scan by it. Forged series themselves are
    images like any other.
    """
    if instance.path is None or instance.member:
        return False
    beside = instance.path.with_name("report.json")
    for suffix in FORGERY_RESULTS:
        if instance.path.name.endswith(suffix):
            beside = instance.path.with_name(f"{instance.path.name.removesuffix(suffix)}.json")
    if not beside.is_file():
        return False
    return (kind == "picture" and pictures.is_own(data)) or (kind == "nifti" and nifti.is_own(data))


class _Scan:
    """Collects what is found below all sources of one `read`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._found: list[Found] = []
        self._others: list[Study] = []
        self._skipped: list[Skipped] = []
        self._failed: list[Failure] = []
        self._files: set[Path] = set()
        self._objects: dict[str, Instance] = {}
        self._conflicts: dict[str, str] = {}
        self._rivals: dict[str, Instance] = {}
        self._known = 0

    def reading(self) -> Reading:
        """Studies of DICOM first, then the single files, each in the order in which they came."""
        found = [replace(one, instance=self._with_rival(one.instance)) for one in self._found]
        studies = grouping.studies(found, self._conflicts)
        return Reading((*studies, *self._others), tuple(self._skipped), tuple(self._failed))

    def _with_rival(self, instance: Instance) -> Instance:
        return replace(instance, rival=self._rivals.get(instance.sop_instance_uid or ""))

    def add(self, source: Source, number: int) -> None:
        """Scan one source; where nothing at all comes of it, that is a failure too."""
        name = f"bytes {number}" if isinstance(source, bytes) else os.fspath(source)
        before, skipped = self._outcome(), len(self._skipped)
        with self._listed(name):
            if isinstance(source, bytes):
                bounds.check_file_size(name, len(source), self._limits)
                self._object(Instance(name, data=source), source, name, explicit=True)
            else:
                self._path(Path(name), name)
        if self._outcome() == before:
            reasons = sorted({entry.reason for entry in self._skipped[skipped:]})
            why = f": {'; '.join(reasons[:3])}" if reasons else ""
            self._failed.append(Failure(name, f"{name}: no image in it{why}", ANY_IMAGE))

    def _outcome(self) -> int:
        return len(self._found) + len(self._others) + len(self._failed) + self._known

    @contextmanager
    def _listed(self, source: str) -> Iterator[None]:
        """Whatever is wrong with one input is listed; the others are read."""
        try:
            yield
        except TamperscopeError as error:
            self._failed.append(Failure(source, error.message, error.hint))
        except MemoryError:
            self._failed.append(Failure(source, f"{source}: out of memory", "scan it alone, or lower the limits"))

    def _skip(self, source: str, reason: str) -> None:
        self._skipped.append(Skipped(source, reason))

    def _path(self, path: Path, root: str) -> None:
        try:
            is_folder, exists = path.is_dir(), path.exists()
        except (OSError, ValueError):
            is_folder = exists = False
        if not exists:
            raise UnreadableError(f"{root}: no such file or folder", hint="check the name")
        if is_folder:
            self._folder(path, root)
        else:
            self._file(path, root, explicit=True)

    def _folder(self, folder: Path, root: str) -> None:
        inside = _real(folder)
        for path in self._walk(folder):
            if path.is_symlink() and not _real(path).is_relative_to(inside):
                self._skip(str(path), "link that leaves the folder")
            elif path.is_dir():
                self._skip(str(path), "link to a folder, whose files are found where they are")
            else:
                with self._listed(str(path)):
                    self._file(path, root, explicit=False)

    def _walk(self, folder: Path) -> Iterator[Path]:
        """Files and linked folders below ``folder`` in the order of their names; hidden ones are skipped."""

        def refused(error: OSError) -> None:
            source = str(error.filename)
            self._failed.append(Failure(source, f"{source}: cannot be opened: {error.strerror}", "check permissions"))

        for parent, folders, files in os.walk(folder, onerror=refused):
            here = Path(parent)
            hidden = [name for name in (*folders, *files) if name.startswith(".")]
            for name in sorted(hidden):
                self._skip(str(here / name), "hidden")
            folders[:] = sorted(set(folders) - set(hidden))
            linked = [name for name in folders if (here / name).is_symlink()]
            yield from (here / name for name in sorted((set(files) - set(hidden)) | set(linked)))

    def _file(self, path: Path, root: str, *, explicit: bool) -> None:
        real = _real(path)
        if real in self._files:
            self._known += 1
            self._skip(str(path), "same file as one that was read before")
            return
        self._files.add(real)
        instance = Instance(str(path), path=path)
        if bounds.read_head(path, 4) in ZIP_MAGIC:
            self._zip(instance, path, root)
        elif (head := bounds.read_head(path, HEAD)) and _kind(head) is None:
            # The manifest of a PDF lies near its end.
            told = bounds.read_head(path, self._limits.max_file_bytes) if pdf.is_pdf(head) else head
            self._no_image(instance.source, told, explicit=explicit)
        else:
            self._object(instance, bounds.read_file(path, self._limits), root, explicit=explicit)

    def _zip(self, outer: Instance, file: Path | BytesIO, root: str) -> None:
        """Read the members of a zip one by one; a bad one does not stop the others."""
        with bounds.open_zip(file, outer.source, self._limits) as archive:
            names: set[str] = set()
            for info in archive.infolist():
                source = f"{outer.source}!{info.filename}"
                if info.filename in names:
                    self._failed.append(
                        Failure(
                            source, f"{source}: a second member of this name", "unpack the archive, scan the folder"
                        )
                    )
                    continue
                names.add(info.filename)
                if info.is_dir():
                    continue
                if any(part.startswith(".") and part != ".." for part in Path(bounds.posix(info.filename)).parts):
                    self._skip(source, "hidden")
                    continue
                with self._listed(source):
                    data = bounds.read_member(archive, info, source, self._limits)
                    instance = replace(outer, source=source, member=info.filename)
                    self._object(instance, data, root, explicit=False)

    def _object(self, instance: Instance, data: bytes, root: str, *, explicit: bool) -> None:
        """One file's bytes, wherever they come from."""
        kind = _kind(data)
        if not explicit and _is_own_result(instance, kind, data):
            self._skip(instance.source, dicom.OWN_RESULT)
            return
        instance = replace(instance, sha256=hashlib.sha256(data).hexdigest())
        if kind == "dicom":
            self._dicom(instance, data, root, explicit=explicit)
        elif kind == "nifti":
            self._single(instance, "nifti", nifti.peek(data, instance.source, self._limits))
        elif kind == "picture":
            self._single(instance, "picture", pictures.peek(data, instance.source, self._limits))
        elif kind == "zip" and instance.member is None:
            self._zip(replace(instance, sha256=""), BytesIO(data), root)
        elif kind == "zip":
            self._skip(instance.source, "archive inside an archive")
        else:
            self._no_image(instance.source, data, explicit=explicit)

    def _no_image(self, source: str, data: bytes, *, explicit: bool) -> None:
        if pdf.has_manifest(data):
            self._skip(source, SIGNED_PDF)
            return
        if not explicit and not source.lower().endswith(IMAGE_SUFFIXES):
            self._skip(source, "not an image")
            return
        found = f"begins with {data[:8].hex(' ')}" if data else "is empty"
        raise UnreadableError(f"{source}: not an image that can be read: it {found}", hint=ANY_IMAGE)

    def _single(self, instance: Instance, kind: Format, peeked: tuple[int, dict[str, JSON]]) -> None:
        """A NIfTI file or a picture is a study of one series."""
        frames, facts = peeked
        series = Series(None, None, "OT", kind, (replace(instance, frames=frames),), facts)
        self._others.append(Study(instance.source, None, (series,)))

    def _dicom(self, instance: Instance, data: bytes, root: str, *, explicit: bool) -> None:
        try:
            parsed = dicom.parse(data, instance.source, self._limits)
        except LimitError:
            raise
        except TamperscopeError:
            # Without the DICM mark the bytes only look like a data set.
            if data[128:132] == b"DICM":
                raise
            self._no_image(instance.source, data, explicit=explicit)
            return
        if not dicom.sop_class_of(parsed) and parsed.pixels is None:
            self._no_image(instance.source, data, explicit=explicit or data[128:132] == b"DICM")
            return
        if explicit and dicom.sop_class_of(parsed) == dicom.DICOMDIR_CLASS:
            self._dicomdir(instance, parsed, root)
            return
        if reason := dicom.skip_reason(parsed):
            self._skip(instance.source, reason)
            return
        dicom.check_pixels(parsed, self._limits)
        self._image(instance, parsed, root)

    def _image(self, instance: Instance, parsed: Parsed, root: str) -> None:
        """Keep an image unless one with its SOP Instance UID was read before (PS3.5 9: UIDs are unique)."""
        header = dicom.read_header(parsed)
        uid = header.sop_instance_uid
        first = self._objects.get(uid) if uid else None
        if uid and first and first.sha256 == instance.sha256:
            self._known += 1
            self._skip(instance.source, f"same object as {first.source}")
            return
        if uid and first:
            self._conflicts[uid] = f"{instance.source} has the SOP Instance UID of {first.source} and other content"
            self._rivals[uid] = replace(instance, sop_instance_uid=uid, frames=header.shape[0])
            raise UnreadableError(self._conflicts[uid], hint="scan the two files apart")
        whole = replace(instance, sop_instance_uid=uid, frames=header.shape[0], moment=header.moment)
        if uid:
            self._objects[uid] = whole
        self._found.append(Found(root, whole, header))

    def _dicomdir(self, instance: Instance, parsed: Parsed, root: str) -> None:
        """Read the files that a DICOMDIR names, relative to its folder (PS3.10 8, PS3.3 F.3)."""
        if instance.path is None:
            raise UnreadableError(f"{instance.source}: a DICOMDIR holds no images", hint="give its path or its folder")
        folder = instance.path.parent
        index = 0
        while record := dicom.item(parsed.dataset, "DirectoryRecordSequence", index):
            index += 1
            name = dicom.text(record, "ReferencedFileID")
            if name is None:
                continue
            source = str(folder / Path(*name.split("\\")))
            with self._listed(source):
                self._file(_referenced(folder, name), root, explicit=False)


def _real(path: Path) -> Path:
    """The path without links. `Path.resolve` raises on a link to itself, `realpath` does not."""
    return Path(os.path.realpath(path))


def _referenced(folder: Path, name: str) -> Path:
    """The file of a Referenced File ID: components are parted by backslashes (PS3.3 F.3.2.2)."""
    path = folder.joinpath(*name.split("\\"))
    outside = bounds.is_unsafe_name(name) or "/" in name or not _real(path).is_relative_to(_real(folder))
    if outside:
        raise UnsafePathError(
            f"{path}: the DICOMDIR in {folder} names a file outside its folder", hint="give the files themselves"
        )
    return path
