"""Result objects to where they belong: C-STORE or STOW-RS, and the archive's word that it keeps them.

Sending again does no harm: the UIDs of a result follow from what it says, so an archive holds it once.
"""

from __future__ import annotations

import hashlib
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]
from sqlalchemy import Engine, select, update

from tamperscope.errors import DeliveryError, RefusedError, UnreadableError, UsageError
from tamperscope.jobs.queue import Job, Order, inserted
from tamperscope.jobs.tables import COMMITMENTS
from tamperscope.jobs.worker import Done, Later
from tamperscope.records import JSON
from tamperscope.report.dicom import DEFAULT_KINDS
from tamperscope.report.dicom.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION

SUCCESS = 0x0000
WARNINGS = range(0xB000, 0xC000)
"""Stored, with something to say (PS3.4 table B.2-1)."""
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
"""Well-known SOP instance of the Storage Commitment Push Model (PS3.4 J.3.5)."""
ROUNDS = 5
"""As many times objects are sent that the archive does not vouch for."""
ROUND_WAIT_S = 60.0
"""Before the second time; twice as long before each that follows."""
REQUEST = 1
"""Action type: request storage commitment."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where results go, and which."""

    name: str
    kind: Literal["c-store", "stow"]
    ae_title: str = ""
    host: str = ""
    port: int = 104
    url: str = ""
    """Of the DICOMweb service, for STOW-RS."""
    user: str = ""
    password_file: Path | None = None
    objects: tuple[str, ...] = DEFAULT_KINDS
    commitment: bool = False
    """Ask for storage commitment (PS3.4 annex J) after C-STORE, and send again what is not vouched for."""
    tls: bool = False
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Courier:
    """Delivers for the node ``ae_title``. ``tls`` makes the context of outgoing connections."""

    engine: Engine
    ae_title: str
    destinations: Mapping[str, Destination]
    folder: Path
    """What the paths in jobs are relative to."""
    tls: Callable[[], ssl.SSLContext] | None = None
    now: Callable[[], float] = time.time

    def orders(self, files: Mapping[str, Path]) -> list[Order]:
        """A job for each destination that wants any of the objects (kind to file) of one result."""
        uids = {kind: _sop_uid(path) for kind, path in files.items()}
        made = []
        for destination in self.destinations.values():
            chosen = [kind for kind in destination.objects if kind in files]
            if chosen:
                # By what is in them, not by where they lie: what was sent once is not sent again.
                digest = hashlib.sha256("\n".join(sorted(uids[kind] for kind in chosen)).encode()).hexdigest()
                names: list[JSON] = [str(files[kind].relative_to(self.folder)) for kind in chosen]
                payload: dict[str, JSON] = {"destination": destination.name, "files": names}
                made.append(Order("deliver", f"{prefix(destination.name)}{digest}", payload))
        return made

    def deliver(self, job: Job) -> Done:
        """Send the objects of one job.

        Raises:
            DeliveryError: the destination cannot be reached or refuses one.
        """
        destination = self._destination(job)
        datasets = [self._read(name) for name in job.payload["files"]]
        (self._store if destination.kind == "c-store" else self._stow)(destination, datasets)
        result: dict[str, Any] = {"destination": destination.name, "objects": len(datasets)}
        if not (destination.commitment and destination.kind == "c-store"):
            return Done(result)
        transaction = _transaction(job.key, job.tries)
        payload = {**job.payload, "transaction": transaction}
        return Done(result, (Order("commit", f"{prefix(destination.name)}commit:{transaction}", payload),))

    def commit(self, job: Job) -> Done:
        """Ask a destination to vouch for what it got, and see what it said.

        Raises:
            Later: it has not said anything yet.
            DeliveryError: it cannot be asked.
            RefusedError: it did not keep them, however often they were sent.
        """
        destination, transaction = self._destination(job), str(job.payload["transaction"])
        failed = self._reported(transaction)
        if failed is None:
            self._ask(destination, transaction, [self._read(name) for name in job.payload["files"]])
            raise Later(f"{destination.name} has not vouched for the objects yet")
        if not failed:
            return Done({"destination": destination.name, "committed": True})
        # Known at the first try: this is a dead letter that somebody lets be tried anew.
        rounds = 1 if job.tries == 1 else int(job.payload.get("rounds", 0)) + 1
        if rounds >= ROUNDS:
            what = f"{destination.name} does not vouch for {len(failed)} objects that were sent {rounds} times"
            raise RefusedError(what, hint="see the archive's log, then resend")
        again = {"destination": destination.name, "files": job.payload["files"], "rounds": rounds}
        due = self.now() + ROUND_WAIT_S * 2.0**rounds
        order = Order("deliver", f"{prefix(destination.name)}again:{transaction}", again, due)
        return Done({"destination": destination.name, "committed": False, "failed": len(failed)}, (order,))

    def _destination(self, job: Job) -> Destination:
        name = str(job.payload["destination"])
        if name not in self.destinations:
            raise UsageError(f"no destination is called {name}", hint="add it to the configuration, then resend")
        return self.destinations[name]

    def _read(self, name: str) -> Dataset:
        try:
            return dcmread(self.folder / name)
        except OSError as error:
            raise UnreadableError(f"{name}: {error.strerror}", hint="analyse the study again") from error

    def _reported(self, transaction: str) -> list[str] | None:
        """What the archive does not vouch for; None while it has said nothing."""
        query = select(COMMITMENTS.c.failed).where(
            COMMITMENTS.c.transaction_uid == transaction, COMMITMENTS.c.reported.is_not(None)
        )
        with self.engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else list(row[0])

    def _store(self, destination: Destination, datasets: Sequence[Dataset]) -> None:
        pairs = dict.fromkeys((str(one.SOPClassUID), str(one.file_meta.TransferSyntaxUID)) for one in datasets)
        contexts = [build_context(abstract, syntax) for abstract, syntax in pairs]
        with self._association(destination, contexts) as association:
            for dataset in datasets:
                status = _status(partial(association.send_c_store, dataset))
                if status != SUCCESS and status not in WARNINGS:
                    said = "no answer" if status is None else f"status 0x{status:04X}"
                    what = f"{destination.name} did not store a {dataset.SOPClassUID.name} ({said})"
                    raise DeliveryError(what, hint="see the archive's log")

    def _ask(self, destination: Destination, transaction: str, datasets: Sequence[Dataset]) -> None:
        request = Dataset()
        request.TransactionUID = transaction
        request.ReferencedSOPSequence = [_reference(dataset) for dataset in datasets]
        asked(self.engine, transaction, destination.ae_title, [str(one.SOPInstanceUID) for one in datasets])
        context = build_context(StorageCommitmentPushModel, ImplicitVRLittleEndian)
        with self._association(destination, [context]) as association:
            status = _status(
                lambda: association.send_n_action(request, REQUEST, StorageCommitmentPushModel, COMMITMENT_INSTANCE)[0]
            )
        if status != SUCCESS:
            said = "no answer" if status is None else f"status 0x{status:04X}"
            raise DeliveryError(f"{destination.name} takes no storage commitment ({said})", hint="turn it off for it")

    def _association(self, destination: Destination, contexts: Sequence[Any]) -> AbstractContextManager[Association]:
        return association(destination, self.ae_title, contexts, self.tls)

    def _stow(self, destination: Destination, datasets: Sequence[Dataset]) -> None:
        import requests
        from dicomweb_client.api import DICOMwebClient

        try:
            client = DICOMwebClient(destination.url, session=_session(destination))
            answered = client.store_instances(datasets=list(datasets))
        except (requests.RequestException, OSError, ValueError) as error:
            answer = getattr(getattr(error, "response", None), "status_code", None)
            said = f"HTTP {answer}" if answer else type(error).__name__
            hint = "check its address, its user, and its log"
            raise DeliveryError(f"{destination.name} did not take the objects ({said})", hint=hint) from error
        refused = len(answered.get("FailedSOPSequence") or ())  # 202 is no error to the client (PS3.18 10.5.3)
        if refused:
            what = f"{destination.name} did not take {refused} of {len(datasets)} objects"
            raise DeliveryError(what, hint="see the archive's log")


@contextmanager
def association(
    destination: Destination, ae_title: str, contexts: Sequence[Any], tls: Callable[[], ssl.SSLContext] | None = None
) -> Iterator[Association]:
    """An association with a destination, released at the end.

    Raises:
        DeliveryError: there is none to be had; the message says who said no.
    """
    ae = AE(ae_title)
    ae.implementation_class_uid, ae.implementation_version_name = IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = destination.timeout_s
    if destination.tls and tls is None:
        raise UsageError(f"{destination.name} wants TLS, the node has no [tls]", hint="name certificate and key")
    tls_args = (tls(), destination.host) if destination.tls and tls is not None else None
    made = ae.associate(
        destination.host, destination.port, list(contexts), ae_title=destination.ae_title, tls_args=tls_args
    )
    if not made.is_established:
        how = "rejected the association" if made.is_rejected else "cannot be reached"
        where = f"{destination.name} ({destination.ae_title} at {destination.host}:{destination.port})"
        raise DeliveryError(f"{where} {how}", hint="check address, AE titles, and that it knows this node")
    try:
        yield made
    finally:
        if made.is_established:
            made.release()


def asked(engine: Engine, transaction: str, ae_title: str, instances: Sequence[str]) -> None:
    """Note of whom and for what a commitment is asked; asking again changes nothing."""
    row = {"transaction_uid": transaction, "ae_title": ae_title, "instances": list(instances)}
    with engine.begin() as connection:
        connection.execute(inserted(connection, COMMITMENTS).values(**row).on_conflict_do_nothing())


def reported(engine: Engine, transaction: str, ae_title: str, kept: Sequence[str], now: float) -> bool:
    """Keep what an archive vouches for (N-EVENT-REPORT, PS3.4 J.3.3); False if it was not asked that.

    What it does not name is not vouched for, whatever the type of its report.
    """
    mine = COMMITMENTS.c.transaction_uid == transaction, COMMITMENTS.c.ae_title == ae_title
    with engine.begin() as connection:
        row = connection.execute(select(COMMITMENTS.c.instances).where(*mine)).one_or_none()
        if row is None:
            return False
        failed = [uid for uid in row[0] if uid not in set(kept)]
        connection.execute(update(COMMITMENTS).where(*mine).values(failed=failed, reported=now))
    return True


def prefix(destination: str) -> str:
    """How the keys of all jobs of a destination begin, so that one that is slow holds up no other."""
    return f"{destination}:"


def _sop_uid(path: Path) -> str:
    return str(dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)


def _reference(dataset: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = dataset.SOPClassUID
    reference.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
    return reference


def _transaction(key: str, tries: int) -> str:
    """A Transaction UID of this delivery alone."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'tamperscope commitment {key} {tries}').int}"


def _status(send: Callable[[], Dataset]) -> int | None:
    """The status of an answer; None where none came. pynetdicom says with ValueError that nobody took the context."""
    try:
        answer = send()
    except (ValueError, RuntimeError) as error:
        raise DeliveryError(f"the object cannot be sent: {error}", hint="choose other objects for it") from error
    return int(answer.Status) if answer and "Status" in answer else None


def _session(destination: Destination) -> Any:
    from dicomweb_client.session_utils import create_session, create_session_from_user_pass

    session = create_session()
    if destination.user:
        session = create_session_from_user_pass(destination.user, password(destination.password_file))
    session.request = partial(session.request, timeout=destination.timeout_s)  # type: ignore[method-assign]
    return session


def password(file: Path | None) -> str:
    """The first line of a file, which is not in the configuration itself so that this can be shown around.

    Raises:
        UsageError: it cannot be read.
    """
    if file is None:
        raise UsageError("a user without a password_file", hint="name the file that holds the password")
    try:
        return file.read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, IndexError, ValueError) as error:
        raise UsageError(f"cannot read the password from {file}", hint="one line, readable for the node") from error
