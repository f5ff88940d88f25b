"""What the tests of the node share."""

from __future__ import annotations

import pytest

pytest.importorskip("pynetdicom", reason="the extra [dicom] is not installed")

import nodes


@pytest.fixture
def node(tmp_path):
    """(parts, port) of a listener."""
    with nodes.listening(nodes.settings(tmp_path)) as found:
        yield found
