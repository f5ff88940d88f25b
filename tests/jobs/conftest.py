"""An engine with the newest schema, for each kind of database."""

from __future__ import annotations

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [dicom] is not installed")

import databases
from tamperscope.jobs.database import connect, migrate


@pytest.fixture(params=databases.KINDS)
def url(request, tmp_path):
    with databases.database(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def engine(url):
    made = connect(url)
    migrate(made)
    yield made
    made.dispose()
