from __future__ import annotations

import numpy as np
import pytest

from tamperscope.attacks.headers import RemovedLossyFlags
from tamperscope.errors import AttackError


def test_the_flag_and_its_details_go(forge):
    absent = forge(RemovedLossyFlags(), flag="absent")[0]
    assert "LossyImageCompression" not in absent
    assert "LossyImageCompressionRatio" not in absent
    denied = forge(RemovedLossyFlags(), flag="00")[0]
    assert denied.LossyImageCompression == "00"
    assert "LossyImageCompressionRatio" not in denied


def test_where_nothing_was_lossy_there_is_nothing_to_remove(headers):
    for dataset in headers:
        dataset.LossyImageCompression = "00"
    with pytest.raises(AttackError, match="no flag to remove"):
        RemovedLossyFlags().sample(headers, np.random.default_rng(0))
