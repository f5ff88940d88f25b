from __future__ import annotations

from dataclasses import replace

import pytest
from pydicom.dataset import Dataset

from tamperscope import phantom
from tamperscope.errors import UsageError
from tamperscope.writers import mark as marks

VOLUME = phantom.chest((1, 16, 16), (2.5, 5.0, 5.0))
OTHER = replace(VOLUME, voxels=VOLUME.voxels + 1)


def test_what_differs_needs_the_mark(mark):
    marks.check(mark, VOLUME, OTHER)
    marks.check(None, VOLUME, VOLUME)
    with pytest.raises(UsageError):
        marks.check(None, VOLUME, OTHER)
    with pytest.raises(UsageError):
        marks.check(None, VOLUME, VOLUME.slab(0, 0))
    with pytest.raises(UsageError):
        marks.check(None, VOLUME, VOLUME, edited=True)


def test_the_texts_are_ascii_and_fit_their_fields(mark):
    long = replace(mark, attack="+".join(["ct-gan-remove"] * 40))
    for text in (mark.text, mark.short, long.text):
        assert text.isascii()
        assert text.startswith("Synthetic data: YES")
    assert len(mark.short) < 80, "NIfTI's descrip"
    assert len(long.text) <= 1024, "DICOM's ST"


def test_stamping_says_it_once_more_and_keeps_what_was_said(mark):
    dataset = Dataset()
    marks.stamp(dataset, mark)
    marks.stamp(dataset, mark)
    assert dataset.SyntheticData == "YES"
    assert len(dataset.ContributingEquipmentSequence) == 2


@pytest.mark.parametrize("role", ["forged", "benign", "twin"])
def test_the_role_is_the_first_part_of_every_file_name(mark, role):
    assert marks.prefix(replace(mark, role=role)) == f"{role}-"
    assert marks.prefix(None) == "twin-"
