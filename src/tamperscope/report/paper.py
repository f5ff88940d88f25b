"""The paper that a PDF is printed on: fonts, styles, the frame of a page, and blocks that are safe for any text.

Imported where a PDF is made and nowhere else, since it needs reportlab. The same content gives the same bytes: no time,
no random identifier.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any, TypeAlias
from xml.sax.saxutils import escape

from PIL import Image
from reportlab import rl_config
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_LEFT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.pdfdoc import PDFDictionary, PDFString
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    LongTable,
    PageTemplate,
    Paragraph,
    Preformatted,
    Spacer,
    TableStyle,
)
from reportlab.platypus import Image as Picture

from . import words

SANS, BOLD, MONO = "TamperscopeSans", "TamperscopeSans-Bold", "TamperscopeMono"
FILES = {SANS: "DejaVuSans.ttf", BOLD: "DejaVuSans-Bold.ttf", MONO: "DejaVuSansMono.ttf"}
MARGIN = 20 * mm
WIDTH = A4[0] - 2 * MARGIN
"""Of a line, in points."""
HEIGHT = A4[1] - 2 * MARGIN - 12 * mm
"""Of what a page holds between its head and its foot, in points."""
LONGEST = 320
"""Most characters of one text: what is longer ends in an ellipsis, since report.json holds it whole."""
DOTS = 1600
"""Most pixels of a picture across: 240 dots per inch over the width of a page."""

INK, SOFT, LINE, FAINT = "#1a1e26", "#4d5565", "#c9ced8", "#f1f3f6"
VERDICTS = {
    "suspicious": ("#8a3d00", "#ffe7cc"),
    "no_evidence": ("#0b4a86", "#dcecfb"),
    "inconclusive": ("#3f4653", "#e6e8ec"),
}
"""Ink and ground of each verdict: those of the HTML report in light, with the contrast of WCAG AA."""

PAGES = "pages"
"""Name of the form that holds the number of pages, which is known at the end."""


@cache
def glyphs() -> frozenset[int]:
    """Register the fonts; the code points that each of them can show."""
    folder = resources.files(__package__).joinpath("fonts")
    shown: list[frozenset[int]] = []
    for name, file in FILES.items():
        font = TTFont(name, io.BytesIO(folder.joinpath(file).read_bytes()))
        pdfmetrics.registerFont(font)
        shown.append(frozenset(font.face.charToGlyph))
    pdfmetrics.registerFontFamily(SANS, normal=SANS, bold=BOLD, italic=SANS, boldItalic=BOLD)
    return frozenset.intersection(*shown)


def printable(text: str, longest: int = LONGEST) -> str:
    r"""Text in the glyphs of the fonts, ``longest`` characters at most; what they lack is shown as ``\u6f22``."""
    text = words.visible(text)
    text = text if len(text) <= longest else f"{text[: longest - 1]}…"
    have = glyphs()
    return "".join(c if ord(c) in have else c.encode("ascii", "backslashreplace").decode() for c in text)


def marked_up(text: str, longest: int = LONGEST) -> str:
    """Text for a paragraph, whose markup it cannot become."""
    return escape(printable(text, longest))


@cache
def style(name: str) -> ParagraphStyle:
    """The style of this name."""
    glyphs()
    sizes = {
        "title": 19,
        "h1": 15,
        "h2": 11.5,
        "lead": 12.5,
        "body": 9.5,
        "small": 8,
        "cell": 7.8,
        "head": 7.8,
        "code": 6.9,
    }
    size = sizes[name]
    bold = name in {"title", "h1", "h2", "lead", "head"}
    before = {"h1": 4 * mm, "h2": 3.5 * mm}.get(name, 0)
    after = {"title": 1 * mm, "h1": 2.5 * mm, "h2": 1.5 * mm, "body": 1.6 * mm, "small": 1 * mm}.get(name, 0)
    return ParagraphStyle(
        name,
        fontName=MONO if name == "code" else BOLD if bold else SANS,
        fontSize=size,
        leading=size * 1.36,
        textColor=HexColor(SOFT if name in {"small", "head"} else INK),
        spaceBefore=before,
        spaceAfter=after,
        alignment=TA_LEFT,
        splitLongWords=1,
    )


def text(content: str, kind: str = "body", *, longest: int = LONGEST) -> Paragraph:
    """A paragraph of text that is not obeyed."""
    return Paragraph(marked_up(content, longest), style(kind))


def bullets(lines: Sequence[str]) -> list[Flowable]:
    """A list with a dot before each line."""
    base = style("body")
    bullet = ParagraphStyle("bullet", parent=base, leftIndent=4 * mm, bulletFontName=SANS)
    return [Paragraph(marked_up(line, 1000), bullet, bulletText="•") for line in lines]


def command(line: str) -> Flowable:
    """A command line, on a ground of its own; longer ones are wrapped."""
    wide = int((WIDTH - 4 * mm) / (style("code").fontSize * 0.603))
    box = ParagraphStyle("command", parent=style("code"), backColor=HexColor(FAINT), borderPadding=3, leftIndent=2 * mm)
    return Preformatted(
        printable(line), ParagraphStyle("spaced", parent=box, spaceBefore=3, spaceAfter=9), maxLineLength=wide
    )


class Heading(Paragraph):  # type: ignore[misc]  # reportlab has no types
    """A heading that stands in the outline of the document too."""

    def __init__(self, content: str, level: int, key: str) -> None:
        super().__init__(marked_up(content), style("h1" if level == 0 else "h2"))
        self.entry = printable(content, 90), key, level

    def draw(self) -> None:
        """Print it, and mark the place."""
        title, key, level = self.entry
        self.canv.bookmarkHorizontal(key, 0, self.height + 6 * mm)
        self.canv.addOutlineEntry(title, key, level, closed=level > 0)
        super().draw()


class Badge(Flowable):  # type: ignore[misc]
    """A verdict on its ground."""

    def __init__(self, label: str, verdict: str) -> None:
        super().__init__()
        glyphs()
        self.label, self.colours = label, VERDICTS[verdict]
        self.width = pdfmetrics.stringWidth(label, BOLD, 7.4) + 9
        self.height = 12

    def wrap(self, *_: float) -> tuple[float, float]:
        """Its size in points."""
        return self.width, self.height

    def draw(self) -> None:
        """Print it."""
        ink, ground = (HexColor(colour) for colour in self.colours)
        self.canv.setFillColor(ground)
        self.canv.roundRect(0, 0, self.width, self.height, 5, stroke=0, fill=1)
        self.canv.setFillColor(ink)
        self.canv.setFont(BOLD, 7.4)
        self.canv.drawString(4.5, 3.3, self.label)


class _Total(Flowable):  # type: ignore[misc]
    """At the end of the story: the number of pages, where each page refers to it."""

    def wrap(self, *_: float) -> tuple[float, float]:
        return 0, 0

    def draw(self) -> None:
        pages = self.canv.getPageNumber()
        self.canv.beginForm(PAGES, 0, -5, 60, 15)
        self.canv.setFillColor(HexColor(SOFT))
        self.canv.setFont(SANS, 7.5)
        self.canv.drawString(0, 0, str(pages))
        self.canv.endForm()


def printed(
    story: Sequence[Flowable], *, title: str, head: str, subject: str, creator: str, made: datetime | None = None
) -> bytes:
    """Print a story on A4.

    Args:
        story: What is printed, in order.
        title: The document's title.
        head: Printed in the upper left corner of each page.
        subject: Of the document's properties.
        creator: The program and its version.
        made: The document's date; none if None.

    Returns:
        The bytes of the PDF: the same story gives the same ones.
    """
    glyphs()
    # Streams as bytes: as letters (ASCII85) they take a quarter more room, and most of the time.
    rl_config.useA85 = 0
    stream = io.BytesIO()
    document = BaseDocTemplate(
        stream,
        pagesize=A4,
        title=printable(title),
        author="tamperscope",
        subject=printable(subject),
        creator=printable(creator),
        lang="en",
        displayDocTitle=1,
        invariant=1,
        pageCompression=1,
        initialFontName=SANS,
        allowSplitting=1,
    )
    frame = Frame(MARGIN, MARGIN + 4 * mm, WIDTH, HEIGHT, 0, 0, 0, 0)
    document.addPageTemplates(PageTemplate("page", [frame], onPage=_furniture(printable(head, 90), made)))
    document.build([*story, _Total()])
    return stream.getvalue()


def _furniture(head: str, made: datetime | None) -> Callable[[Any, Any], None]:
    """Head and foot of a page."""

    def draw(canvas: Any, _: Any) -> None:
        if canvas.getPageNumber() == 1:
            _describe(canvas, made)
        top, bottom = A4[1] - MARGIN + 4 * mm, MARGIN - 4 * mm
        canvas.saveState()
        canvas.setFont(SANS, 7.5)
        canvas.setFillColor(HexColor(SOFT))
        canvas.drawString(MARGIN, top, head)
        canvas.drawRightString(A4[0] - MARGIN, top, words.DISCLAIMER)
        number = f"Page {canvas.getPageNumber()} of "
        canvas.drawString(MARGIN, bottom, number)
        canvas.translate(MARGIN + pdfmetrics.stringWidth(number, SANS, 7.5), bottom)
        canvas.doForm(PAGES)
        canvas.restoreState()
        canvas.setStrokeColor(HexColor(LINE))
        canvas.setLineWidth(0.5)
        canvas.line(MARGIN, top - 2 * mm, A4[0] - MARGIN, top - 2 * mm)

    return draw


def _describe(canvas: Any, made: datetime | None) -> None:
    """Open with the outline, and keep the properties (PDF 1.7, 14.3.3) without a date that nobody gave.

    reportlab has a switch for neither date nor none: left alone, its constant bytes are dated to the year 2000.
    """
    info = canvas._doc.info
    entries = {
        "Title": PDFString(info.title),
        "Author": PDFString(info.author),
        "Subject": PDFString(info.subject),
        "Creator": PDFString(info.creator),
        "Producer": PDFString(info.producer),
    }
    if made is not None:
        entries["CreationDate"] = PDFString(made.strftime("D:%Y%m%d%H%M%S"))
    info.format = PDFDictionary(entries).format
    canvas.showOutline()


Cell: TypeAlias = str | Flowable


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], shares: Sequence[float], *, code: int = -1
) -> Flowable:
    """A table whose head is repeated on each page.

    Args:
        columns: The head.
        rows: Text, which is wrapped, or blocks.
        shares: Of the width of the page, a number a column.
        code: A column to print in fixed pitch.
    """
    total = sum(shares)
    cells = [[text(name, "head") for name in columns]]
    cells += [[_cell(cell, "code" if at == code else "cell") for at, cell in enumerate(row)] for row in rows]
    grid = LongTable(cells, colWidths=[WIDTH * share / total for share in shares], repeatRows=1)
    grid.setStyle(
        TableStyle(
            [
                ("FONTNAME", (0, 0), (-1, -1), SANS),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("RIGHTPADDING", (0, 0), (-1, -1), 5),
                ("TOPPADDING", (0, 0), (-1, -1), 2.2),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 2.6),
                ("LINEBELOW", (0, 0), (-1, 0), 0.8, HexColor(SOFT)),
                ("LINEBELOW", (0, 1), (-1, -1), 0.4, HexColor(LINE)),
            ]
        )
    )
    grid.hAlign = "LEFT"
    grid.spaceAfter = 2 * mm
    return grid


def _cell(content: Cell, kind: str) -> Flowable:
    return text(content, kind) if isinstance(content, str) else content


def picture(data: bytes, width: float, height: float) -> Flowable | None:
    """A picture that fits ``width`` times ``height`` points; None if the bytes are none."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    image.thumbnail((DOTS, 4 * DOTS))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    scale = min(width / image.width, height / image.height)
    block = Picture(stream, image.width * scale, image.height * scale)
    block.hAlign = "LEFT"
    return block


def gap(millimetres: float) -> Flowable:
    """Empty space."""
    return Spacer(1, millimetres * mm)
