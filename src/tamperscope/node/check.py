"""Does the configuration work? Asked of the disk, the database, the models, the ports, and every peer."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import requests
from pynetdicom import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from tamperscope import detectors, weights
from tamperscope.errors import TamperscopeError, UsageError
from tamperscope.jobs import database
from tamperscope.jobs.deliver import Destination, association, password
from tamperscope.node.config import Config
from tamperscope.node.listener import context_of, free
from tamperscope.report.dicom import SOP_CLASSES

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    well: bool
    words: str


def check(config: Config) -> Iterator[Finding]:
    """Every finding in turn; no image is sent, and nothing is made but the node's folder."""
    yield _tried("folder", lambda: _folder(config))
    yield _tried("database", lambda: _database(config))
    yield _tried("models", lambda: _models(config))
    if config.tls is not None:
        tls = config.tls
        yield _tried("TLS", lambda: str(context_of(tls, server=True) and "certificate, key and authorities load"))
    yield _tried("listener", lambda: _listener(config))
    for destination in config.destinations.values():
        yield _tried(f"destination {destination.name}", partial(_destination, config, destination))
    if config.orthanc is not None:
        yield _tried("Orthanc", lambda: _orthanc(config))
    for folder in config.folders:
        yield Finding(
            f"folder {folder.path}", folder.path.is_dir(), "is there" if folder.path.is_dir() else "is missing"
        )
    if not config.peers and config.orthanc is None and not config.folders:
        yield Finding("ways in", False, "no [[peer]], no [orthanc], no [[folder]]: nothing can come in")
    if not config.destinations:
        yield Finding("destinations", False, "no [[destination]]: results stay in the node's folder")


def _tried(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except TamperscopeError as error:
        return Finding(what, False, str(error))
    except OSError as error:
        return Finding(what, False, str(error.strerror or error))


def _folder(config: Config) -> str:
    config.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    probe = config.folder / ".tamperscope"
    probe.touch()
    probe.unlink()
    room = shutil.disk_usage(config.folder).free
    if room < config.listener.free_bytes:
        least = config.listener.free_bytes / 1e9
        raise UsageError(f"{room / 1e9:.1f} GB are free, {least:.1f} are to stay free", hint="make room")
    return f"{config.folder}, {room / 1e9:.1f} GB free"


def _database(config: Config) -> str:
    engine = database.connect(config.database)
    where = engine.url.render_as_string(hide_password=True)
    if database.missing(engine):
        return f"{where}, will be made when the node starts"
    current, newest = database.version(engine)
    state = "up to date" if current == newest else "will be brought up to date when the node starts"
    return f"{where}, {state}"


def _models(config: Config) -> str:
    cards = (detectors.chosen_card(config.model.name),) if config.model.name else detectors.default_cards()
    for card in cards:
        if card.file is not None:
            weights.session(card, 1)
    return ", ".join(card.name for card in cards)


def _listener(config: Config) -> str:
    where = f"{config.ae_title} at {config.listener.address}:{config.listener.port}"
    try:
        free(config)
    except UsageError:
        return f"{where}: the port is in use, by the running node or by another program"
    return f"{where}, {len(config.peers)} peers may send"


def _destination(config: Config, one: Destination) -> str:
    if one.kind == "stow":
        return _stow(one)
    tls = config.tls
    context = (lambda: context_of(tls, server=False)) if tls is not None else None
    wanted = [uid for kind in one.objects for uid in SOP_CLASSES[kind]]
    contexts = [build_context(Verification), *(build_context(uid) for uid in wanted)]
    with association(one, config.ae_title, contexts, context) as made:
        status = made.send_c_echo()
        taken = {context.abstract_syntax for context in made.accepted_contexts}
    if not status or status.Status != 0:
        raise UsageError("C-ECHO got no answer", hint="see its log")
    missing = [kind for kind in one.objects if not taken & set(SOP_CLASSES[kind])]
    if missing:
        raise UsageError(f"it takes no {', '.join(missing)}", hint="leave these out of its objects")
    return f"C-ECHO answered, takes {', '.join(one.objects)}"


def _stow(one: Destination) -> str:
    auth = (one.user, password(one.password_file)) if one.user else None
    return _asked(f"{one.url.rstrip('/')}/studies?limit=1", auth)


def _orthanc(config: Config) -> str:
    one = config.orthanc
    if one is None:
        return ""
    auth = (one.user, password(one.password_file)) if one.user else None
    return _asked(f"{one.url.rstrip('/')}/system", auth)


def _asked(url: str, auth: tuple[str, str] | None) -> str:
    try:
        answer = requests.get(
            url, auth=auth, timeout=TIMEOUT_S, headers={"Accept": "application/json, application/dicom+json"}
        )
    except requests.RequestException as error:
        raise UsageError(f"{url} cannot be reached ({type(error).__name__})", hint="check address and TLS") from error
    if not answer.ok:
        raise UsageError(f"{url} answers HTTP {answer.status_code}", hint="check user and password_file")
    return f"answers at {url}"
