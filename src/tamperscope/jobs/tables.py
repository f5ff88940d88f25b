"""The tables: jobs, what was received, and how far each way in was read. Times are seconds since 1970, UTC."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

METADATA = MetaData()
UID = String(64)
SHA256 = String(64)

JOBS = Table(
    "jobs",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("key", String(200), nullable=False, unique=True),  # the same work is put in once
    Column("payload", JSON, nullable=False),
    Column("state", String(16), nullable=False),  # waiting, leased, done, dead
    Column("tries", Integer, nullable=False, default=0),
    Column("due", Float, nullable=False),
    Column("leased_until", Float),
    Column("holder", String(100)),
    Column("error", Text),
    Column("result", JSON),
    Column("made", Float, nullable=False),
    Column("ended", Float),
    Index("jobs_next", "state", "kind", "due"),
)

INSTANCES = Table(
    "instances",
    METADATA,
    # The pair is the key: another object under a UID that is known is kept too, and found to be in conflict.
    Column("sop_uid", UID, primary_key=True),
    Column("sha256", SHA256, primary_key=True),
    Column("study_uid", UID, nullable=False, index=True),
    Column("series_uid", UID, nullable=False),
    Column("path", Text, nullable=False),  # below the folder of the store
    Column("source", String(100), nullable=False),
    Column("image", Boolean, nullable=False),  # False: a report, a result of ours, anything that is not analysed
    Column("received", Float, nullable=False),
)

STUDIES = Table(
    "studies",
    METADATA,
    Column("study_uid", UID, primary_key=True),
    Column("opened", Float, nullable=False),
    Column("changed", Float, nullable=False),
    Column("open", Boolean, nullable=False),
    Column("version", Integer, nullable=False, default=0),  # how often it was complete
    Index("studies_open", "open", "changed"),
)

COMMITMENTS = Table(
    "commitments",
    METADATA,
    Column("transaction_uid", UID, primary_key=True),
    Column("ae_title", String(16), nullable=False),  # whose word counts
    Column("instances", JSON, nullable=False),  # SOP Instance UIDs that it is asked to vouch for
    Column("failed", JSON),  # those that it does not
    Column("reported", Float),
)

CURSORS = Table(
    "cursors",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("value", String(200), nullable=False),
)

LEDGER = Table(
    "ledger",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("time", Float, nullable=False),
    Column("instance", UID, nullable=False),
    Column("frame", Integer, nullable=False),
    Column("pixels", SHA256, nullable=False),
    Column("previous", SHA256, nullable=False),
    Column("digest", SHA256, nullable=False),
    UniqueConstraint("instance", "frame"),
)
