from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

from studies import image, stored


@pytest.fixture
def headers() -> list[Dataset]:
    """The headers of three CT slices, without pixels, that own up to lossy compression."""
    lossy = {"LossyImageCompression": "01", "LossyImageCompressionRatio": 9}
    found = [image("CT", stored((4, 4), 0, 9), k, **lossy) for k in range(3)]
    for dataset in found:
        del dataset.PixelData
    return found


@pytest.fixture
def forge(headers):
    """An attack and parameters to the forged headers; without parameters, those of a seed."""

    def forge(attack, seed=0, **params):
        drawn = attack.sample(headers, np.random.default_rng(seed))
        return attack.apply(headers, {**drawn, **params})

    return forge
