"""The PDF: what it says on which page, that it is sound, and that nothing in the input can bend it."""

from __future__ import annotations

import hashlib
import io
import sys
from dataclasses import replace
from datetime import datetime

import numpy as np
import pypdf
import pytest
from PIL import Image

from builders import png
from tamperscope import detectors
from tamperscope.errors import MissingExtraError
from tamperscope.records import Failure, Report, StudyResult
from tamperscope.report import chapters, json, pdf
from tamperscope.report import png as pictures

CARDS = detectors.packaged_cards()


def read(data: bytes) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(data), strict=True)


def words_of(text: str) -> str:
    """Text without its line breaks, which depend on the fonts."""
    return " ".join(text.split())


def page_texts(data: bytes) -> list[str]:
    return [words_of(page.extract_text()) for page in read(data).pages]


def outline(reader: pypdf.PdfReader) -> dict[str, int]:
    """Title and page, counted from 1, of every entry."""

    def entries(tree):
        for entry in tree:
            if isinstance(entry, list):
                yield from entries(entry)
            else:
                yield entry.title, reader.get_destination_page_number(entry) + 1

    return dict(entries(reader.outline))


@pytest.fixture
def known(make):
    """A report whose series was judged by a model with a Card."""
    series = make["suspicious"]()
    series = replace(series, evidence=(replace(series.evidence[0], detector="ct-fast"),))
    return Report((StudyResult("ct", "2.25.1", (series,)),), version="1.2.3")


def test_every_report_becomes_a_sound_pdf_with_numbered_pages(report):
    data = pdf.render(report, {})
    assert data.startswith(b"%PDF-1.")
    texts = page_texts(data)
    for number, text in enumerate(texts, 1):
        assert f"Page {number} of {len(texts)}" in text
        assert "Research use only, not for diagnosis" in text
        assert f"tamperscope report {chapters.imprint(report).short}" in text
    assert "Was this image altered?" in texts[0]
    assert words_of(chapters.answer(report)) in texts[0]
    assert "Digests" not in texts[0], "the conclusion has a page of its own"


def test_what_the_pages_say_is_what_it_was(reports, golden, volume):
    full = reports["full"]
    drawn = {s.name: pictures.render(volume, s) for s in full.series[:2]}
    texts = page_texts(pdf.render(full, drawn, CARDS))
    golden("report.pdf.txt", "\n\f\n".join(texts) + "\n")


def test_the_first_page_states_both_error_rates_and_what_does_not_follow(reports):
    first = page_texts(pdf.render(reports["full"], {}))[0]
    for phrase in (
        "Signs of tampering were found in 1 of the 3 series examined.",
        "2 studies, 3 series (CT, OT) in 7 files.",
        "0.97",
        "1 in 100 authentic series is called suspicious by mistake, a false alarm; 25% of the simulated forgeries",
        "about 7 in 100 alarms would be right",
        "compared with the originals",
        "Absence of evidence is not proof",
        "It does not follow who changed an image",
        "1 alarm, under Provenance",
    ):
        assert phrase in first, phrase


def test_a_share_of_misses_that_is_not_known_is_said_not_to_be(make):
    series = make["no_evidence"]()
    series = replace(series, operating_point=replace(series.operating_point, miss_rate=None))
    first = page_texts(pdf.render(Report((StudyResult("ct", None, (series,)),)), {}))[0]
    assert "The share of forgeries that are missed was not measured" in first


def test_the_card_stands_in_it_with_its_rates_limits_and_figures(known):
    text = " ".join(page_texts(pdf.render(known, {}, CARDS)))
    card = next(card for card in CARDS if card.name == "ct-fast")
    assert card.intended_use in text
    assert card.sha256 in text
    assert "27 patients" in text
    assert "TCGA-17-Z013" not in text, "people are counted and not listed"
    for alarms, miss in card.calibration.miss_rates:
        assert f"1 in {round(1 / alarms)} ({alarms:.1%}) {miss:.0%}" in text
    for group in card.results["verdicts"]:
        assert words_of(group) in text
    assert "knee radiographs" not in text, "a model that judged nothing of it has no place in it"


def test_title_language_and_outline(reports):
    reader = read(pdf.render(reports["full"], {}, CARDS))
    assert reader.metadata.title.startswith("Was this image altered? Report ")
    assert reader.metadata.creator == "tamperscope 1.2.3"
    assert reader.metadata.subject == chapters.answer(reports["full"])
    assert reader.metadata.creation_date is None
    assert reader.trailer["/Root"]["/Lang"] == "en"
    assert reader.trailer["/Root"]["/ViewerPreferences"]["/DisplayDocTitle"] == True  # noqa: E712 - an object of PDF
    found = outline(reader)
    assert next(iter(found)) == "Was this image altered?"
    names = ("Method", "Model and its error rates", "Provenance", "Digests", "How to verify")
    assert [name for name in found if name in names] == list(names)
    for name, page in found.items():
        assert words_of(name.rstrip("…")) in words_of(reader.pages[page - 1].extract_text())
    assert sorted(found.values()) == list(found.values())


def test_all_fonts_are_embedded(reports):
    reader = read(pdf.render(reports["full"], {}))
    used = [font.get_object() for page in reader.pages for font in page["/Resources"]["/Font"].values()]
    assert used
    for font in used:
        assert "DejaVu" in font["/BaseFont"]
        assert "/FontFile2" in font["/FontDescriptor"]


def test_a_date_stands_in_it_only_if_it_is_given(reports):
    full = reports["full"]
    made = datetime(2026, 3, 4, 5, 6, 7)
    dated = pdf.render(full, {}, (), chapters.imprint(full, made=made))
    assert "Made on 2026-03-04 05:06." in page_texts(dated)[0]
    assert read(dated).metadata.creation_date.replace(tzinfo=None) == made
    assert "Made on" not in page_texts(pdf.render(full, {}))[0]


def test_the_same_report_gives_the_same_bytes(report):
    drawn = {s.name: png(np.zeros((9, 9), np.uint8)) for s in report.series}
    assert pdf.render(report, drawn, CARDS) == pdf.render(report, drawn, CARDS)


def test_its_name_is_the_digest_of_the_json_report(reports):
    text = " ".join(page_texts(pdf.render(reports["full"], {})))
    assert chapters.imprint(reports["full"]).digest in text
    assert chapters.imprint(reports["full"], heatmaps=["ct-12"]) != chapters.imprint(reports["full"])


HOSTILE = {
    "markup": "<b>bold</b> & <img src='file:///etc/passwd'/> <a href='http://x'>x</a> &#65; <para>",
    "unclosed": "<font color='red'",
    "long": "/archive/" + "x" * 5000,
    "spaces": "a " * 5000,
    "scripts": "漢字 עברית العربية हिन्दी 😀 \U0010ffff \ue000",
    "latin": "Žluťoučký kůň Łódź Ðạo ĲŁŻ Київ Αθήνα",
    "controls": "a\x00b\x1b[31m\u202e\u2066\u200b\r\n\tz",
    "surrogates": "\ud800\udcff.dcm",
    "empty": "",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_bends_it(name, make):
    text = HOSTILE[name]
    series = make["suspicious"](
        files=(text, text), reasons=(text,) * 9, findings=(text,) * 20, modality=text, name="x", series_uid=text
    )
    series = replace(series, slices=tuple(replace(one, file=text) for one in series.slices))
    bent = Report((StudyResult(text, text, (series,)),), version=text)
    bent = replace(bent, failed=(Failure(text, text, text),) * 3)
    texts = page_texts(pdf.render(bent, {"x": b"no picture"}, CARDS))
    assert "Digests" not in texts[0]
    assert "There is no picture of this series." in " ".join(texts)
    batch = page_texts(pdf.batch([pdf.Row(text, text, "suspicious", 0.5, None, b"no picture")], title=text))
    for found in (" ".join(texts), " ".join(batch)):
        if name == "markup":
            assert "<b>bold</b> & <img" in found
        if name == "latin":
            assert "Žluťoučký kůň Łódź Ðạo" in found
            assert "Київ Αθήνα" in found
        if name == "scripts":
            assert r"\u6f22\u5b57" in found


def test_three_hundred_series_stay_sane(make, volume):
    one = make["no_evidence"]()
    drawn = pictures.render(volume, one)
    studies = tuple(
        StudyResult(
            f"/archive/deep/study-{number}",
            None,
            (replace(one, name=f"s{number}", probability=number / 301, files=(f"{number}.dcm",) * 40),),
        )
        for number in range(300)
    )
    worst = make["suspicious"](name="s42")
    studies = (*studies[:42], StudyResult("worst", None, (worst,)), *studies[43:])
    data = pdf.render(Report(studies, version="1"), {f"s{n}": drawn for n in range(300)}, CARDS)
    reader = read(data)
    texts = [words_of(page.extract_text()) for page in reader.pages[:18]]  # extracting is slow
    assert "Signs of tampering were found in 1 of the 300 series" in texts[0]
    assert "The 8 most suspicious of 300 series" in texts[0]
    assert texts[0].index("worst") < texts[0].index("study-299")
    whole = " ".join(texts)
    assert "study-0 " in whole
    assert "study-150 " in whole
    assert "The 12 most suspicious of 300 series; report.html shows all." in whole
    assert sum(len(page.images) for page in reader.pages) == 12
    assert len(reader.pages) < 70
    assert len(data) < 5_000_000


def test_the_conclusion_keeps_to_one_page_however_much_there_is_to_say(make):
    long = "y" * 400
    studies = tuple(
        StudyResult(
            long,
            None,
            (
                replace(
                    make["inconclusive" if number % 2 else "suspicious"](reasons=(long,)),
                    operating_point=replace(make["suspicious"]().operating_point, threshold=0.5 + number / 100),
                ),
            ),
        )
        for number in range(40)
    )
    texts = page_texts(pdf.render(Report(studies), {}))
    assert "What does not follow" in texts[0]
    assert texts[1].startswith("tamperscope report")
    assert "All series" in texts[1]


def test_a_signed_report_says_how_openssl_verifies_it(reports):
    full = reports["full"]
    said = chapters.imprint(full, fingerprint="ef" * 32, openssl="openssl pkeyutl -verify")
    text = " ".join(page_texts(pdf.render(full, {}, (), said)))
    for phrase in ("openssl pkeyutl -verify", "ef" * 32, "tamperscope verify . --key public.pem", "by another way"):
        assert phrase in text, phrase
    assert "Not signed" in page_texts(pdf.render(full, {}))[0]


def test_a_batch_has_a_row_a_study(volume, make):
    thumbnail = pictures.render(volume, make["suspicious"]())
    rows = [
        pdf.Row("case 1", "CT", "suspicious", 0.991, datetime(2026, 1, 2, 3, 4), thumbnail),
        pdf.Row("case 2", "DX", "inconclusive", None),
        *(pdf.Row(f"more {number}", "CT", "no_evidence", 0.1) for number in range(200)),
    ]
    data = pdf.batch(rows, title="Cases of March", made=datetime(2026, 3, 1, 9, 30))
    assert data == pdf.batch(rows, title="Cases of March", made=datetime(2026, 3, 1, 9, 30))
    reader = read(data)
    texts = page_texts(data)
    assert "Cases of March" in texts[0]
    assert "2026-03-01 09:30. 202 studies: suspicious 1, no evidence 200, inconclusive 1." in texts[0]
    for phrase in ("case 1", "Suspicious", "> 0.99", "2026-01-02 03:04", "case 2", "Inconclusive"):
        assert phrase in texts[0]
    assert "more 199" in texts[-1]
    assert sum(len(page.images) for page in reader.pages) == 1
    assert page_texts(pdf.batch([]))[0].count("0 studies") == 1


def test_a_large_picture_is_reduced(known):
    stream = io.BytesIO()
    Image.new("RGB", (6000, 3000)).save(stream, "PNG")
    reader = read(pdf.render(known, {"ct-12": stream.getvalue()}))
    (image,) = [image for page in reader.pages for image in page.images]
    assert max(image.image.size) <= 1600


def test_without_reportlab_the_way_out_is_told(reports, monkeypatch):
    monkeypatch.setitem(sys.modules, "reportlab", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tamperscope\[report\]'"):
        pdf.render(reports["full"], {})


def test_the_json_report_is_what_the_imprint_is_of(reports):
    text = json.render(reports["full"])
    assert chapters.imprint(reports["full"]).digest == hashlib.sha256(text.encode()).hexdigest()
