"""The tables: jobs, what the node received, what was handed to the service, and who may see it.

Times are seconds since 1970, UTC.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData()
UID = String(64)
SHA256 = String(64)
ID = String(32)
NAME = String(64)

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

USERS = Table(
    "users",
    METADATA,
    Column("name", NAME, primary_key=True),
    Column("role", String(16), nullable=False),
    Column("password", String(200)),  # argon2; None: by token alone
    Column("disabled", Boolean, nullable=False),
    Column("made", Float, nullable=False),
)

TOKENS = Table(
    "tokens",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("user", NAME, nullable=False, index=True),
    Column("label", String(100), nullable=False),
    Column("secret", String(200), nullable=False),  # argon2
    Column("made", Float, nullable=False),
    Column("expires", Float, nullable=False),
)

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("id", SHA256, primary_key=True),  # digest of what the cookie holds
    Column("user", NAME, nullable=False, index=True),
    Column("made", Float, nullable=False),
    Column("expires", Float, nullable=False),
)

UPLOADS = Table(
    "uploads",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("owner", NAME, nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("origin", String(16), nullable=False),  # files, stow
    Column("state", String(16), nullable=False, index=True),  # open, received, read, failed
    Column("bytes", BigInteger, nullable=False),  # as declared
    Column("made", Float, nullable=False),
    Column("changed", Float, nullable=False, index=True),
    Column("error", Text),
    Column("result", JSON),  # what was read of it
)

UPLOAD_FILES = Table(
    "upload_files",
    METADATA,
    Column("upload", ID, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

SCANS = Table(
    "scans",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("upload", ID, nullable=False, index=True),
    Column("owner", NAME, nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("study_uid", UID, index=True),
    Column("modalities", JSON, nullable=False),
    Column("series", Integer, nullable=False),
    Column("slices", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("state", String(16), nullable=False, index=True),  # gathering, waiting, running, done, failed
    Column("version", Integer, nullable=False),  # how often it was complete
    Column("progress", Float, nullable=False),
    Column("suspicion", Float, nullable=False, index=True),  # by which studies are sorted
    Column("verdict", String(16)),
    Column("probability", Float),
    Column("provenance", String(16)),
    Column("opinion", String(16)),  # of the latest review
    Column("error", Text),
    Column("made", Float, nullable=False),
    Column("changed", Float, nullable=False, index=True),
    Column("ended", Float),
    Column("expires", Float),
)

REVIEWS = Table(
    "reviews",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("scan", ID, nullable=False, index=True),
    Column("series", String(100), nullable=False),
    Column("digest", SHA256, nullable=False),  # of the pixels that were judged
    Column("opinion", String(16), nullable=False),
    Column("comment", Text, nullable=False),
    Column("user", NAME, nullable=False),
    Column("time", Float, nullable=False),
)

COMPARISONS = Table(
    "comparisons",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("owner", NAME, nullable=False),
    Column("before", ID, nullable=False, index=True),
    Column("after", ID, nullable=False, index=True),
    Column("state", String(16), nullable=False),  # waiting, done, failed
    Column("error", Text),
    Column("result", JSON),
    Column("made", Float, nullable=False),
    Column("changed", Float, nullable=False),
)
