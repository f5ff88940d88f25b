"""Series to Volume: transfer syntax, rescale, affine. Decoding never resamples.

One decoder is named for each transfer syntax, so that the same file gives the same voxels everywhere. A codestream
says its own size; it is compared with the header before a decoder sees it, and a decoder that complains ends the
series: damage must not look like tampering.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from io import BytesIO
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder

from tamperscope import geometry
from tamperscope.errors import LimitError, TamperscopeError, UnreadableError, UnsupportedError
from tamperscope.formats import codestream, colour, dicom, nifti, pictures
from tamperscope.formats.dicom import Parsed, PixelElement, integer, text, value
from tamperscope.geometry import Plane
from tamperscope.limits import check_size
from tamperscope.records import JSON, FloatArray, Instance, Series, Volume, voxel_digest
from tamperscope.study import DEFAULT_LIMITS, Limits, payload, payloads

Array: TypeAlias = NDArray[Any]

DECODERS: dict[str, tuple[str, str]] = {
    uid.JPEGBaseline8Bit: ("pillow", "pillow"),
    uid.JPEGExtended12Bit: ("pillow", "pillow"),
    uid.JPEGLossless: ("gdcm", "python-gdcm"),
    uid.JPEGLosslessSV1: ("gdcm", "python-gdcm"),
    uid.JPEGLSLossless: ("pyjpegls", "pyjpegls"),
    uid.JPEGLSNearLossless: ("pyjpegls", "pyjpegls"),
    uid.JPEG2000Lossless: ("pylibjpeg", "pylibjpeg-openjpeg"),
    uid.JPEG2000: ("pylibjpeg", "pylibjpeg-openjpeg"),
    uid.HTJ2KLossless: ("pylibjpeg", "pylibjpeg-openjpeg"),
    uid.HTJ2KLosslessRPCL: ("pylibjpeg", "pylibjpeg-openjpeg"),
    uid.HTJ2K: ("pylibjpeg", "pylibjpeg-openjpeg"),
    uid.RLELossless: ("pylibjpeg", "pylibjpeg-rle"),
}
"""Transfer syntax to pydicom's plugin and the package behind it."""
NATIVE = ("", "pydicom")
MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
COLOUR_RELABELLED = "The (0028,0004) 'Photometric Interpretation' value is"
FLOAT_DTYPES = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}


def decode(series: Series, limits: Limits = DEFAULT_LIMITS) -> Volume:
    """Decode all slices of a series onto its own grid.

    Args:
        series: as `study.read` gives it; its files are read again and must not have changed.
        limits: what the series may ask for.

    Returns:
        float32 (D, H, W), or (D, H, W, 3) RGB for colour: Hounsfield units for CT (stored x slope + intercept,
        PS3.3 C.11.1.1.2), else values as stored; MONOCHROME1 is not inverted.

    Raises:
        UnreadableError: a file is damaged, cut short, gone or changed; the message names it.
        UnsupportedError: no installed codec takes the transfer syntax, or the colour model is not read.
        LimitError: more samples than ``max_pixels``, or not enough memory.
    """
    if not series.instances:
        raise UnreadableError("the series holds no images", hint="read it again")
    name = series.instances[0].source
    # Not thread-safe, as all of Python's warning filters: decode in processes, not in threads.
    with warnings.catch_warnings(), _mapped(name):
        warnings.simplefilter("ignore")
        if series.format == "dicom":
            volume = _dicom(series, limits)
        else:
            volume = (_nifti if series.format == "nifti" else _picture)(series, limits)
        return _finished(volume)


@contextmanager
def _mapped(source: str) -> Iterator[None]:
    """Exceptions of codecs become ours. A Rust codec panics with a BaseException that is no Exception."""
    try:
        yield
    except (TamperscopeError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except MemoryError as error:
        raise LimitError(f"{source}: needs more memory than there is", hint="scan it on a larger machine") from error
    except BaseException as error:
        raise UnreadableError(
            f"{source}: the pixel data cannot be decoded ({type(error).__name__})", hint="fetch the file again"
        ) from error


def _finished(volume: Volume) -> Volume:
    """Make the voxels finite, and take their digest."""
    voxels, findings = volume.voxels, volume.findings
    lost = 0
    for plane in voxels:
        finite = np.isfinite(plane)
        if not finite.all():
            lost += int(plane.size - finite.sum())
            plane[~finite] = plane[finite].min() if finite.any() else 0.0
    if lost:
        findings = (*findings, f"voxels that were not finite: {lost}; each has the lowest value of its slice")
    return replace(volume, findings=findings, digest=voxel_digest(voxels))


def _picture(series: Series, limits: Limits) -> Volume:
    instance = series.instances[0]
    picture = pictures.load(payload(instance, limits), instance.source, limits)
    return Volume(
        picture.voxels,
        np.eye(4),
        series.modality,
        "picture",
        "none",
        bits_stored=picture.bits,
        photometric="RGB" if picture.voxels.ndim == 4 else "MONOCHROME2",
        header=series.header,
        sources=(instance.source,) * len(picture.voxels),
        sop_instance_uids=(None,) * len(picture.voxels),
        frames=tuple(range(1, len(picture.voxels) + 1)),
        findings=(*series.findings, *picture.findings),
        decoders=(_named("pillow"),),
    )


def _nifti(series: Series, limits: Limits) -> Volume:
    instance = series.instances[0]
    grid = nifti.load(payload(instance, limits), instance.source, limits)
    header: dict[str, JSON] = dict(series.header)
    if grid.voxels.min() <= -900 and all(bool(np.all(plane == np.rint(plane))) for plane in grid.voxels):
        header["looks_like_hounsfield"] = True
    return Volume(
        grid.voxels,
        grid.affine,
        series.modality,
        "nifti",
        grid.geometry,
        bits_stored=grid.bits,
        header=header,
        sources=(instance.source,) * len(grid.voxels),
        sop_instance_uids=(None,) * len(grid.voxels),
        frames=tuple(range(1, len(grid.voxels) + 1)),
        findings=(*series.findings, *grid.findings),
        decoders=(_named("nibabel"),),
    )


def _named(package: str) -> str:
    return f"{package} {version(package)}"


@dataclass(slots=True)
class _Stack:
    """The volume while it is filled, object by object."""

    voxels: FloatArray
    rescaled: bool
    planes: list[Plane] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    uids: list[str | None] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)


def _dicom(series: Series, limits: Limits) -> Volume:
    stack: _Stack | None = None
    first: Parsed | None = None
    for instance, data in zip(series.instances, payloads(series.instances, limits), strict=True):
        with _mapped(instance.source):
            parsed = dicom.parse(data, instance.source, limits)
            pixels = dicom.check_pixels(parsed, limits)
            if stack is None or first is None:
                first = parsed
                stack = _allocated(series, parsed, limits)
            elif _grid(parsed) != _grid(first):
                raise UnreadableError(
                    f"{instance.source}: {_grid(parsed)} does not fit the series' {_grid(first)}",
                    hint="read the series again",
                )
            _fill(stack, parsed, pixels, instance)
    if stack is None or first is None or len(stack.planes) != len(stack.voxels):
        raise UnreadableError(f"{series.instances[0].source}: frames are missing", hint="read the series again")
    return _volume(series, first.dataset, stack)


def _grid(parsed: Parsed) -> tuple[int, int, int, str]:
    """(rows, columns, samples, "grey" or "colour")."""
    _, rows, columns, samples = parsed.shape
    return rows, columns, samples, "colour" if colour.is_colour(parsed) else "grey"


def _allocated(series: Series, parsed: Parsed, limits: Limits) -> _Stack:
    _, rows, columns, _ = parsed.shape
    depth = sum(instance.frames for instance in series.instances)
    in_colour = colour.is_colour(parsed)
    shape = (depth, rows, columns, 3) if in_colour else (depth, rows, columns)
    check_size(parsed.source, shape, limits)
    return _Stack(np.empty(shape, dtype=np.float32), rescaled=series.modality == "CT" and not in_colour)


def _fill(stack: _Stack, parsed: Parsed, pixels: PixelElement, instance: Instance) -> None:
    """Decode the frames of one object into the next slices, sorted along their normal."""
    start, number = len(stack.planes), parsed.shape[0]
    if number != instance.frames:
        raise UnreadableError(
            f"{parsed.source}: {number} frames, {instance.frames} when it was read", hint="read the series again"
        )
    planes = [geometry.plane(parsed.dataset, index) for index in range(number)]
    order = geometry.order(planes)
    slots = np.argsort(order)
    filled = 0
    for slot, plane, (frame, photometric) in zip(slots, planes, _frames(parsed, pixels, stack), strict=False):
        target = stack.voxels[start + int(slot)]
        if stack.voxels.ndim == 4:
            target[...] = colour.to_rgb(frame, photometric, parsed)
        elif stack.rescaled and (plane.slope, plane.intercept) != (1.0, 0.0):
            target[...] = frame * plane.slope + plane.intercept
        else:
            target[...] = frame
        filled += 1
    if filled != number:
        raise UnreadableError(
            f"{parsed.source}: {number} frames declared, {filled} are there", hint="fetch the file again"
        )
    stack.planes.extend(planes[int(index)] for index in order)
    stack.sources.extend([parsed.source] * number)
    stack.uids.extend([instance.sop_instance_uid] * number)
    stack.frames.extend(int(index) + 1 for index in order)


def _frames(parsed: Parsed, pixels: PixelElement, stack: _Stack) -> Iterator[tuple[Array, str]]:
    """Each frame (H, W) or (H, W, 3) as stored, with the colour model that its samples are in."""
    decoder, package = DECODERS.get(parsed.transfer_syntax, NATIVE)
    if pixels.length == dicom.UNDEFINED and not decoder:
        raise UnsupportedError(
            f"{parsed.source}: no codec for {parsed.transfer_syntax.name} ({parsed.transfer_syntax})",
            hint="export the series as explicit VR little endian",
        )
    if package not in stack.packages:
        stack.packages.append(package)
    if decoder:
        yield from _compressed_frames(parsed, pixels, decoder, stack)
    else:
        yield from _native_frames(parsed, pixels)


def _native_frames(parsed: Parsed, pixels: PixelElement) -> Iterator[tuple[Array, str]]:
    engine = get_decoder(_native_syntax(parsed))
    options, shift = _options(parsed, pixels)
    stored = memoryview(parsed.data)[pixels.offset : pixels.offset + pixels.length]
    for index in range(parsed.shape[0]):
        if options["bits_allocated"] == 1:
            yield _one_bit(stored, index, parsed), options["photometric_interpretation"]
            continue
        # Our own length check stands in for pydicom's, which warns of harmless padding.
        frame, facts = engine.as_array(stored, index=index, raw=True, validate=False, **options)
        yield frame >> shift if shift else frame, str(facts["photometric_interpretation"])


def _one_bit(stored: memoryview, index: int, parsed: Parsed) -> Array:
    """A frame of packed bits, lowest first; frames are not padded to bytes (PS3.5 8.1.1)."""
    _, rows, columns, samples = parsed.shape
    first = index * rows * columns * samples
    last = first + rows * columns * samples
    octets = np.frombuffer(stored[first // 8 : -(-last // 8)], dtype=np.uint8)
    bits = np.unpackbits(octets, bitorder="little")[first % 8 :][: last - first]
    return bits.reshape((rows, columns) if samples == 1 else (rows, columns, samples))


def _native_syntax(parsed: Parsed) -> uid.UID:
    """A deflated object was inflated before: its pixels are explicit VR little endian."""
    if parsed.transfer_syntax == uid.DeflatedExplicitVRLittleEndian:
        return uid.ExplicitVRLittleEndian
    return parsed.transfer_syntax


def _options(parsed: Parsed, pixels: PixelElement) -> tuple[dict[str, Any], int]:
    """Image Pixel attributes for pydicom's decoders, and how far samples must be shifted down.

    Samples whose High Bit is not Bits Stored - 1 (retired, PS3.5 8.1.1) are decoded with the bits below them.
    """
    dataset = parsed.dataset
    number, rows, columns, samples = parsed.shape
    allocated = FLOAT_DTYPES.get(pixels.keyword) or integer(dataset, "BitsAllocated") or 0
    stored = integer(dataset, "BitsStored") or allocated
    high = integer(dataset, "HighBit")
    top = stored if high is None else high + 1
    if not 1 <= stored <= top <= allocated:
        top = stored
    if not 1 <= stored <= allocated <= 64:
        raise UnreadableError(
            f"{parsed.source}: {stored} bits stored in {allocated} bits allocated", hint="fetch the file again"
        )
    options: dict[str, Any] = {
        "rows": rows,
        "columns": columns,
        "samples_per_pixel": samples,
        "number_of_frames": number,
        "bits_allocated": allocated,
        "bits_stored": top,
        "pixel_representation": integer(dataset, "PixelRepresentation") or 0,
        "photometric_interpretation": text(dataset, "PhotometricInterpretation") or "MONOCHROME2",
        "pixel_keyword": pixels.keyword,
        "pixel_vr": pixels.vr or "OW",
    }
    if samples > 1:
        options["planar_configuration"] = integer(dataset, "PlanarConfiguration") or 0
    return options, top - stored


def _compressed_frames(parsed: Parsed, pixels: PixelElement, plugin: str, stack: _Stack) -> Iterator[tuple[Array, str]]:
    engine = get_decoder(parsed.transfer_syntax)
    options, _ = _options(parsed, pixels)
    options["bits_stored"] = integer(parsed.dataset, "BitsStored") or options["bits_allocated"]
    options["number_of_frames"] = 1
    for index, stream in enumerate(_codestreams(parsed, pixels)):
        if index == parsed.shape[0]:
            stack.findings.append(f"{parsed.source}: holds more frames than it declares; they are left out")
            return
        facts = codestream.check(stream, parsed)
        with warnings.catch_warnings(record=True) as complaints:
            warnings.simplefilter("always")
            frame, props = engine.as_array(
                encapsulate([stream], has_bot=False), index=0, raw=True, decoding_plugin=plugin, **options
            )
        _heed(complaints, parsed.source, stack)
        # Pillow converts a stream with Adobe's transform flag itself, which pydicom does not notice.
        photometric = (
            "RGB" if facts.adobe_transform == 1 and plugin == "pillow" else props["photometric_interpretation"]
        )
        yield frame, str(photometric)


def _codestreams(parsed: Parsed, pixels: PixelElement) -> Iterator[bytes]:
    stream = BytesIO(parsed.data)
    stream.seek(pixels.offset)
    offsets, lengths = (value(parsed.dataset, name) for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"))
    extended = (offsets, lengths) if isinstance(offsets, bytes) and isinstance(lengths, bytes) else None
    yield from generate_frames(stream, number_of_frames=parsed.shape[0], extended_offsets=extended)


def _heed(complaints: list[warnings.WarningMessage], source: str, stack: _Stack) -> None:
    """A decoder's warning is an error, except that a stream knows its colour model better than the header."""
    for complaint in complaints:
        words = str(complaint.message)
        if not words.startswith(COLOUR_RELABELLED):
            raise UnreadableError(f"{source}: corrupt codestream: {words}", hint="fetch the file again")
        finding = "the codestream states another colour model than the header"
        if finding not in stack.findings:
            stack.findings.append(finding)


def _volume(series: Series, dataset: Dataset, stack: _Stack) -> Volume:
    affine, kind, findings = geometry.affine(stack.planes)
    if len(series.instances) == 1:
        findings += geometry.frame_findings(stack.planes)
    return Volume(
        stack.voxels,
        affine,
        series.modality,
        "dicom",
        kind,
        bits_stored=colour.bits(dataset),
        photometric="RGB" if stack.voxels.ndim == 4 else text(dataset, "PhotometricInterpretation") or "MONOCHROME2",
        padding=_padding(dataset, stack.planes[0], rescaled=stack.rescaled),
        header=series.header,
        series_uid=series.series_uid,
        study_uid=series.study_uid,
        sources=tuple(stack.sources),
        sop_instance_uids=tuple(stack.uids),
        frames=tuple(stack.frames),
        findings=(*series.findings, *findings, *_value_findings(dataset, stack), *stack.findings),
        decoders=tuple(_named(package) for package in stack.packages),
    )


def _value_findings(dataset: Dataset, stack: _Stack) -> list[str]:
    findings = []
    if "ModalityLUTSequence" in dataset:
        findings.append("the Modality LUT is not applied; voxels are stored values")
    if stack.rescaled and any(not plane.rescaled for plane in stack.planes):
        findings.append("slices without Rescale Slope and Intercept; their voxels are stored values")
    return findings


def _padding(dataset: Dataset, plane: Plane, *, rescaled: bool) -> float | None:
    """Pixel Padding Value after rescale. It is often written with the other sign than its VR allows."""
    raw = value(dataset, "PixelPaddingValue")
    stored = int.from_bytes(raw[:2], "little") if isinstance(raw, bytes) else integer(dataset, "PixelPaddingValue")
    if stored is None:
        return None
    signed = integer(dataset, "PixelRepresentation") == 1
    span = 2 ** (integer(dataset, "BitsAllocated") or 16)
    if signed and stored >= span // 2:
        stored -= span
    elif not signed and stored < 0:
        stored += span
    return stored * plane.slope + plane.intercept if rescaled else float(stored)
