"""Who may do what: users with roles, their tokens for programs, their sessions on the page."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Engine, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from tamperscope.errors import UsageError
from tamperscope.jobs import database
from tamperscope.jobs.tables import SESSIONS, TOKENS, USERS
from tamperscope.service.config import DAY_S

Role = Literal["viewer", "submitter", "administrator"]
ROLES: tuple[Role, ...] = ("viewer", "submitter", "administrator")
"""Each may do what those before it may: look; hand in, review, compare and delete what is its own; everything."""
LOCAL = "local"
"""Whoever started a service that has no users; known by the key of this run."""
TOKEN_PREFIX = "tsk"  # noqa: S105 - what tokens begin with, by which scanners for lost secrets know them
LEAST_PASSWORD, MOST_PASSWORD = 10, 200
MOST_CACHED = 1000
MOST_TOKENS = 50
"""Of one user."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks."""

    name: str
    role: Role
    csrf: str = field(default="", repr=False)
    """What a form or a script of the page has to hand back; empty where a token was shown, which no browser adds."""

    def may(self, role: Role) -> bool:
        """Whether it has at least this role."""
        return ROLES.index(self.role) >= ROLES.index(role)


@dataclass(frozen=True, slots=True)
class User:
    """A user as an administrator sees it."""

    name: str
    role: Role
    disabled: bool
    made: float
    has_password: bool


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret."""

    id: str
    label: str
    made: float
    expires: float


@dataclass
class Accounts:
    """Users in the database. ``key`` opens a service for as long as it has none, and nothing else."""

    engine: Engine
    session_s: float = 43_200.0
    key: str = field(default="", repr=False)
    now: Callable[[], float] = time.time
    hasher: PasswordHasher = field(default_factory=PasswordHasher)
    _checked: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    """Of tokens that were right, a digest of what was shown to the slow digest that it fits. Whose it is, and whether
    it still is, the database is asked each time, for another process may change it."""
    _hashing: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    """One at a time: argon2 takes 64 MiB each time, and whoever tries passwords chooses how many at once."""

    # --- users ---

    def add(self, name: str, role: Role, password: str | None = None) -> None:
        """Make a user; without a password it has tokens alone.

        Raises:
            UsageError: there is one of this name, or name, role or password will not do.
        """
        sound_name(name)
        _sound_role(role)
        values = {"name": name, "role": role, "password": self._hashed(password), "disabled": False, "made": self.now()}
        try:
            with self.engine.begin() as connection:
                connection.execute(insert(USERS).values(**values))
        except IntegrityError as error:
            raise UsageError(f"there is a user {name} already", hint="choose another name") from error

    def change(
        self, name: str, *, role: Role | None = None, password: str | None = None, disabled: bool | None = None
    ) -> None:
        """Change a user. A new password or a loss of rights ends its sessions.

        Raises:
            UsageError: there is none, it is the last administrator, or the new values will not do.
        """
        values: dict[str, Any] = {}
        if role is not None:
            _sound_role(role)
            values["role"] = role
        if password is not None:
            values["password"] = self._hashed(password)
        if disabled is not None:
            values["disabled"] = disabled
        with self.engine.begin() as connection:
            self._alone(connection)
            if values and not connection.execute(update(USERS).where(USERS.c.name == name).values(**values)).rowcount:
                raise UsageError(f"there is no user {name}", hint="see the list of users")
            connection.execute(delete(SESSIONS).where(SESSIONS.c.user == name))
            self._guarded(connection)

    def remove(self, name: str) -> None:
        """Remove a user with its tokens and sessions; what it handed in stays.

        Raises:
            UsageError: there is none, or it is the last administrator.
        """
        with self.engine.begin() as connection:
            self._alone(connection)
            if not connection.execute(delete(USERS).where(USERS.c.name == name)).rowcount:
                raise UsageError(f"there is no user {name}", hint="see the list of users")
            connection.execute(delete(TOKENS).where(TOKENS.c.user == name))
            connection.execute(delete(SESSIONS).where(SESSIONS.c.user == name))
            self._guarded(connection)

    def users(self) -> list[User]:
        """All of them by name."""
        with database.reading(self.engine) as connection:
            rows = connection.execute(select(USERS).order_by(USERS.c.name)).mappings()
            return [
                User(row["name"], row["role"], row["disabled"], row["made"], row["password"] is not None)
                for row in rows
            ]

    def any(self) -> bool:
        """Whether there is a user at all."""
        with database.reading(self.engine) as connection:
            return connection.execute(select(USERS.c.name).limit(1)).scalar() is not None

    def _alone(self, connection: Any) -> None:
        """No two changes at once: two administrators who remove each other would leave nobody in charge."""
        connection.execute(select(USERS.c.name).order_by(USERS.c.name).with_for_update())

    def _guarded(self, connection: Any) -> None:
        """A change that would leave nobody in charge is undone, for the transaction ends with the error."""
        left = select(func.count()).select_from(USERS).where(USERS.c.role == ROLES[-1], ~USERS.c.disabled)
        if not connection.execute(left).scalar_one():
            raise UsageError("this is the last administrator", hint="make another user an administrator first")

    def _hashed(self, password: str | None) -> str | None:
        if password is None:
            return None
        if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
            found = f"the password has {len(password)} characters"
            raise UsageError(found, hint=f"take {LEAST_PASSWORD} to {MOST_PASSWORD}")
        return self.hasher.hash(password)

    # --- sessions ---

    def login(self, name: str, password: str) -> str | None:
        """A session's secret for the cookie; None if name or password is wrong."""
        row = self._row(name)
        known = row is not None and not row["disabled"] and row["password"] is not None
        stored = row["password"] if row is not None and known else self._nobody
        if not self._matches(stored, password[: MOST_PASSWORD + 1]) or not known:
            return None
        return self.session(name)

    def change_password(self, name: str, old: str, new: str) -> bool:
        """Change one's own password; False if the old one is wrong.

        Raises:
            UsageError: the new one will not do.
        """
        row = self._row(name)
        if row is None or row["password"] is None or not self._matches(row["password"], old[: MOST_PASSWORD + 1]):
            return False
        self.change(name, password=new)
        return True

    def session(self, name: str) -> str:
        """Begin a session of a user who is known by now."""
        secret = secrets.token_urlsafe(32)
        values = {"id": _digest(secret), "user": name, "made": self.now(), "expires": self.now() + self.session_s}
        with self.engine.begin() as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.expires < self.now()))
            connection.execute(insert(SESSIONS).values(**values))
        return secret

    def by_session(self, secret: str) -> Identity | None:
        """Who has this cookie."""
        query = select(SESSIONS.c.user).where(SESSIONS.c.id == _digest(secret), SESSIONS.c.expires >= self.now())
        with database.reading(self.engine) as connection:
            name = connection.execute(query).scalar()
        if name is None:
            return None
        csrf = hmac.new(secret.encode(), b"csrf", hashlib.sha256).hexdigest()
        if name == LOCAL:
            return Identity(LOCAL, ROLES[-1], csrf) if self.key and not self.any() else None
        row = self._row(name)
        return None if row is None or row["disabled"] else Identity(name, row["role"], csrf)

    def logout(self, secret: str) -> None:
        """End a session."""
        with self.engine.begin() as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.id == _digest(secret)))

    # --- tokens ---

    def new_token(self, name: str, label: str, days: float) -> tuple[Token, str]:
        """A token of a user, and its secret, which is told this once.

        Raises:
            UsageError: it has as many as it may, or is the one of a service without users, whose token is the key.
        """
        if self._row(name) is None:
            raise UsageError(f"{name} has no tokens", hint="add a user first: tamperscope serve users add NAME")
        token = Token(secrets.token_hex(8), label, self.now(), self.now() + days * DAY_S)
        secret = secrets.token_urlsafe(32)
        values = {"user": name, "secret": self.hasher.hash(secret), "label": label}
        with self.engine.begin() as connection:
            self._room(connection, name)
            connection.execute(insert(TOKENS).values(id=token.id, made=token.made, expires=token.expires, **values))
        return token, f"{TOKEN_PREFIX}_{token.id}_{secret}"

    def _room(self, connection: Any, name: str) -> None:
        """Sweep a user's tokens that are over, and see that there may be one more."""
        mine = TOKENS.c.user == name
        connection.execute(select(USERS.c.name).where(USERS.c.name == name).with_for_update())  # no two at once
        connection.execute(delete(TOKENS).where(mine, TOKENS.c.expires < self.now()))
        if connection.execute(select(func.count()).select_from(TOKENS).where(mine)).scalar_one() >= MOST_TOKENS:
            raise UsageError(f"{name} has {MOST_TOKENS} tokens", hint="drop one that is not used any more")

    def tokens(self, name: str) -> list[Token]:
        """Those of a user, the newest first."""
        query = select(TOKENS).where(TOKENS.c.user == name).order_by(TOKENS.c.made.desc(), TOKENS.c.id)
        with database.reading(self.engine) as connection:
            rows = connection.execute(query).mappings()
            return [Token(row["id"], row["label"], row["made"], row["expires"]) for row in rows]

    def drop_token(self, name: str, token_id: str) -> bool:
        """Make a token worthless; False if the user has none of this number."""
        chosen = (TOKENS.c.id == token_id, TOKENS.c.user == name)
        with self.engine.begin() as connection:
            return bool(connection.execute(delete(TOKENS).where(*chosen)).rowcount)

    def by_token(self, shown: str) -> Identity | None:
        """Who has this token, or the key of the run."""
        if self.is_key(shown):
            return Identity(LOCAL, ROLES[-1])
        prefix, _, rest = shown.partition("_")
        token_id, _, secret = rest.partition("_")
        if prefix != TOKEN_PREFIX or len(shown) > MOST_PASSWORD:
            return None
        query = select(TOKENS.c.secret, USERS.c.name, USERS.c.role).join(USERS, USERS.c.name == TOKENS.c.user)
        query = query.where(TOKENS.c.id == token_id, TOKENS.c.expires >= self.now(), ~USERS.c.disabled)
        with database.reading(self.engine) as connection:
            row = connection.execute(query).one_or_none()
        if row is None or not self._fits(row[0], secret, _digest(shown)):
            self._checked.pop(_digest(shown), None)
            return None
        return Identity(row[1], row[2])

    def seen(self, shown: str) -> bool:
        """Whether this was a good token once, or the key of the run: so much is known without a slow hash."""
        return self._same_key(shown) or _digest(shown) in self._checked

    def is_key(self, shown: str) -> bool:
        """Whether this is the key of a service without users."""
        return self._same_key(shown) and not self.any()

    def _same_key(self, shown: str) -> bool:
        return bool(self.key) and hmac.compare_digest(shown.encode(), self.key.encode())

    def _fits(self, stored: str, secret: str, digest: str) -> bool:
        """Whether a token fits; slowly the first time alone, for argon2 is meant to be slow."""
        if self._checked.get(digest) == stored:
            return True
        if not self._matches(stored, secret):
            return False
        if len(self._checked) >= MOST_CACHED:
            self._checked.clear()
        self._checked[digest] = stored
        return True

    # --- both ---

    def _row(self, name: str) -> dict[str, Any] | None:
        with database.reading(self.engine) as connection:
            row = connection.execute(select(USERS).where(USERS.c.name == name)).mappings().one_or_none()
        return None if row is None else dict(row)

    def _matches(self, stored: str, shown: str) -> bool:
        with suppress(VerificationError, InvalidHashError), self._hashing:
            return self.hasher.verify(stored, shown)
        return False

    @cached_property
    def _nobody(self) -> str:
        """A password that nobody has: to ask for an unknown user takes as long as for a known one."""
        return self.hasher.hash(secrets.token_urlsafe(32))


def sound_name(name: str) -> None:
    """That a name can be one of a user.

    Raises:
        UsageError: it cannot.
    """
    plain = all(sign.isascii() and (sign.isalnum() or sign in "._@-") for sign in name)
    if not (plain and 1 <= len(name) <= 64) or name == LOCAL:
        raise UsageError(f"a user cannot be called {name[:64]!r}", hint="1 to 64 letters, digits and . _ @ -")


def _sound_role(role: str) -> None:
    if role not in ROLES:
        raise UsageError(f"there is no role {role[:32]!r}", hint=f"roles are {', '.join(ROLES)}")


def _digest(secret: str) -> str:
    """What is stored of a session: 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()
