"""What the routes of the service share."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Engine

from tamperscope.jobs import database
from tamperscope.jobs.audit import Audit
from tamperscope.records import JSON
from tamperscope.service.accounts import Accounts
from tamperscope.service.comparisons import Comparisons
from tamperscope.service.config import LOOPBACK, Config
from tamperscope.service.events import Events
from tamperscope.service.studies import Studies
from tamperscope.service.throttle import Throttle
from tamperscope.service.uploads import Uploads

BURST_S = 10.0


@dataclass
class Service:
    """Settings, database, and what is kept in both."""

    config: Config
    engine: Engine
    accounts: Accounts
    uploads: Uploads
    studies: Studies
    comparisons: Comparisons
    audit: Audit
    events: Events
    requests: Throttle
    failures: Throttle
    """Wrong tokens, passwords and keys: a bucket for each kind and host, or guesses of one kind shut out the others."""

    @classmethod
    def of(cls, config: Config, key: str = "") -> Service:
        """As a configuration says; ``key`` opens it while it has no users.

        Raises:
            UsageError: the database cannot be used.
        """
        config.folder.mkdir(0o700, parents=True, exist_ok=True)
        for name in ("uploads", "studies", "comparisons"):
            (config.folder / name).mkdir(0o700, exist_ok=True)
        engine, limits = database.connect(config.database), config.limits
        studies, uploads = Studies(config.folder, engine), Uploads(config.folder, engine, limits)
        return cls(
            config=config,
            engine=engine,
            accounts=Accounts(engine, config.storage.session_hours * 3600.0, key),
            uploads=uploads,
            studies=studies,
            comparisons=Comparisons(config.folder, engine, studies),
            audit=Audit(config.folder),
            events=Events(studies, uploads),
            requests=Throttle(limits.requests_per_minute, limits.requests_per_minute * BURST_S / 60.0),
            failures=Throttle(limits.logins_per_minute, limits.logins_per_minute),
        )

    def denied(self, kind: str, host: str, reason: str) -> None:
        """Note a wrong token, password or key that was taken from its bucket, and whether it was the last in it.

        What comes after that one is not listened to and leaves no line, or whoever guesses fills the disk.
        """
        last: dict[str, JSON] = {"last": True} if self.failures.empty(f"{kind} {host}") else {}
        self.audit.write("denied", host=host, reason=reason, **last)

    @cached_property
    def hosts(self) -> frozenset[str]:
        """Names to which it answers. Another site's page that resolves to this address asks by its own name."""
        server = self.config.server
        own = {*LOOPBACK} if server.loopback else {server.address.lower(), socket.gethostname().lower()}
        return frozenset({*own, *(host.lower() for host in server.hosts)})
