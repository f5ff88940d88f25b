"""The pages of the PDF in their order. Imported where a PDF is made and nowhere else, since it needs reportlab."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from reportlab.lib.units import mm
from reportlab.platypus import CondPageBreak, Flowable, KeepInFrame, KeepTogether, PageBreak, PageBreakIfNotEmpty

from tamperscope.records import Region, Report, SeriesResult
from tamperscope.weights import Card

from . import chapters, words
from .chapters import Entry, Imprint, Row
from .paper import HEIGHT, WIDTH, Badge, Heading, bullets, command, gap, picture, printed, table, text

FIRST_PAGE = 8
"""Most series in the table of the first page."""
SHOWN = 12
"""Most series with a picture and a table of places: the most suspicious ones."""
REGIONS = 20
"""Most places of a series."""
LISTED = 60
"""Most rows of findings, failures and skipped objects."""
REST = "report.json lists all of them."


def whole(report: Report, pictures: Mapping[str, bytes], cards: Sequence[Card], imprint: Imprint) -> bytes:
    """See `pdf.render`."""
    parts = [
        _conclusion(report, imprint),
        _every_series(report),
        _series(report, pictures),
        _left_out(report),
        _method(),
        _models(report, cards),
        _provenance(report),
        _digests(report, imprint),
        _verifying(report, imprint),
    ]
    return printed(
        [block for part in parts for block in part],
        title=f"{chapters.TITLE} Report {imprint.short}",
        head=f"tamperscope report {imprint.short}",
        subject=chapters.answer(report),
        creator=f"tamperscope {report.version}",
        made=imprint.made,
    )


def batch(rows: Sequence[Row], title: str, made: datetime | None) -> bytes:
    """See `pdf.batch`."""
    counts: Counter[str] = Counter(row.verdict for row in rows)
    totals = ", ".join(f"{label.lower()} {counts[verdict]}" for verdict, label in chapters.LABELS.items())
    cells = [
        (
            (picture(row.thumbnail, 24 * mm, 24 * mm) if row.thumbnail else None) or "",
            row.label,
            row.modality,
            Badge(chapters.LABELS[row.verdict], row.verdict),
            words.probability(row.probability),
            row.made.strftime("%Y-%m-%d %H:%M") if row.made else "",
        )
        for row in rows
    ]
    date = f"{made.strftime('%Y-%m-%d %H:%M %Z').strip()}. " if made else ""
    return printed(
        [
            text(title, "title"),
            text(f"{date}{len(rows)} {'study' if len(rows) == 1 else 'studies'}: {totals}. {words.NO_PROOF}"),
            gap(2),
            table(("", "Study", "Modality", "Verdict", "Probability", "Judged"), cells, (16, 32, 10, 17, 12, 16)),
        ],
        title=title,
        head="tamperscope: list of studies",
        subject=f"{len(rows)} studies: {totals}",
        creator="tamperscope",
        made=made,
    )


def _conclusion(report: Report, imprint: Imprint) -> list[Flowable]:
    """The first page, which is shrunk before it would run over."""
    made = f" Made on {imprint.date}." if imprint.made else ""
    signed = "" if imprint.fingerprint else " Not signed."
    blocks: list[Flowable] = [
        Heading(chapters.TITLE, 0, "conclusion"),
        text(f"Report {imprint.short} of tamperscope {words.visible(report.version)[:40]}.{made}{signed}", "small"),
        gap(2),
        text(chapters.answer(report), "lead"),
        gap(2),
        text(chapters.examined(report), longest=600),
    ]
    ranked = chapters.ranked(report)
    if ranked:
        blocks += [gap(1), _answers(ranked[:FIRST_PAGE], 90)]
    if len(ranked) > FIRST_PAGE:
        blocks.append(
            text(f"The {FIRST_PAGE} most suspicious of {len(ranked)} series; the next page lists all.", "small")
        )
    numbers = [*chapters.rates(report)[:4], chapters.rarely(report), chapters.unjudged(report)]
    blocks += [_part("What the probability means"), *bullets([line for line in numbers if line])] if ranked else []
    blocks += [_part("What follows from it"), *bullets(chapters.follows(report))]
    blocks += [_part("What does not follow"), *bullets(chapters.limits(report))]
    blocks += [text(chapters.origins(report))] if ranked else []
    return [KeepInFrame(WIDTH, HEIGHT - 2 * mm, blocks, mode="shrink"), PageBreak()]


def _part(title: str) -> Flowable:
    return text(title, "h2")


def _answers(entries: Iterable[Entry], longest: int) -> Flowable:
    """A row a series: which, what was found, how probable."""
    rows = [
        (
            str(entry.number),
            chapters.clipped(entry.study.source, longest),
            entry.result.modality[:16],
            Badge(chapters.LABELS[entry.result.verdict], entry.result.verdict),
            chapters.clipped(words.headline(entry.result), 130),
            words.probability(entry.result.probability),
        )
        for entry in entries
    ]
    return table(("No.", "Series of", "Kind", "Verdict", "Finding", "Probability"), rows, (7, 30, 9, 19, 36, 15))


def _every_series(report: Report) -> list[Flowable]:
    entries = chapters.entries(report)
    if len(entries) <= FIRST_PAGE:
        return []
    return [Heading("All series", 0, "series"), _answers(entries, 160), PageBreakIfNotEmpty()]


def _series(report: Report, pictures: Mapping[str, bytes]) -> list[Flowable]:
    """Picture, words and places of the most suspicious series."""
    ranked = chapters.ranked(report)
    if not ranked:
        return []
    blocks: list[Flowable] = [Heading("What was seen", 0, "pictures")]
    if len(ranked) > SHOWN:
        blocks.append(text(f"The {SHOWN} most suspicious of {len(ranked)} series; report.html shows all."))
    for at, entry in enumerate(ranked[:SHOWN]):
        blocks += [CondPageBreak(80 * mm)] if at else []
        blocks += _one(entry, pictures.get(entry.result.name))
    return blocks


def _one(entry: Entry, data: bytes | None) -> list[Flowable]:
    result = entry.result
    shown = picture(data, WIDTH, HEIGHT * 0.56) if data else None
    size = " × ".join(str(n) for n in result.shape)
    head: list[Flowable] = [
        Heading(f"Series {entry.number}: {chapters.clipped(words.headline(result), 110)}", 1, f"series-{entry.number}"),
        text(f"{entry.study.source}", "small"),
        text(f"{result.modality}, {size} (slices, rows, columns), {words.millimetres(result)}", "small"),
        text(words.meaning(result), longest=600),
    ]
    if result.reasons:
        head += bullets(result.reasons[:6])
    head.append(shown if shown is not None else text("There is no picture of this series.", "small"))
    blocks: list[Flowable] = [KeepTogether(head), gap(1)]
    if result.regions:
        blocks += _places(result)
    if result.findings:
        blocks += [*_titled("Remarks on the files"), *bullets(result.findings[:8])]
    return blocks


def _places(result: SeriesResult) -> list[Flowable]:
    rows = [(str(number), *_place(region, result)) for number, region in enumerate(result.regions[:REGIONS], 1)]
    columns = ("No.", "Slice", "Row", "Column", "x, y, z in mm (LPS)", "Size in mm", "Probability", "File of the slice")
    title = "Altered places" if result.verdict == "suspicious" else "Most striking places"
    more = f" The first {REGIONS} of {len(result.regions)}; {REST}" if len(result.regions) > REGIONS else ""
    return [
        *_titled(title),
        table(columns, rows, (6, 8, 8, 10, 24, 14, 15, 34)),
        text(f"Slices count from 1 in the order of their positions, rows and columns from 0.{more}", "small"),
    ]


def _place(region: Region, result: SeriesResult) -> tuple[str, ...]:
    k, j, i = region.centre_index
    where = ", ".join(f"{v:.5g}" for v in region.centre_mm) if region.centre_mm else "–"
    size = f"{region.diameter_mm:.3g}" if region.diameter_mm is not None else "–"
    file = chapters.clipped(result.slices[k].file, 80) if k < len(result.slices) else "–"
    return str(k + 1), str(j), str(i), where, size, words.probability(region.score), file


def _left_out(report: Report) -> list[Flowable]:
    """What failed and what was skipped."""
    blocks: list[Flowable] = []
    if report.failed:
        failed = [(f.source, f.error, f.hint) for f in report.failed[:LISTED]]
        blocks += _chapter("Inputs that failed", "failed")
        blocks += [table(("File", "What went wrong", "Way out"), failed, (4, 4, 3))]
        blocks += _rest(len(report.failed), LISTED)
    if report.skipped:
        skipped = [(s.source, s.reason) for s in report.skipped[:LISTED]]
        blocks += _chapter("Objects that hold no image", "skipped")
        blocks += [table(("File", "Why it was skipped"), skipped, (1, 1))]
        blocks += _rest(len(report.skipped), LISTED)
    return blocks


def _chapter(title: str, key: str) -> list[Flowable]:
    """A heading that does not stand alone at the foot of a page."""
    return [CondPageBreak(45 * mm), Heading(title, 0, key)]


def _titled(title: str) -> list[Flowable]:
    """The same for a part of a chapter."""
    return [CondPageBreak(30 * mm), text(title, "h2")]


def _rest(number: int, most: int) -> list[Flowable]:
    return [text(f"The first {most} of {number}; {REST}", "small")] if number > most else []


def _method() -> list[Flowable]:
    paragraphs = (text(paragraph, longest=1000) for paragraph in chapters.METHOD)
    return [*_chapter("Method", "method"), *paragraphs]


def _models(report: Report, cards: Sequence[Card]) -> list[Flowable]:
    blocks: list[Flowable] = _chapter("Model and its error rates", "models")
    took_part = chapters.models(report, cards)
    if not took_part:
        blocks.append(text(chapters.NO_CARD))
    for card in took_part:
        facts = chapters.card_facts(card)
        blocks += [
            CondPageBreak(45 * mm),
            Heading(card.name, 1, f"model-{card.name}"),
            table(("What it is", ""), facts, (1, 3)),
            *_table(chapters.error_rates(card)),
            text("Fitted on held-out authentic patients and on forgeries of them.", "small"),
        ]
        for measured in chapters.measured(card):
            blocks += _table(measured)
        blocks.append(text(chapters.GLOSSARY, "small", longest=600))
        if printed_by := chapters.printed_by(card):
            blocks.append(KeepTogether([text("Printed by", "small"), command(printed_by)]))
    return blocks


def _table(content: chapters.Table) -> list[Flowable]:
    shares = (3.4, *(max(1.0, len(column) / 8) for column in content.columns[1:]))
    if not content.rows:
        return []
    return [*_titled(content.title), table(content.columns, content.rows, shares)]


def _provenance(report: Report) -> list[Flowable]:
    blocks: list[Flowable] = _chapter("Provenance", "provenance")
    blocks.append(text(chapters.PROVENANCE))
    states = chapters.states(report)
    if states:
        blocks.append(table(("State", "Series"), states, (3, 1)))
    origins = chapters.provenance(report)
    rows = [
        (
            origin.finding.severity,
            origin.finding.text,
            origin.finding.clause,
            origin.series,
            chapters.some(origin.finding.files),
        )
        for origin in origins[:LISTED]
    ]
    if rows:
        blocks.append(table(("Severity", "Finding", "It rests on", "Series", "Files"), rows, (10, 40, 24, 10, 24)))
    return [*blocks, *_rest(len(origins), LISTED)]


def _digests(report: Report, imprint: Imprint) -> list[Flowable]:
    entries = chapters.entries(report)
    rows = [("report.json", imprint.digest), *((f"model {model.name}", model.sha256) for model in report.models)]
    rows += [
        (f"voxels of series {e.number}", e.result.digest) for e in entries[: chapters.ALL_FILES] if e.result.digest
    ]
    blocks: list[Flowable] = [
        *_chapter("Digests", "digests"),
        text("SHA-256, hexadecimal. That of the voxels is the same for the same picture in another file."),
        table(("Of", "SHA-256"), rows, (5, 10), code=1),
    ]
    files = chapters.files(report)
    if files:
        blocks.append(table(("Series", "File", "SHA-256"), files, (1.2, 6.1, 9.7), code=2))
    every = sum(len(e.result.files) for e in entries)
    if every > len(files):
        blocks.append(text(f"{len(files)} of {every} files; {REST}", "small"))
    return blocks


def _verifying(report: Report, imprint: Imprint) -> list[Flowable]:
    blocks: list[Flowable] = _chapter("How to verify", "verify")
    for number, step in enumerate(chapters.steps(report, imprint), 1):
        lines: list[Flowable] = [text(f"{number}. {step.text}", longest=600)]
        lines += [command(step.command)] if step.command else []
        blocks.append(KeepTogether(lines))
    return blocks
