from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from datasets import fakes
from tamperscope.datasets import images
from tamperscope.errors import TamperscopeError, UnreadableError


def test_every_format_is_planes(tmp_path):
    (dicom,) = fakes.series(tmp_path / "scan", 1, 1)
    fakes.picture(tmp_path / "a.png", 2)
    Image.fromarray(np.zeros((6, 5, 3), dtype=np.uint8)).save(tmp_path / "colour.png")
    np.save(tmp_path / "flat.npy", np.arange(12, dtype=np.int16).reshape(3, 4))
    np.save(tmp_path / "deep.npy", np.zeros((2, 3, 4)))
    shapes = {path.name: images.planes(path).shape for path in (dicom, *sorted(tmp_path.glob("*.*")))}
    assert shapes == {
        "IM0001.dcm": (1, 24, 24),
        "a.png": (1, 40, 40),
        "colour.png": (1, 6, 5),
        "flat.npy": (1, 3, 4),
        "deep.npy": (2, 3, 4),
    }


@pytest.mark.parametrize("shape", [(), (3,), (2, 2, 2, 2), (0, 4)])
def test_other_arrays_are_no_pictures(tmp_path, shape):
    np.save(tmp_path / "odd.npy", np.zeros(shape))
    with pytest.raises(UnreadableError, match=r"odd\.npy"):
        images.planes(tmp_path / "odd.npy")


def test_objects_are_never_loaded(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(UnreadableError, match=r"objects\.npy"):
        images.planes(tmp_path / "objects.npy")


def test_no_file_and_no_image_are_errors(tmp_path):
    (tmp_path / "text.png").write_text("no", encoding="utf-8")
    for name in ("text.png", "gone.npy", "gone.dcm"):
        with pytest.raises(TamperscopeError, match=name):
            images.planes(tmp_path / name)
