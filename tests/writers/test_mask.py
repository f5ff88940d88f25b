from __future__ import annotations

import nibabel as nib
import numpy as np

from tamperscope import phantom
from tamperscope.writers import mask as masks


def test_it_reads_back_on_the_grid_of_the_volume_and_is_the_same_every_time(tmp_path):
    volume = phantom.chest((3, 8, 10), (2.5, 0.7, 0.9))
    mask = np.random.default_rng(0).random(volume.shape) > 0.7
    for name in ("a", "b"):
        masks.write(volume, mask, tmp_path / f"{name}{masks.SUFFIX}")
    image = nib.load(tmp_path / f"a{masks.SUFFIX}")
    assert image.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), mask)
    x, y, z = volume.position_mm((2, 5, 7))
    assert np.allclose(image.affine @ [7, 5, 2, 1], [-x, -y, z, 1])
    assert (tmp_path / f"a{masks.SUFFIX}").read_bytes() == (tmp_path / f"b{masks.SUFFIX}").read_bytes()
