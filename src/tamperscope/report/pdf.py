r"""The report as PDF, for people who were not there: the answer on the first page, then all that it rests on.

The same report gives the same bytes. Text of the input is shown in Latin, Greek and Cyrillic letters, other characters
as escapes (``\u6f22``); none of it is obeyed. The file has a title, a language and an outline; it has no tags for
screen readers, for which the HTML report is meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from tamperscope.errors import MissingExtraError
from tamperscope.records import Report
from tamperscope.weights import Card

from . import chapters
from .chapters import Imprint, Row

__all__ = ["Row", "batch", "installed", "render"]


def installed() -> None:
    """See that reportlab is there.

    Raises:
        MissingExtraError: it is not.
    """
    try:
        import reportlab  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("reportlab", "report") from error


def render(
    report: Report,
    pictures: Mapping[str, bytes],
    cards: Sequence[Card] = (),
    imprint: Imprint | None = None,
) -> bytes:
    """The report as PDF.

    Args:
        report: The answer of one scan.
        pictures: PNG bytes keyed by ``SeriesResult.name``; a series without one has no picture.
        cards: Those of the models that took part; a model without one is named and no more.
        imprint: What it says of itself; that of ``report`` without date and signature if None.

    Raises:
        MissingExtraError: reportlab is not installed.
    """
    installed()
    from . import story

    return story.whole(report, pictures, cards, imprint or chapters.imprint(report))


def batch(rows: Sequence[Row], *, title: str = "Studies", made: datetime | None = None) -> bytes:
    """A list of studies as PDF: a row each with its answer, and a picture where there is one.

    Raises:
        MissingExtraError: reportlab is not installed.
    """
    installed()
    from . import story

    return story.batch(rows, title, made)
