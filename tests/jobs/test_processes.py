"""Processes that belong together."""

import threading

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [dicom] is not installed")

from tamperscope.jobs.processes import Part, watch


def test_a_process_that_could_not_be_started_is_not_ended():
    stop = threading.Event()
    with pytest.raises(TypeError, match="pickle"):
        watch([Part("part", print, (threading.Lock(),))], "json", stop, lambda *_: None)
