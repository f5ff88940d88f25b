from __future__ import annotations

import pytest

from datasets import fakes
from tamperscope import study
from tamperscope.datasets import lidc
from tamperscope.decode import decode
from tamperscope.errors import InputError, UnreadableError

SQUARE = ((8, 10), (8, 14), (12, 10), (12, 14))


@pytest.fixture
def volume(tmp_path):
    """Six slices of 24 x 24 voxels of 2.5 x 0.9 x 0.9 mm."""
    return decode(study.read(fakes.series(tmp_path / "scan", 7, 6)).studies[0].series[0])


def roi(volume, k: int, points, shift: int = 0):
    uid = volume.sop_instance_uids[k]
    return uid, volume.position_mm((k, 0, 0))[2], [(j + shift, i + shift) for j, i in points]


@pytest.fixture
def parsed(tmp_path):
    def parse(*sessions: str) -> tuple[lidc.Mark, ...]:
        path = tmp_path / "nodules.xml"
        path.write_text(fakes.message("1.2.3", *sessions), encoding="utf-8")
        return lidc.marks(path)

    return parse


# --- files ---


def test_both_layouts_list_patients_series_and_scanner(tmp_path):
    fakes.lidc_tcia(tmp_path)
    entries = lidc.entries(tmp_path)
    assert {entry.patient for entry in entries} == {f"LIDC-IDRI-{number:04d}" for number in (1, 2, 3)}
    assert entries[0].series == "01-01-2000-NA-NA-30170/3000566.000000-NA-03190"
    assert {(entry.modality, entry.scanner) for entry in entries} == {("CT", "tamperscope phantom")}
    assert len(entries) == 12


def test_the_marks_of_a_series_are_those_that_state_its_uid(tmp_path):
    fakes.lidc_tcia(tmp_path)
    for folder in sorted({entry.path.parent for entry in lidc.entries(tmp_path)}):
        volume = decode(study.read(folder).studies[0].series[0])
        (nodule,) = lidc.nodules(lidc.marks_of(folder, volume.series_uid, tmp_path), volume)
        assert (nodule.readers, nodule.centre_index) == (2, (2, 10, 12))
    with pytest.raises(UnreadableError, match=r"of series 1\.2\.3"):
        lidc.marks_of(folder, "1.2.3", tmp_path)


def test_the_only_file_of_a_folder_needs_no_uid(tmp_path):
    fakes.lidc_small(tmp_path)
    assert len(lidc.marks_of(tmp_path / "LIDC-IDRI-0001", None)) == 2


def test_series_without_marks_are_missing_them(tmp_path):
    fakes.lidc_small(tmp_path)
    (tmp_path / "LIDC-IDRI-0002/nodules.xml").unlink()
    (missing,) = lidc.check(tmp_path).missing
    assert "LIDC-IDRI-0002" in missing
    assert "LIDC-XML-only.zip" in missing


# --- marks ---


def test_readers_kinds_and_ratings(parsed):
    big = fakes.nodule_xml("Nodule 001", [("1.1", -5.0, SQUARE), ("1.2", -2.5, SQUARE)], 4)
    small = fakes.nodule_xml("Nodule 002", [("1.1", -5.0, [(3, 4)])])
    none = fakes.no_nodule_xml("_Non-nodule 001", "1.2", -2.5, 20, 21)
    first, second, third = parsed(big + none, small)
    assert (first.reader, first.kind, first.name) == (0, "nodule", "Nodule 001")
    assert first.ratings == (("subtlety", 4), ("malignancy", 4))
    assert first.outlines[1] == lidc.Outline("1.2", -2.5, True, SQUARE)
    assert (second.reader, second.kind, second.outlines[0].points) == (0, "no nodule", ((20, 21),))
    assert (third.reader, third.kind, third.ratings) == (1, "small nodule", ())


def test_a_hole_is_marked_as_outside(parsed):
    text = fakes.nodule_xml("N", [("1.1", 0.0, SQUARE)], 3)
    (mark,) = parsed(text.replace("TRUE", "FALSE"))
    assert not mark.outlines[0].inside


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<LidcReadMessage",
        "<CXRreadingSession/>",
        '<!DOCTYPE x [<!ENTITY a "b">]><LidcReadMessage>&a;</LidcReadMessage>',
        "<LidcReadMessage><readingSession><unblindedReadNodule><roi><imageZposition>up</imageZposition></roi>"
        "</unblindedReadNodule></readingSession></LidcReadMessage>",
    ],
    ids=["empty", "cut", "radiograph", "entities", "no number"],
)
def test_what_is_no_file_of_marks_is_refused_by_name(tmp_path, text):
    path = tmp_path / "069.xml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UnreadableError, match=r"069\.xml"):
        lidc.marks(path)


# --- nodules ---


def test_a_nodule_is_placed_in_voxels_and_millimetres(volume, parsed):
    marks = parsed(fakes.nodule_xml("N", [roi(volume, k, SQUARE) for k in (1, 2, 3)], 4))
    (nodule,) = lidc.nodules(marks, volume)
    assert nodule.centre_index == (2, 10, 12)
    assert nodule.centre_mm == pytest.approx(volume.position_mm((2, 10, 12)))
    assert nodule.diameter_mm == pytest.approx(4 * 0.9)
    assert (nodule.kind, nodule.readers, nodule.malignancy) == ("nodule", 1, 4.0)


def test_marks_that_lie_on_each_other_are_one_nodule(volume, parsed):
    same = [fakes.nodule_xml(f"N{r}", [roi(volume, 2, SQUARE, shift=r)], 3 + r) for r in range(2)]
    other = fakes.nodule_xml("far", [roi(volume, 4, SQUARE, shift=9)], 1)
    first, second = lidc.nodules(parsed(same[0] + other, same[1]), volume)
    assert (first.readers, first.malignancy, first.centre_index[0]) == (2, 3.5, 2)
    assert (second.readers, second.malignancy, second.centre_index) == (1, 1.0, (4, 19, 21))


def test_most_readers_say_what_it_is(volume, parsed):
    point = fakes.no_nodule_xml("_Non", *roi(volume, 2, [(10, 12)])[:2], 10, 12)
    outlined = fakes.nodule_xml("N", [roi(volume, 2, SQUARE)], 3)
    (even,) = lidc.nodules(parsed(outlined, point), volume)
    assert even.kind == "nodule", "the graver word where they are even"
    (most,) = lidc.nodules(parsed(outlined, point, point), volume)
    assert (most.kind, most.readers) == ("no nodule", 3)


def test_a_slice_is_found_by_its_position_where_the_uid_is_another(volume, parsed):
    _, z, points = roi(volume, 3, SQUARE)
    (nodule,) = lidc.nodules(parsed(fakes.nodule_xml("N", [("9.9", z + 0.05, points)], 2)), volume)
    assert nodule.centre_index[0] == 3


def test_a_mark_on_a_slice_that_is_not_there_is_an_error(volume, parsed):
    marks = parsed(fakes.nodule_xml("N", [("9.9", 5000.0, SQUARE)], 2))
    with pytest.raises(InputError, match=r"z = 5000\.0 mm"):
        lidc.nodules(marks, volume)


def test_no_marks_are_no_nodules(volume, parsed):
    assert lidc.nodules(parsed(""), volume) == ()
