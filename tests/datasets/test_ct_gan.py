from __future__ import annotations

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.datasets import ct_gan
from tamperscope.errors import UnreadableError

LABELS = """type,uuid,slice,x,y
FB,1001,62,16,5
FM,1001,75,3,20
TB,1001,80,9,9
TM,1002,12,9,9
FM,1003,55,1,2
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "labels.csv").write_text(LABELS, encoding="utf-8")
    for seed, (scan, name) in enumerate([("1001", "62"), ("1001", "75"), ("1002", "12")]):
        volume = phantom.chest((1, 24, 20), (2.5, 0.9, 0.9), np.random.default_rng(seed))
        (path,) = phantom.write_dicom(volume, tmp_path / scan)
        path.rename(path.with_name(f"{name}.dcm"))
    return tmp_path


def test_only_tampered_places_whose_slice_is_there_are_listed(root):
    found = ct_gan.labels(root)
    assert found == (
        ct_gan.Label("1001", "62", "removed", row=5, column=16),
        ct_gan.Label("1001", "75", "injected", row=20, column=3),
    )
    assert [label.path(root).name for label in found] == ["62.dcm", "75.dcm"]


def test_each_place_comes_with_its_slice(root):
    found = list(ct_gan.volumes(root))
    assert [label for label, _ in found] == list(ct_gan.labels(root))
    assert all(volume.shape == (1, 24, 20) for _, volume in found)
    assert found[0][1].digest != found[1][1].digest


def test_none_of_the_slices_there_is_an_error(root):
    (root / "labels.csv").write_text("type,uuid,slice,x,y\nFB,7,7,7,7\n", encoding="utf-8")
    with pytest.raises(UnreadableError, match="no slice"):
        ct_gan.labels(root)


@pytest.mark.parametrize(
    "text",
    ["kind,scan\nFB,1\n", "type,uuid,slice,x,y\nFB,1001,62,left,5\n", "type,uuid,slice,x,y\nFB,1001\n"],
    ids=["other columns", "no number", "short row"],
)
def test_a_damaged_table_is_an_error_that_names_it(root, text):
    (root / "labels.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UnreadableError, match=r"labels\.csv"):
        ct_gan.labels(root)
    (root / "labels.csv").write_bytes(b"\xff\xfe\x00type")
    with pytest.raises(UnreadableError, match=r"labels\.csv"):
        ct_gan.labels(root)
