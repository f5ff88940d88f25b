"""How what the checks see becomes one answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from builders import ct, nifti, pixels, png, to_bytes
from tamperscope import read
from tamperscope.decode import decode
from tamperscope.detectors import provenance
from tamperscope.detectors.provenance import header, seen
from tamperscope.limits import Limits


def examined(*sources: bytes):
    (series,) = read(list(sources)).studies[0].series
    return provenance.examine(series, decode(series))


def test_nothing_to_say_is_absent_and_no_finding():
    found = examined(*(to_bytes(ct(index=index)) for index in range(3)))
    assert (found.state, found.findings) == ("absent", ())


@pytest.mark.parametrize("data", [nifti(np.zeros((4, 5, 6), np.float32)), png(pixels().astype(np.uint8))], ids=len)
def test_files_that_are_no_dicom_are_examined(data):
    assert examined(data).state == "absent"


def test_findings_are_joined_and_the_gravest_come_first():
    every = ("a", "b")
    joined = seen.merged(
        [
            seen.note("n", "t", "c", "a"),
            seen.warning("w", "t", "c", "a"),
            seen.broken("b", "t", "c", "b"),
            seen.note("n", "t", "c", "b"),
            seen.warning("w", "t", "c", "a"),
        ],
        every,
    )
    assert [(one.finding.check, one.finding.files) for one in joined] == [("b", ("b",)), ("w", ("a",)), ("n", ())]


def test_a_thousand_different_findings_do_not_fill_the_report():
    joined = seen.merged([seen.contradiction("w", f"{n}", "c", f"{n}") for n in range(1000)], ())
    assert len(joined) == seen.MOST + 1
    assert joined[-1].finding.text == f"{1000 - seen.MOST} more findings of this kind are left out."
    assert {one.state for one in joined} == {"contradictory"}


def test_what_was_seen_before_a_check_stumbled_is_kept(monkeypatch):
    def check(one):
        yield seen.broken("x", "t", "c", one.source)
        raise KeyError

    monkeypatch.setattr(header, "check", check)
    assert examined(to_bytes(ct())).state == "broken"


@pytest.mark.parametrize(
    ("made", "state"),
    [
        ([], "absent"),
        ([seen.note], "absent"),
        ([seen.warning], "absent"),
        ([seen.verified], "verified"),
        ([seen.verified, seen.warning], "verified"),
        ([seen.verified, seen.contradiction], "contradictory"),
        ([seen.verified, seen.contradiction, seen.broken], "broken"),
    ],
    ids=range(7),
)
def test_the_order_of_the_states(monkeypatch, made, state):
    def check(one):
        return [make("x", make.__name__, "c", one.source) for make in made]

    monkeypatch.setattr(header, "check", check)
    assert examined(to_bytes(ct())).state == state


def test_one_file_that_is_vouched_for_does_not_verify_the_series(monkeypatch):
    first = []

    def check(one):
        first.append(one.source)
        return [seen.verified("x", "t", "c", one.source)] if one.source == first[0] else []

    monkeypatch.setattr(header, "check", check)
    assert examined(to_bytes(ct()), to_bytes(ct(index=1))).state == "absent"


def test_a_check_that_fails_says_so_and_stops_nothing(monkeypatch):
    def check(_one):
        raise RecursionError

    monkeypatch.setattr(header, "check", check)
    found = examined(to_bytes(ct()))
    assert found.state == "absent"
    assert [(one.check, one.severity) for one in found.findings] == [("unchecked", "note")]
    assert "RecursionError" in found.findings[0].text


def test_files_that_changed_since_they_were_read_are_told(tmp_path):
    for index in range(2):
        (tmp_path / f"{index}.dcm").write_bytes(to_bytes(ct(index=index)))
    (series,) = read(tmp_path).studies[0].series
    volume = decode(series)
    (tmp_path / "1.dcm").write_bytes(to_bytes(ct(index=3)))
    (found,) = provenance.examine(series, volume).findings
    assert found.check == "unread"
    tight = provenance.examine(replace(series, instances=series.instances[:1]), volume, Limits(max_file_bytes=10))
    assert [one.check for one in tight.findings] == ["unread"]
