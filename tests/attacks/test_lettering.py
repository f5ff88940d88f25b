from __future__ import annotations

import numpy as np
import pytest

from tamperscope.attacks import lettering


@pytest.mark.parametrize("height", [8, 14, 40])
def test_capitals_have_about_the_height_that_was_asked_for(height):
    drawn = lettering.text("R", height)
    assert drawn.shape[0] == pytest.approx(height, rel=0.2)
    assert drawn.max() > 0.9
    assert drawn[0].any()
    assert drawn[:, -1].any(), "trimmed to the ink"


def test_more_letters_are_wider_and_none_are_nothing():
    assert lettering.text("PORTABLE", 12).shape[1] > 5 * lettering.text("R", 12).shape[1]
    assert not lettering.text("", 12).any()


def test_an_arrow_points_at_its_tip():
    drawn = lettering.arrow((64, 64), (32, 20), 0.0, 30, 2)
    rows, columns = np.nonzero(drawn)
    assert columns.min() == pytest.approx(20, abs=1)
    assert columns.max() == pytest.approx(50, abs=2), "its tail is to the right"
    assert rows.mean() == pytest.approx(32, abs=1)
    upwards = lettering.arrow((64, 64), (32, 20), 90.0, 30, 2)
    assert np.nonzero(upwards)[0].max() == pytest.approx(32, abs=1), "and here above"


def test_a_frame_is_empty_inside():
    drawn = lettering.frame((40, 40), (20, 20), (10, 16), 1)
    assert drawn[15, 12:29].all()
    assert not drawn[16:25, 13:28].any()


def test_what_would_leave_the_plane_is_moved_inside_and_what_is_larger_is_trimmed():
    block = np.ones((4, 6), np.float32)
    assert lettering.placed((20, 20), block, (0, 19))[:4, 14:].all()
    assert lettering.placed((3, 3), block, (1, 1)).all()
