from __future__ import annotations

from html.parser import HTMLParser

import pytest

from tamperscope.records import Finding, Provenance, Report, StudyResult
from tamperscope.report import html, words

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
