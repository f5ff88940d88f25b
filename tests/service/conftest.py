"""What the tests of the service share; they need the extra."""

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("argon2")

from databases import KINDS, database
from services import caller, chest, handed_in, service, studies_of, work


@pytest.fixture(scope="module", params=KINDS)
def one(request, tmp_path_factory):
    """A service on each kind of database, shared by the tests of a file."""
    folder = tmp_path_factory.mktemp("service")
    with database(request.param, folder) as url:
        made = service(folder, url)
        yield made
        made.engine.dispose()


@pytest.fixture
def fresh(tmp_path):
    """A service of a test's own, on SQLite."""
    made = service(tmp_path / "fresh")
    yield made
    made.engine.dispose()


def _caller(role):
    @pytest.fixture(scope="module")
    def fixture(one):
        with caller(one, role) as client:
            yield client

    return fixture


viewer, submitter, administrator = _caller("viewer"), _caller("submitter"), _caller("administrator")


@pytest.fixture(scope="module")
def judged(one, submitter, tmp_path_factory):
    """A study that was handed in and judged; tests leave it as it is."""
    upload = handed_in(submitter, chest(tmp_path_factory.mktemp("ct")))
    work(one)
    (study,) = studies_of(submitter, upload)
    return study
