from __future__ import annotations

import json
import socket
import ssl
import struct
import subprocess
import threading
import warnings

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless
from pynetdicom import AE, build_role
from pynetdicom.sop_class import CTImageStorage, StorageCommitmentPushModel, Verification
from sqlalchemy import func, select

import builders
import nodes
from tamperscope.jobs import deliver
from tamperscope.jobs.tables import COMMITMENTS, INSTANCES

pytestmark = [
    nodes.needs_dcmtk,
    # pynetdicom leaves the sockets of connections that were broken to the garbage collector.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]


def stored(parts) -> int:
    with parts.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(INSTANCES)).scalar_one()


def audit(parts) -> list[dict]:
    path = parts.config.folder / "audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def written(folder, datasets):
    folder.mkdir(exist_ok=True)
    paths = []
    for number, dataset in enumerate(datasets):
        paths.append(folder / f"{number}.dcm")
        paths[-1].write_bytes(builders.to_bytes(dataset))
    return paths


def test_a_series_sent_by_dcmtk_is_kept_bit_for_bit(node, tmp_path):
    parts, port = node
    paths = written(tmp_path / "out", nodes.ct(4))
    done = nodes.storescu(port, *paths)
    assert done.returncode == 0, done.stderr
    kept, _ = parts.store.images(nodes.ct(1)[0].StudyInstanceUID)
    assert len(kept) == 4
    for path, sent in zip(kept, paths, strict=True):
        before, after = dcmread(sent), dcmread(path)
        assert after == before
        assert after.PixelData == before.PixelData
        assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless, ImplicitVRLittleEndian])
def test_every_transfer_syntax_is_stored_as_received(node, syntax):
    parts, port = node
    dataset = nodes.ct(1, side=32)[0]
    if syntax.is_compressed:
        dataset.compress(syntax, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
    ae = AE(nodes.SENDER)
    ae.add_requested_context(CTImageStorage, syntax)
    association = ae.associate(nodes.HERE, port, ae_title=nodes.NODE)
    assert association.send_c_store(dataset).Status == 0x0000
    association.release()
    ((path,), _) = parts.store.images(dataset.StudyInstanceUID)
    assert dcmread(path).file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(dcmread(path).pixel_array, dataset.pixel_array)


def test_who_is_not_listed_is_not_let_in(node, tmp_path):
    parts, port = node
    (path,) = written(tmp_path / "out", nodes.ct(1))
    assert nodes.echoscu(port).returncode == 0
    assert "Calling AE Title Not Recognized" in nodes.echoscu(port, calling="STRANGER").stderr
    assert "Called AE Title Not Recognized" in nodes.echoscu(port, called="OTHER").stderr
    assert nodes.storescu(port, path, calling="STRANGER").returncode != 0
    assert stored(parts) == 0
    assert {line["event"] for line in audit(parts)} == {"refused"}
    assert {line.get("ae_title") for line in audit(parts)} >= {"STRANGER", nodes.SENDER}


def test_an_ae_title_counts_from_its_own_hosts_alone(tmp_path):
    more = '[[peer]]\nae_title = "ELSEWHERE"\nhosts = ["192.0.2.7"]\n'
    with nodes.listening(nodes.settings(tmp_path, more)) as (parts, port):
        (path,) = written(tmp_path / "out", nodes.ct(1))
        done = nodes.storescu(port, path, calling="ELSEWHERE")
        assert "0x0124" in done.stderr + done.stdout or done.returncode != 0
        assert stored(parts) == 0
        assert nodes.echoscu(port).returncode == 0


def test_a_host_that_is_not_listed_gets_no_thread(tmp_path):
    text = nodes.BASE.replace(f'hosts = ["{nodes.HERE}"]', 'hosts = ["192.0.2.7"]')
    with nodes.listening(nodes.settings(tmp_path, text=text)) as (parts, port):
        assert nodes.echoscu(port).returncode != 0
        assert audit(parts)[0]["reason"] == "host is not listed"


def test_a_full_disk_is_said_and_nothing_is_acknowledged(tmp_path):
    with nodes.listening(nodes.settings(tmp_path)) as (parts, port):
        (path,) = written(tmp_path / "out", nodes.ct(1))
        parts.store.free_bytes = 1 << 60
        done = nodes.storescu(port, path, more=("-v",))
        assert "Refused: OutOfResources" in done.stderr + done.stdout
        assert stored(parts) == 0
        parts.store.free_bytes = 0
        assert nodes.storescu(port, path).returncode == 0
        assert stored(parts) == 1


def test_what_has_no_study_is_not_understood(node, tmp_path):
    parts, port = node
    dataset = nodes.ct(1)[0]
    del dataset.StudyInstanceUID
    (path,) = written(tmp_path / "out", [dataset])
    done = nodes.storescu(port, path, more=("-v",))
    assert "CannotUnderstand" in done.stderr + done.stdout
    assert stored(parts) == 0
    assert not any("dcm" in path.suffix for path in parts.store.incoming.iterdir())


def report(port: int, transaction: str, kept: list[str], failed: list[str]) -> int:
    """The status of an N-EVENT-REPORT of a storage commitment."""
    role = build_role(StorageCommitmentPushModel, scp_role=True, scu_role=True)
    ae = AE(nodes.SENDER)
    ae.add_requested_context(StorageCommitmentPushModel)
    association = ae.associate(nodes.HERE, port, ae_title=nodes.NODE, ext_neg=[role])
    assert association.is_established
    said = Dataset()
    said.TransactionUID = transaction
    for keyword, uids in (("ReferencedSOPSequence", kept), ("FailedSOPSequence", failed)):
        items = [Dataset() for _ in uids]
        for one, uid in zip(items, uids, strict=True):
            one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = CTImageStorage, uid
            one.FailureReason = 0x0112
        if items:
            setattr(said, keyword, items)
    status, _ = association.send_n_event_report(
        said, 2 if failed else 1, StorageCommitmentPushModel, deliver.COMMITMENT_INSTANCE
    )
    association.release()
    return status.Status


def test_the_word_of_an_archive_is_kept_where_it_was_asked_and_for_what_it_names_alone(node):
    parts, port = node
    deliver.asked(parts.engine, "2.25.7", nodes.SENDER, ["1.2.3", "1.2.4", "1.2.5"])
    deliver.asked(parts.engine, "2.25.8", "ANOTHER", ["1.2.3"])
    assert report(port, "2.25.7", ["1.2.4", "9.9"], ["1.2.3"]) == 0x0000
    assert report(port, "2.25.8", ["1.2.3"], []) == 0x0124, "another archive's word"
    assert report(port, "2.25.9", ["1.2.3"], []) == 0x0124, "nobody asked"
    with parts.engine.connect() as connection:
        rows = connection.execute(select(COMMITMENTS.c.transaction_uid, COMMITMENTS.c.failed)).all()
    assert sorted(rows) == [("2.25.7", ["1.2.3", "1.2.5"]), ("2.25.8", None)]


def test_a_command_that_never_ends_is_cut_off(node):
    _, port = node
    ae = AE(nodes.SENDER)
    ae.add_requested_context(Verification)
    association = ae.associate(nodes.HERE, port, ae_title=nodes.NODE)
    context = association.accepted_contexts[0].context_id
    piece = bytes([context, 0x01]) + bytes(60_000)  # a fragment of a command, not the last
    pdu = struct.pack(">BBL", 4, 0, len(piece) + 4) + struct.pack(">L", len(piece)) + piece
    connection = association.dul.socket.socket
    with pytest.raises(OSError, match=r"(?i)reset|broken pipe|bad file"):
        connection.sendall(pdu * 200)
    association.abort()
    assert nodes.echoscu(port).returncode == 0


# --- hostile ---


def connected(port: int) -> socket.socket:
    return socket.create_connection((nodes.HERE, port), timeout=10.0)


def closed(connection: socket.socket) -> bool:
    """Whether the other side ends a connection, within the time that it allows."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x01",
        struct.pack(">BBL", 1, 0, 0xFFFFFFF0) + b"a" * 5000,
        struct.pack(">BBL", 1, 0, 200) + b"\x00" * 200,
        struct.pack(">BBL", 4, 0, 12) + b"\xff" * 12,
        struct.pack(">BBL", 9, 0, 4) + b"abcd",
        bytes(range(256)) * 64,
    ],
    ids=["idle", "http", "one byte", "4 GB claimed", "zeros", "data first", "unknown type", "noise"],
)
def test_strangers_are_closed_and_an_honest_peer_is_served(node, sent):
    _, port = node
    with connected(port) as connection:
        connection.sendall(sent)
        assert nodes.echoscu(port).returncode == 0
        assert closed(connection)
    assert nodes.echoscu(port).returncode == 0


def test_lying_lengths_inside_a_request_do_no_harm(node):
    _, port = node
    header = struct.pack(">HH16s16s32x", 1, 0, b"TAMPERSCOPE".ljust(16), b"SENDER".ljust(16))
    items = struct.pack(">BBH", 0x10, 0, 0xFFFF) + b"1.2.840" + struct.pack(">BBH", 0x20, 0, 0xFFF0)
    with connected(port) as connection:
        connection.sendall(struct.pack(">BBL", 1, 0, len(header + items)) + header + items)
        assert closed(connection)
    assert nodes.echoscu(port).returncode == 0


def test_one_host_cannot_take_all_connections(tmp_path):
    text = nodes.BASE.replace("request_s = 1.0", "request_s = 30.0\nper_host = 5")
    with nodes.listening(nodes.settings(tmp_path, text=text)) as (parts, port):
        idle = [connected(port) for _ in range(5)]
        with connected(port) as sixth:
            assert closed(sixth)
        assert audit(parts)[-1]["reason"] == "too many connections of one host"
        assert threading.active_count() < 40
        for one in idle:
            one.close()


def test_a_sender_that_goes_away_in_the_middle_leaves_nothing(node, tmp_path):
    parts, port = node
    ae = AE(nodes.SENDER)
    ae.add_requested_context(CTImageStorage)
    association = ae.associate(nodes.HERE, port, ae_title=nodes.NODE)
    association.abort()
    (path,) = written(tmp_path / "out", nodes.ct(1))
    assert nodes.storescu(port, path).returncode == 0
    assert stored(parts) == 1


# --- TLS ---


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A folder with an authority, and certificates of a node and of a client that it signed, and of a stranger."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "stranger"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem",
                "-days", "2", "-subj", f"/CN={name}")  # fmt: skip
    for name in ("node", "client"):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj",
                f"/CN={name}")  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out",
                f"{name}.pem", "-days", "2")  # fmt: skip
    return folder


def test_tls_lets_in_who_shows_a_certificate_of_ours_and_nobody_else(tmp_path, authority):
    more = f'[tls]\ncertificate = "{authority}/node.pem"\nkey = "{authority}/node.key"\n'
    more += f'authorities = "{authority}/ca.pem"\n'
    with nodes.listening(nodes.settings(tmp_path, more)) as (_, port):

        def tls(name: str) -> tuple[str, ...]:
            return ("+tls", f"{authority}/{name}.key", f"{authority}/{name}.pem", "+cf", f"{authority}/ca.pem")

        with connected(port) as slow:  # a handshake that never comes
            assert nodes.echoscu(port, more=tls("client")).returncode == 0
            assert nodes.echoscu(port).returncode != 0, "plain"
            assert nodes.echoscu(port, more=tls("stranger")).returncode != 0
            anonymous = ("+tla", "+cf", f"{authority}/ca.pem")
            assert nodes.echoscu(port, more=anonymous).returncode != 0
            assert closed(slow)
        old = ssl.create_default_context(cafile=str(authority / "ca.pem"))
        old.check_hostname = False
        old.load_cert_chain(authority / "client.pem", authority / "client.key")
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with connected(port) as connection, pytest.raises(ssl.SSLError, match=r"(?i)version|protocol|alert"):
            old.wrap_socket(connection)


def test_an_object_that_is_too_large_is_cut_off_and_leaves_nothing(tmp_path):
    text = nodes.BASE.replace("request_s = 1.0", "request_s = 1.0\nobject_bytes = 1048576")
    with nodes.listening(nodes.settings(tmp_path, text=text)) as (parts, port):
        large, small = (
            written(tmp_path / "large", nodes.ct(1, side=1024)),
            written(tmp_path / "out", nodes.ct(3, side=512)),
        )
        assert nodes.storescu(port, *large).returncode != 0
        assert stored(parts) == 0
        assert nodes.until(lambda: not list(parts.store.incoming.iterdir()))
        assert nodes.storescu(port, *small).returncode == 0, "three of half the size are no object too large"
        assert stored(parts) == 3


def test_other_pixels_under_a_known_uid_are_kept_beside_and_noted(node, tmp_path):
    parts, port = node
    first, second = nodes.ct(1)[0], nodes.ct(1)[0]
    second.PixelData = bytes(len(second.PixelData))
    for number, dataset in enumerate((first, second, second)):
        assert nodes.storescu(port, *written(tmp_path / f"{number}", [dataset])).returncode == 0
    assert stored(parts) == 2
    (copy,) = [line for line in audit(parts) if line["event"] == "copy"]
    assert copy["instance"] == first.SOPInstanceUID
    assert [len(paths) for paths in parts.store.images(first.StudyInstanceUID)] == [1, 1]
