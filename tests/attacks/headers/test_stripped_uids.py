from __future__ import annotations

import numpy as np

from tamperscope.attacks.headers import StrippedUids

GROUPS = ("StudyInstanceUID", "SeriesInstanceUID")


def test_three_depths(forge):
    references = forge(StrippedUids(), depth="references")[0]
    assert "FrameOfReferenceUID" not in references
    assert all(word in references for word in (*GROUPS, "SOPInstanceUID"))
    groups = forge(StrippedUids(), depth="groups")[0]
    assert not any(word in groups for word in GROUPS)
    assert "SOPInstanceUID" in groups
    everything = forge(StrippedUids(), depth="all")[0]
    assert "SOPInstanceUID" not in everything


def test_without_references_something_else_goes(headers):
    for dataset in headers:
        del dataset.FrameOfReferenceUID
    drawn = {StrippedUids().sample(headers, np.random.default_rng(seed))["depth"] for seed in range(30)}
    assert drawn == {"groups", "all"}
