from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from tamperscope.errors import UsageError
from tamperscope.jobs.database import connect, migrate, version
from tamperscope.jobs.tables import METADATA


def test_migrations_make_exactly_the_tables_of_the_code(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_migrating_twice_changes_nothing(engine):
    before = version(engine)
    migrate(engine)
    assert version(engine) == before
    assert before[0] == before[1] == "0002"


def test_a_database_is_empty_before_it_is_migrated(url):
    engine = connect(url)
    assert version(engine)[0] is None
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_sqlite_has_what_it_acknowledges_on_the_disk(tmp_path):
    engine = connect(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
    engine.dispose()


@pytest.mark.parametrize("wrong", ["nonsense", "mysql-nothing://x", "oracle+nodriver://x"])
def test_a_url_that_means_nothing_is_said(wrong):
    with pytest.raises(UsageError, match=r"URL cannot be understood|is not installed"):
        connect(wrong)


def test_a_database_that_cannot_be_opened_is_said_without_its_password(tmp_path):
    engine = connect(f"sqlite:///{tmp_path / 'no' / 'folder' / 'a.db'}")
    with pytest.raises(UsageError, match=r"unable to open database file"):
        migrate(engine)
    with pytest.raises(UsageError, match=r"unable to open database file"):
        version(engine)


def test_a_database_of_a_newer_program_is_left_alone(engine):
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UsageError, match="the database has version 9999, this program knows up to 0002"):
        migrate(engine)
