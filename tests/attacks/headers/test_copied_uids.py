from __future__ import annotations

import copy

import numpy as np
import pytest

from tamperscope.attacks.headers import CopiedUids
from tamperscope.errors import AttackError


def test_the_uids_of_the_source_come_back_in_images_that_had_others(headers):
    params = CopiedUids().sample(headers, np.random.default_rng(0)) | {"kind": "source"}
    params["images"] = [dataset.SOPInstanceUID for dataset in headers]
    others = copy.deepcopy(headers)
    for number, dataset in enumerate(others):
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "2.25.1", "2.25.2"
        dataset.SOPInstanceUID = f"2.25.3{number}"
    for forged, source in zip(CopiedUids().apply(others, params), headers, strict=True):
        assert forged.StudyInstanceUID == source.StudyInstanceUID
        assert forged.SeriesInstanceUID == source.SeriesInstanceUID
        assert forged.SOPInstanceUID == forged.file_meta.MediaStorageSOPInstanceUID == source.SOPInstanceUID


def test_the_other_kind_numbers_the_slices(headers):
    drawn = [CopiedUids().sample(headers, np.random.default_rng(seed)) for seed in range(20)]
    assert {tuple(params["images"]) for params in drawn if params["kind"] == "numbered"} == {("1", "2", "3")}


def test_another_number_of_images_and_missing_uids_are_refused(headers):
    params = CopiedUids().sample(headers, np.random.default_rng(0))
    with pytest.raises(AttackError, match="names 3 images, the series has 2"):
        CopiedUids().apply(headers[:2], params)
    del headers[1].SOPInstanceUID
    with pytest.raises(AttackError, match="lack UIDs"):
        CopiedUids().sample(headers, np.random.default_rng(0))
