"""The DICOM listener: C-ECHO, C-STORE of every storage class as it was sent, and the archive's word on our results."""

from __future__ import annotations

import socket
import ssl
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, _config, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from tamperscope.errors import FullError, TamperscopeError, UsageError
from tamperscope.jobs import deliver
from tamperscope.jobs.audit import Audit
from tamperscope.node import guard
from tamperscope.node.config import Config, Tls
from tamperscope.node.store import Store
from tamperscope.report.dicom.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION

SUCCESS, NOT_AUTHORISED, NO_ROOM, CANNOT_UNDERSTAND = 0x0000, 0x0124, 0xA700, 0xC000
"""Status of a C-STORE (PS3.4 B.2.3) and of what a peer may not do (PS3.7 C.5.11)."""
NOBODY = "NOBODY IS LISTED"
"""For pynetdicom an empty list of callers means everyone. No peer can be called this: hosts are checked too."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Serves until `close`. Objects go into ``store``, what happens into ``audit``."""

    config: Config
    store: Store
    audit: Audit

    def open(self) -> guard.GuardedServer:
        """Bind and serve from threads of its own.

        Raises:
            UsageError: the port is taken, or the certificate cannot be used.
        """
        guard.check()
        _config.STORE_RECV_CHUNKED_DATASET = True
        # pynetdicom writes an object while it comes in to a temporary file: on the disk of the store, where it stays.
        tempfile.tempdir = str(self.store.incoming)
        settings, ae = self.config.listener, application(self.config)
        bounds = guard.Bounds(
            settings.connections,
            settings.per_host,
            settings.pdu_bytes,
            settings.object_bytes,
            settings.idle_s,
            settings.request_s,
            lambda host: any(peer.at(host) for peer in self.config.peers),
            lambda: not self.store.full(0.5),
        )
        try:
            server = guard.GuardedServer(
                ae,
                (settings.address, settings.port),
                self.config.ae_title,
                ae.supported_contexts,
                context_of(self.config.tls, server=True) if self.config.tls else None,
                self._handlers(),
                bounds=bounds,
                refused=lambda host, why: self.audit.write("refused", host=host, reason=why),
            )
        except OSError as error:
            raise _taken(self.config, error) from error
        ae._servers.append(server)
        return server

    def _handlers(self) -> list[Any]:
        return [
            (evt.EVT_C_STORE, self._stored),
            (evt.EVT_C_ECHO, self._echoed),
            (evt.EVT_N_EVENT_REPORT, self._reported),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_CONN_CLOSE, lambda event: guard.abandoned(event.assoc)),
        ]

    def _stored(self, event: evt.Event) -> int:
        """The status of a C-STORE; success is said of what is on the disk alone."""
        path = event.dataset_path
        guard.stored(event.assoc)
        calling, host = _sender(event)
        try:
            if not self._may(calling, host):
                self.audit.write("refused", host=host, ae_title=calling, reason="this AE title is not that host's")
                return NOT_AUTHORISED
            kept = self.store.keep(path, calling)
        except FullError as error:
            self.audit.write("refused", host=host, ae_title=calling, reason=error.message)
            return NO_ROOM
        except TamperscopeError as error:
            self.audit.write("refused", host=host, ae_title=calling, reason=error.message)
            return CANNOT_UNDERSTAND
        finally:
            with suppress(OSError):
                Path(path).unlink(missing_ok=True)
        if kept.conflict and kept.new:
            # Another file, not yet another picture: the ledger knows which once it is decoded.
            self.audit.write("copy", study=kept.study_uid, instance=kept.sop_uid, sha256=kept.sha256)
        return SUCCESS

    def _echoed(self, event: evt.Event) -> int:
        return SUCCESS if self._may(*_sender(event)) else NOT_AUTHORISED

    def _reported(self, event: evt.Event) -> tuple[int, None]:
        """Storage commitment (PS3.4 J.3.3): what the archive vouches for, and what not."""
        calling, host = _sender(event)
        if not self._may(calling, host):
            return NOT_AUTHORISED, None
        said = event.event_information
        kept = [str(one.get("ReferencedSOPInstanceUID")) for one in said.get("ReferencedSOPSequence") or ()]
        transaction = str(said.get("TransactionUID"))
        if not deliver.reported(self.store.engine, transaction, calling, kept, self.store.now()):
            self.audit.write("refused", host=host, ae_title=calling, reason="a commitment that nobody asked it for")
            return NOT_AUTHORISED, None
        return SUCCESS, None

    def _rejected(self, event: evt.Event) -> None:
        primitive = event.assoc.requestor.primitive
        calling = "" if primitive is None else str(primitive.calling_ae_title or "").strip()
        host = event.assoc.requestor.address
        self.audit.write("refused", host=host, ae_title=calling, reason="the association was rejected")

    def _may(self, calling: str, host: str) -> bool:
        return any(calling == peer.ae_title and peer.at(host) for peer in self.config.peers)


def _sender(event: evt.Event) -> tuple[str, str]:
    """(calling AE title, host)."""
    return str(event.assoc.requestor.ae_title).strip(), str(event.assoc.requestor.address)


class _Entity(AE):
    """Counts associations by those that were asked for: a silent connection takes no honest peer's place."""

    @property
    def active_associations(self) -> list[Association]:
        """Those of which the request has come in."""
        return [one for one in super().active_associations if one.requestor.primitive is not None]


def application(config: Config) -> AE:
    """The application entity: its contexts, its limits, and whom it knows."""
    settings, ae = config.listener, _Entity(config.ae_title)
    ae.supported_contexts = contexts()
    ae.require_called_aet = True
    ae.require_calling_aet = [peer.ae_title for peer in config.peers] or [NOBODY]
    ae.maximum_associations = settings.associations
    ae.maximum_pdu_size = min(settings.pdu_bytes - 6, 1 << 18)
    ae.acse_timeout = settings.request_s
    ae.dimse_timeout = ae.network_timeout = settings.idle_s
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION
    return ae


def free(config: Config) -> None:
    """See that nobody else listens at the port.

    Raises:
        UsageError: somebody does, or the address is not one of this machine.
    """
    settings = config.listener
    family = socket.AF_INET6 if ":" in settings.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.address, settings.port))
        except OSError as error:
            raise _taken(config, error) from error


def _taken(config: Config, error: OSError) -> UsageError:
    where = f"{config.listener.address}:{config.listener.port}"
    return UsageError(f"cannot listen at {where}: {error.strerror}", hint="choose another port")


def contexts() -> list[PresentationContext]:
    """What the listener accepts: every storage class in every transfer syntax, verification, commitment reports."""
    ae = AE()
    for context in AllStoragePresentationContexts:
        if context.abstract_syntax is not None:
            ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
    ae.add_supported_context(Verification)
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    return ae.supported_contexts


def context_of(tls: Tls, *, server: bool) -> ssl.SSLContext:
    """TLS 1.2 or newer; the other side shows a certificate that an authority of ours signed.

    Raises:
        UsageError: a file cannot be read or used.
    """
    purpose = ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH
    try:
        context = ssl.create_default_context(purpose, cafile=str(tls.authorities))
        context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        hint = "certificate, key and authorities are PEM files that the node may read"
        raise UsageError(f"the TLS files cannot be used: {error}", hint=hint) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    if not server:
        # DICOM names peers by AE title; hosts are often addresses that no certificate holds.
        context.check_hostname = False
    return context
