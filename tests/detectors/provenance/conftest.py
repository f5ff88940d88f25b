from __future__ import annotations

import pytest

from builders import to_bytes
from tamperscope.detectors.provenance.opened import opened
from tamperscope.limits import DEFAULT_LIMITS


@pytest.fixture
def of():
    """A file as checks see it: of a data set, or of bytes."""

    def make(thing, kind="dicom", source="x.dcm"):
        data = thing if isinstance(thing, bytes) else to_bytes(thing)
        return opened(data, source, kind, DEFAULT_LIMITS)

    return make


@pytest.fixture
def said():
    """(check, severity, state) of what a check yields."""

    def make(seen):
        return [(one.finding.check, one.finding.severity, one.state) for one in seen]

    return make
