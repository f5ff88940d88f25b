from __future__ import annotations

import hashlib
from dataclasses import FrozenInstanceError, replace
from itertools import product

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.records import Failure, Provenance, Report, SeriesResult, Skipped, StudyResult, Volume, voxel_digest


@pytest.fixture(scope="module")
def volume() -> Volume:
    return phantom.chest((5, 9, 7), (2.5, 0.8, 0.7))


def result(label: str) -> SeriesResult:
    return SeriesResult(None, "CT", ("a",), (1, 2, 3), None, label, None, None, (), (), (), Provenance("absent"), ())


LABELS = ("no_evidence", "suspicious", "inconclusive")


@pytest.mark.parametrize("failed", [False, True], ids=["all read", "some failed"])
@pytest.mark.parametrize(
    "labels",
    [set(), *({a, b} for a, b in product(LABELS, LABELS)), set(LABELS)],
    ids=lambda labels: "+".join(sorted(labels)),
)
def test_exit_code(labels, failed):
    report = Report(
        tuple(StudyResult("s", None, (result(label),)) for label in sorted(labels)),
        failed=(Failure("a", "b", "c"),) if failed else (),
        skipped=(Skipped("a", "b"),),
    )
    if not labels:
        expected = 2
    elif "suspicious" in labels:
        expected = 1
    elif "inconclusive" in labels:
        expected = 3
    else:
        expected = 4 if failed else 0
    assert report.exit_code == expected


def test_a_report_lists_the_series_of_all_studies_in_order():
    one, two, three = (result(label) for label in LABELS)
    report = Report((StudyResult("a", None, (one, two)), StudyResult("b", None, ()), StudyResult("c", None, (three,))))
    assert report.series == (one, two, three)


def test_records_are_frozen(volume):
    with pytest.raises(FrozenInstanceError):
        volume.modality = "MR"


def test_a_volume_knows_its_shape_and_spacing(volume):
    assert volume.shape == (5, 9, 7)
    assert volume.spacing_mm == pytest.approx((2.5, 0.8, 0.7))
    colour = replace(volume, voxels=np.repeat(volume.voxels[..., None], 3, axis=3))
    assert colour.shape == (5, 9, 7)


def test_spacing_is_that_of_the_columns_whatever_their_direction(volume):
    turn = np.array([[0.6, -0.8, 0, 0], [0.8, 0.6, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])
    assert replace(volume, affine=turn @ volume.affine).spacing_mm == pytest.approx((2.5, 0.8, 0.7))


def test_luminance_of_grey_is_the_voxels_and_of_colour_their_luma(volume):
    assert volume.luminance is volume.voxels
    colours = np.array([[[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]]], dtype=np.float32)
    luma = replace(volume, voxels=colours).luminance
    assert luma.shape == (1, 1, 4)
    assert luma.dtype == np.float32
    assert luma[0, 0] == pytest.approx([76.245, 149.685, 29.07, 255.0])


def test_positions_are_millimetres_in_the_order_x_y_z(volume):
    affine = np.array([[0, 0, 0.7, 1.0], [0, 0.8, 0, 2.0], [2.5, 0, 0, 3.0], [0, 0, 0, 1.0]])
    found = replace(volume, affine=affine).position_mm((4, 10, 100))
    assert found == pytest.approx((71.0, 10.0, 13.0))
    assert all(type(value) is float for value in found)


def test_a_slab_lies_where_its_slices_lay(volume):
    slab = volume.slab(2, 4)
    assert slab.shape == (2, 9, 7)
    assert np.shares_memory(slab.voxels, volume.voxels)
    assert np.array_equal(slab.voxels, volume.voxels[2:4])
    assert slab.position_mm((1, 3, 2)) == pytest.approx(volume.position_mm((3, 3, 2)))
    assert slab.sources == volume.sources[2:4]
    assert slab.sop_instance_uids == volume.sop_instance_uids[2:4]
    assert slab.digest == f"{volume.digest}[2:4]"
    assert volume.position_mm((0, 0, 0)) != slab.position_mm((0, 0, 0)), "the volume itself stays where it was"


def test_the_digest_depends_on_shape_and_values_not_on_memory(volume):
    voxels = volume.voxels
    assert voxel_digest(voxels) == volume.digest
    assert voxel_digest(np.asfortranarray(voxels)) == volume.digest
    assert voxel_digest(np.repeat(voxels, 2, axis=2)[..., ::2]) == volume.digest
    assert voxel_digest(voxels.reshape(9, 5, 7)) != volume.digest
    changed = voxels.copy()
    changed[0, 0, 0] += 1
    assert voxel_digest(changed) != volume.digest
    state = hashlib.sha256(b"(5, 9, 7) <f4" + voxels.tobytes())
    assert volume.digest == state.hexdigest(), "anyone can compute it"


@pytest.mark.parametrize(
    ("verdict", "state", "code"),
    [
        ("no_evidence", "broken", 1),
        ("inconclusive", "broken", 1),
        ("suspicious", "verified", 1),
        ("no_evidence", "contradictory", 0),
        ("no_evidence", "verified", 0),
        ("inconclusive", "absent", 3),
    ],
)
def test_a_broken_signature_decides_the_exit_code_and_nothing_else_of_provenance_does(verdict, state, code):
    series = SeriesResult(
        None, "CT", (), (1, 1, 1), None, verdict, None, None, (), (), (), Provenance(state), reasons=()
    )
    assert Report((StudyResult("x", None, (series,)),)).exit_code == code
    assert series.broken == (state == "broken")
