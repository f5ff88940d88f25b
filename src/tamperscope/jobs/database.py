"""The database: SQLite in a file unless a URL says PostgreSQL. Its schema is brought up to date by migrations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

from tamperscope.errors import MissingExtraError, UsageError

MIGRATIONS = Path(__file__).parent / "migrations"
READING = "tamperscope_reading"
BUSY_MS = 30_000
"""How long SQLite waits for another process that writes."""


def connect(url: str) -> Engine:
    """An engine for ``url``; a transaction on SQLite locks at once and is on the disk when it is committed.

    Raises:
        UsageError: the URL cannot be understood, or its driver is not installed.
    """
    try:
        parsed = make_url(url)
        sqlite = parsed.get_backend_name() == "sqlite"
        engine = create_engine(parsed, pool_pre_ping=not sqlite, hide_parameters=True)  # errors name no study
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "the driver", "postgres") from error
    except (ArgumentError, NoSuchModuleError) as error:
        hint = "sqlite:////var/lib/tamperscope/node.db or postgresql+psycopg://user@host/name"
        raise UsageError("the database's URL cannot be understood", hint=hint) from error
    if sqlite:
        event.listen(engine, "connect", _durable)
        event.listen(engine, "begin", _locked)
    return engine


def migrate(engine: Engine) -> None:
    """Bring the schema up to the newest version; does nothing where it is.

    Raises:
        UsageError: the database cannot be reached or written to, or a newer program has been at it.
    """
    try:
        with engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OperationalError as error:
        raise unreachable(engine, error) from error
    except CommandError as error:
        current, newest = version(engine)
        found = f"the database has version {current}, this program knows up to {newest}"
        raise UsageError(found, hint="install the newer program, or restore the backup from before it") from error


def version(engine: Engine) -> tuple[str | None, str | None]:
    """(version of the schema that is there, newest version).

    Raises:
        UsageError: the database cannot be reached.
    """
    try:
        with engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
    except OperationalError as error:
        raise unreachable(engine, error) from error
    return current, ScriptDirectory(str(MIGRATIONS)).get_current_head()


def missing(engine: Engine) -> bool:
    """Whether it is a file that is not there; to look into it would make it."""
    return engine.url.get_backend_name() == "sqlite" and not Path(str(engine.url.database)).is_file()


def ready(engine: Engine) -> None:
    """See that the schema is the newest, without changing anything.

    Raises:
        UsageError: it is not, or the database cannot be reached.
    """
    if missing(engine):
        raise UsageError(f"there is no database at {engine.url.database}", hint="start the node once")
    current, newest = version(engine)
    if current != newest:
        raise UsageError(f"the database has version {current}, this program {newest}", hint="start the node anew")


def unreachable(engine: Engine, error: OperationalError) -> UsageError:
    """What to say where there is no connection; the URL without its password."""
    where = engine.url.render_as_string(hide_password=True)
    return UsageError(f"the database {where} cannot be used: {error.orig}", hint="check path, server and rights")


def _durable(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions begin where `_locked` says so
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def reading(engine: Engine) -> Connection:
    """A connection that only reads: on SQLite it waits for nobody who writes, and nobody for it."""
    return engine.connect().execution_options(**{READING: True})


def _locked(connection: Connection) -> None:
    if connection.get_execution_options().get(READING):
        connection.exec_driver_sql("BEGIN")
        return
    # A transaction that reads first and writes later could find the database changed and would have to be repeated.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
