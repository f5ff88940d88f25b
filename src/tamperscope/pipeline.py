"""scan(): the only place that knows the order of the stages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from os import PathLike
from pathlib import Path

import tamperscope
from tamperscope import detectors, report, study, verdict
from tamperscope.calibrate import calibrated
from tamperscope.decode import decode
from tamperscope.detectors import Detector, provenance
from tamperscope.detectors.provenance import Trust
from tamperscope.errors import InputError, UnreadableError, UsageError
from tamperscope.records import (
    Evidence,
    Failure,
    ModelInfo,
    Provenance,
    Report,
    Series,
    SeriesResult,
    SliceScore,
    Study,
    StudyResult,
    Volume,
)
from tamperscope.report import dicom as objects
from tamperscope.study import DEFAULT_LIMITS, Limits
from tamperscope.verdict import Policy
from tamperscope.weights import Card

Source = str | PathLike[str] | bytes
Trusted = str | PathLike[str]
"""A PEM file of certificates, or a folder of such files."""
Tick = Callable[[str, int, int], None]
"""Called with what is being scanned, slices done and slices in all."""


def scan(
    source: Source | Iterable[Source],
    *,
    out: str | PathLike[str] | None = None,
    write_heatmaps: bool = False,
    keep_heatmaps: bool = True,
    modality: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    policy: Policy | None = None,
    cards: Iterable[Card] | None = None,
    threads: int | None = None,
    tick: Tick | None = None,
    dicom_out: str | PathLike[str] | None = None,
    dicom_kinds: Sequence[str] = objects.DEFAULT_KINDS,
    when: datetime | None = None,
    pdf: bool = False,
    sign_key: str | PathLike[str] | None = None,
    sign_password: str | None = None,
    sign_certificate: str | PathLike[str] | None = None,
    decoded: Callable[[Volume], None] | None = None,
    judged: Callable[[Volume, SeriesResult], None] | None = None,
    trust: Trusted | Iterable[Trusted] | None = None,
) -> Report:
    """Read, judge and report everything below the given paths, or in the given bytes. Nothing of the input changes.

    Args:
        source: A file, folder, zip or DICOMDIR, bytes, or several of them.
        out: A folder for ``report.json``, ``.csv``, ``.html`` and a PNG a series; nothing is written if None.
            What an earlier scan left there stays.
        write_heatmaps: Write ``NAME.nii.gz`` a series into ``out`` too.
        keep_heatmaps: Keep heat maps in the records; False bounds memory when many series are scanned.
        modality: What NIfTI files and pictures are, which do not say so themselves, for example "CT".
        limits: What one input may ask for.
        policy: Borders between the answers; 1 and 10 false alarms in 100 authentic series if None.
        cards: The models to use; the first that is made for a series' modality decides. Those of
            `detectors.default_cards` if None.
        threads: Threads of a network; all available cores if None.
        tick: Told of progress, if given.
        dicom_out: A folder for the answer as DICOM objects, ``NAME.KIND.dcm`` a series; none are written if None.
        dicom_kinds: Which of `report.dicom.KINDS` to write there.
        when: What those objects say of their making; now if None. Page and PDF bear this date, and none if None.
        pdf: Write ``report.pdf`` into ``out`` too.
        sign_key: A private key (PEM) to sign all that was written below ``out`` with: ``report.sha256`` and ``.sig``.
        sign_password: What that key is encrypted with.
        sign_certificate: Its certificate chain (PEM): each PNG gets Content Credentials (C2PA) with it.
        decoded: Shown the pixels of each series before it is judged, if given; must not change them.
        judged: Shown them again with what was found, heat map included.
        trust: Certificates, as PEM files or folders, whose signatures vouch for a file; nobody's if None.

    Returns:
        The report. Input that cannot be used is listed in it and raises nothing; a series of which a DICOM object
        could not be made says so in its findings.

    Raises:
        UsageError: ``out`` or ``dicom_out`` cannot be written, there is no such kind, ``pdf`` or ``sign_key`` is given
            without ``out``, ``sign_certificate`` without ``sign_key``, key or certificate cannot be used, or ``trust``
            holds no certificate.
        MissingExtraError: ``dicom_out`` is given, and highdicom is not installed; ``pdf``, ``sign_key`` or
            ``sign_certificate`` is, and reportlab, cryptography or c2pa-python is not.
        WeightsError: a model is missing or not the one that its Card promises.
    """
    scanner = _Scanner(
        tuple(cards) if cards is not None else detectors.default_cards(),
        policy or Policy(),
        limits,
        modality,
        threads,
        tick,
        None if out is None else Path(out),
        write_heatmaps,
        keep_heatmaps,
        None if dicom_out is None else _Delivery(Path(dicom_out), tuple(dicom_kinds), when or datetime.now()),
        decoded,
        judged,
        _papers(out, pdf, when, sign_key, sign_password, sign_certificate),
        provenance.trust.load(trust),
    )
    return scanner.scan(source)


@dataclass(frozen=True, slots=True)
class _Delivery:
    """Where the DICOM objects go, which, and what they say of their making."""

    folder: Path
    kinds: tuple[str, ...]
    when: datetime


@dataclass(frozen=True, slots=True)
class _Papers:
    """How the report is printed and who signs it."""

    pdf: bool
    made: datetime | None
    signer: report.signature.Signer | None
    credentials: report.credentials.Credentials | None


def _papers(
    out: str | PathLike[str] | None,
    pdf: bool,
    made: datetime | None,
    key: str | PathLike[str] | None,
    password: str | None,
    certificate: str | PathLike[str] | None,
) -> _Papers:
    """Find what is missing to print and sign before the long scan.

    Raises:
        UsageError: there is no folder to write to, or the key cannot be used.
        MissingExtraError: a library is not installed.
    """
    if out is None and (pdf or key is not None):
        raise UsageError("PDF and signature are files, and there is no folder for them", hint="say with out where to")
    if certificate is not None and key is None:
        raise UsageError("a certificate signs nothing without its key", hint="give the key too")
    if pdf:
        report.pdf.installed()
    if key is None:
        return _Papers(pdf, made, None, None)
    signer = report.signature.private_key(Path(key), password)
    chain = None if certificate is None else report.credentials.load(Path(certificate), signer)
    return _Papers(pdf, made, signer, chain)


@dataclass(slots=True)
class _Scanner:
    """One scan: its settings, and what it has gathered so far."""

    cards: tuple[Card, ...]
    policy: Policy
    limits: Limits
    modality: str | None
    threads: int | None
    tick: Tick | None
    out: Path | None
    write_heatmaps: bool
    keep_heatmaps: bool
    delivery: _Delivery | None
    decoded: Callable[[Volume], None] | None
    judged: Callable[[Volume, SeriesResult], None] | None
    papers: _Papers
    trusted: Trust
    failed: list[Failure] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)
    heatmaps: list[str] = field(default_factory=list)
    objects: list[Path] = field(default_factory=list)

    def scan(self, source: Source | Iterable[Source]) -> Report:
        if self.out is not None:
            report.prepare(self.out)
        if self.delivery is not None:
            objects.check(self.delivery.kinds)
            report.prepare(self.delivery.folder)
        reading = study.read(source, self.limits)
        self.failed += reading.failed
        names = _Names()
        tools = [(card, detectors.from_card(card, self.threads, self._tick)) for card in self.cards]
        kin = provenance.Kin.of(reading.studies)
        studies = []
        for one in reading.studies:
            results = [self._series(series, kin, tools, names.fresh(one, series)) for series in one.series]
            found = tuple(result for result in results if result is not None)
            if found:
                studies.append(StudyResult(one.source, one.study_uid, found))
        models = tuple(ModelInfo(card.name, card.sha256) for card in self.cards)
        answer = Report(tuple(studies), tuple(self.failed), reading.skipped, models, tamperscope.__version__)
        if self.out is not None:
            self._write(answer, self.out)
        return answer

    def _write(self, answer: Report, out: Path) -> None:
        """Write what is about all series, and sign what was written below ``out``."""
        signer = self.papers.signer
        paths = report.write(
            answer,
            out,
            pictures=self.pictures,
            heatmaps=self.heatmaps,
            cards=self.cards,
            as_pdf=self.papers.pdf,
            made=self.papers.made,
            signer=signer,
        )
        if signer is None:
            return
        paths += [out / f"{name}.png" for name in self.pictures]
        paths += [out / f"{name}{report.nifti.SUFFIX}" for name in self.heatmaps]
        root = out.resolve()
        below = (path.resolve() for path in self.objects)
        paths += [out / path.relative_to(root) for path in below if path.is_relative_to(root)]
        report.signature.write(out, paths, signer)

    def _tick(self, done: int, total: int) -> None:
        if self.tick is not None:
            self.tick("slices", done, total)

    def _series(
        self, series: Series, kin: provenance.Kin, tools: list[tuple[Card, Detector]], name: str
    ) -> SeriesResult | None:
        """Judge one series and write its files; what is wrong with it is listed and does not stop the others."""
        try:
            volume = self._decoded(series)
            if self.decoded is not None:
                self.decoded(volume)
            asked = [tool for tool in tools if tool[0].input.takes(volume.modality)] or tools
            origin = provenance.examine(series, volume, self.limits, self.trusted, kin.to(series))
            result = replace(self._judge(volume, asked, name, origin), file_digests=_file_digests(series, volume))
            if self.delivery is not None:
                result = self._delivered(self.delivery, series, volume, result, [card for card, _ in asked])
            if self.out is not None:
                self.pictures[name] = report.write_series(
                    volume, result, self.out, heatmap=self.write_heatmaps, credentials=self.papers.credentials
                )
                self.heatmaps += [name] if self.write_heatmaps and result.heatmap is not None else []
            if self.judged is not None:
                self.judged(volume, result)
        except InputError as error:
            self.failed.append(Failure(_source_of(series), error.message, error.hint))
            return None
        except MemoryError:
            hint = "close other programs, lower --max-pixels, or scan on a larger machine"
            self.failed.append(Failure(_source_of(series), "out of memory", hint))
            return None
        return result if self.keep_heatmaps else replace(result, heatmap=None)

    def _decoded(self, series: Series) -> Volume:
        try:
            volume = decode(series, self.limits)
        except UnreadableError:
            volume = decode(self._sound(series), self.limits)
        states_none = series.format != "dicom"
        return replace(volume, modality=self.modality.upper()) if self.modality and states_none else volume

    def _sound(self, series: Series) -> Series:
        """The series without the instances that cannot be decoded, each of which is listed as failed.

        Raises:
            UnreadableError: none is left.
        """
        sound, damaged = [], []
        for instance in series.instances:
            try:
                decode(replace(series, instances=(instance,)), self.limits)
                sound.append(instance)
            except UnreadableError as error:
                damaged.append((instance, error))
        if not sound:
            raise damaged[0][1]
        self.failed += [Failure(instance.source, error.message, error.hint) for instance, error in damaged]
        finding = f"slices left out because they cannot be decoded: {len(damaged)}"
        return replace(series, instances=tuple(sound), findings=(*series.findings, finding))

    def _delivered(
        self, delivery: _Delivery, series: Series, volume: Volume, result: SeriesResult, models: list[Card]
    ) -> SeriesResult:
        """Write the DICOM objects of a series. What cannot be made of it becomes a finding; its verdict stands."""
        try:
            made = objects.render(series, volume, result, models, delivery.kinds, self.limits, when=delivery.when)
        except InputError as error:
            return replace(result, findings=(*result.findings, f"{objects.LEFT_OUT}: all ({error.message})"))
        self.objects += objects.write(made, delivery.folder, result.name)
        return replace(result, findings=(*result.findings, *made.findings))

    def _judge(self, volume: Volume, asked: list[tuple[Card, Detector]], name: str, origin: Provenance) -> SeriesResult:
        """By the models ``asked``: those for such pictures, the first of which decides, or all, which say why not.

        Only the deciding detector keeps its heat map, which takes as much memory as the volume.
        """
        evidence: list[Evidence] = []
        for card, detector in asked:
            found = detector.detect(volume)
            evidence.append(calibrated(replace(found, heatmap=None) if evidence else found, card.calibration))
        deciding = asked[0][0].calibration if asked else None
        answer = verdict.decide(volume, evidence, deciding, self.policy)
        first = evidence[0] if evidence else Evidence("none", None)
        return SeriesResult(
            series_uid=volume.series_uid,
            modality=volume.modality,
            files=tuple(dict.fromkeys(volume.sources)),
            shape=volume.shape,
            spacing_mm=None if volume.geometry == "none" else volume.spacing_mm,
            verdict=answer.label,
            probability=answer.probability,
            operating_point=answer.operating_point,
            slices=_slices(volume, first),
            regions=answer.regions,
            evidence=tuple(replace(one, heatmap=None) for one in evidence),
            provenance=origin,
            reasons=answer.reasons,
            heatmap=first.heatmap,
            digest=volume.digest,
            findings=volume.findings,
            name=name,
        )


def _slices(volume: Volume, evidence: Evidence) -> tuple[SliceScore, ...]:
    if evidence.probability is None:
        return ()
    rows = zip(volume.sources, volume.sop_instance_uids, evidence.slice_scores, strict=True)
    return tuple(SliceScore(index, file, uid, score) for index, (file, uid, score) in enumerate(rows))


def _file_digests(series: Series, volume: Volume) -> tuple[str, ...]:
    """SHA-256 of each file that the volume was read from, in the order of `SeriesResult.files`."""
    digests = {instance.source: instance.sha256 for instance in series.instances}
    return tuple(digests[source] for source in dict.fromkeys(volume.sources))


def _source_of(series: Series) -> str:
    first = series.instances[0].source
    more = len(series.instances) - 1
    return f"{first} (and {more} more of its series)" if more else first


class _Names:
    """Stems for the files of each series: from the name of the input, safe, and unique in the report."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def fresh(self, one: Study, series: Series) -> str:
        source = series.instances[0].source if len(one.series) == 1 and series.format != "dicom" else one.source
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(source.split("!")[-1]).name).strip("-.")[:60] or "series"
        stem = re.sub(r"\.(dcm|nii|nii\.gz|png|jpe?g|tiff?|zip)$", "", stem, flags=re.IGNORECASE) or "series"
        number, name = 1, stem
        while name.lower() in self._taken:
            number += 1
            name = f"{stem}-{number}"
        self._taken.add(name.lower())
        return name
