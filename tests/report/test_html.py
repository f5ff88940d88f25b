from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from tamperscope import detectors
from tamperscope.records import Finding, Provenance, Report, StudyResult
from tamperscope.report import chapters, html, words

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Checks that elements nest, and keeps what the tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_every_report_is_a_sound_page_without_scripts_or_links_outside(report):
    text = html.render(report, {s.name: b"\x89PNG" for s in report.series})
    assert text.startswith("<!DOCTYPE html>")
    assert text.encode("utf-8")
    page = Page(text)
    assert {"script", "iframe", "link", "object", "form"}.isdisjoint(name for name, _ in page.tags)
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        assert link["href"].removeprefix("#") in ids
    for image in page.all("img"):
        assert image["src"].startswith("data:image/png;base64,")
        assert image["alt"]
    for attributes in (a for _, a in page.tags if "aria-labelledby" in a):
        assert attributes["aria-labelledby"] in ids
    assert len(page.all("img")) == len(report.series)
    assert "Research use only" in page.text


def test_golden(reports, golden):
    golden("report.html", html.render(reports["full"], {"ct-12": b"a picture"}))


def test_hostile_text_is_shown_and_not_obeyed(reports):
    text = html.render(reports["hostile"], {})
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{7*7}}" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_the_page_says_what_matters(reports):
    text = Page(html.render(reports["full"], {})).text
    for phrase in (
        "SUSPICIOUS: 2 altered places found",
        "No evidence of tampering found",
        "Inconclusive: no model accepts modality OT",
        "1 false alarm in 100 authentic series",
        "Absence of evidence is not proof",
        "noise of 2 slices is too smooth",
        "signature does not match the pixels",
        "one slice is missing between 2 and 3",
        "ab" * 32,
        "cd" * 32,
        "copy it again",
        "a structured report, not an image",
        "30, 20",
    ):
        assert phrase in text, phrase


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["light", "dark", "print"])
def test_text_has_the_contrast_of_wcag_aa(reports, scheme):
    style = html.render(reports["empty"], {}).split("<style>")[1]
    block = style.split(":root {")[scheme + 1].split("}")[0]
    colours = dict(pair.strip().removeprefix("--").split(": ") for pair in block.split(";") if "--" in pair)
    pairs = [(ink, back) for ink in ("ink", "soft", "link") for back in ("page", "card")]
    pairs += [(label, f"{label}-back") for label in (*html.LABELS, "alarm")]
    for ink, back in pairs:
        dark, light = sorted([luminance(colours[ink]), luminance(colours[back])])
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, back)


def test_headings_descend_one_by_one_and_tables_name_their_columns(report):
    page = Page(html.render(report, {}, detectors.packaged_cards()))
    levels = [int(name[1]) for name, _ in page.tags if name in {"h1", "h2", "h3", "h4", "h5", "h6"}]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(cell["scope"] == "col" for cell in page.all("th"))
    names = {name for name, _ in page.tags}
    assert {"header", "main", "nav", "footer"} <= names
    assert page.all("html")[0]["lang"] == "en"


def test_the_answer_comes_first_and_all_that_it_rests_on_follows(reports):
    text = Page(html.render(reports["full"], {}, detectors.packaged_cards())).text
    places = [
        text.index(phrase)
        for phrase in (
            "Signs of tampering were found in 1 of the 3 series examined.",
            "1 in 100 authentic series is called suspicious by mistake, a false alarm; 25% of the simulated forgeries",
            "It does not follow who changed an image",
            "SUSPICIOUS: 2 altered places found",
            "A model, as a rule a neural network",
            "What the files say of their own origin, and whether it fits",
            "SHA-256, hexadecimal",
            "sha256sum report.json",
        )
    ]
    assert places == sorted(places)


def test_the_card_of_a_model_that_took_part_stands_in_it(reports):
    full = reports["full"]
    (card,) = [card for card in detectors.packaged_cards() if card.name == "ct-fast"]
    first = full.studies[0].series[0]
    judged = replace(first, evidence=(replace(first.evidence[0], detector="ct-fast"),))
    report = replace(full, studies=(replace(full.studies[0], series=(judged,)),))
    text = Page(html.render(report, {}, detectors.packaged_cards())).text
    assert card.intended_use in text
    assert card.sha256 in text
    assert "1 in 1000 (0.1%)" in text
    assert "TCGA-17-Z013" not in text
    assert "knee radiographs" not in text


def test_a_signed_and_dated_report_says_so(reports):
    full = reports["full"]
    said = chapters.imprint(full, made=datetime(2026, 3, 4, 5, 6), fingerprint="ef" * 32, openssl="openssl dgst")
    text = Page(html.render(full, {}, (), said)).text
    assert "Made on 2026-03-04 05:06." in text
    assert "ef" * 32 in text
    assert "openssl dgst" in text
    assert "Not signed" not in text
    assert "Not signed" in Page(html.render(full, {})).text


@pytest.mark.parametrize("state", ["verified", "absent", "broken", "contradictory"])
def test_provenance_is_said_in_words(make, state):
    findings = (
        Finding("a", "alarm", "The first.", "PS3.15 C.1", ("one.dcm",)),
        Finding("b", "note", "The second.", "PS3.10 7.1", tuple(f"{n}.dcm" for n in range(9))),
    )
    series = make["no_evidence"](provenance=Provenance(state, findings))
    page = Page(html.render(Report((StudyResult("x", None, (series,)),)), {}))
    for words_ in (words.ORIGINS[state], words.ORIGIN_MEANINGS[state], "The first.", "PS3.15 C.1", "Alarm", "Note"):
        assert words_ in page.text
    assert "9 files, the first 0.dcm" in page.text
    assert (words.CHANGED in page.text) == (state == "broken")
    assert ("no sign of guilt" in page.text) == (state == "absent")
