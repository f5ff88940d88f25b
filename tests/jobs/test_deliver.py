from __future__ import annotations

from contextlib import contextmanager

import pytest

pytest.importorskip("pynetdicom", reason="the extra [dicom] is not installed")

from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import CTImageStorage, StorageCommitmentPushModel

import nodes
from tamperscope.errors import DeliveryError, RefusedError, UnreadableError, UsageError
from tamperscope.jobs.deliver import Courier, Destination, password, reported
from tamperscope.jobs.queue import Job, Order, Queue
from tamperscope.jobs.worker import Later, Worker

# pynetdicom leaves the socket of a connection that was refused to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")


class Archive:
    """An archive that can be told to say no."""

    def __init__(self) -> None:
        self.arrived: list[str] = []
        self.asked: list = []
        self.status = 0x0000
        self.contexts = AllStoragePresentationContexts

    def store(self, event: evt.Event) -> int:
        if self.status == 0x0000:
            self.arrived.append(str(event.dataset.SOPInstanceUID))
        return self.status

    def action(self, event: evt.Event):
        self.asked.append(event.action_information)
        return 0x0000, None

    @contextmanager
    def open(self, port: int = 0):
        ae = AE("ARCHIVE")
        ae.supported_contexts = self.contexts
        ae.add_supported_context(StorageCommitmentPushModel, ImplicitVRLittleEndian)
        handlers = [(evt.EVT_C_STORE, self.store), (evt.EVT_N_ACTION, self.action)]
        server = ae.start_server((nodes.HERE, port), block=False, evt_handlers=handlers)
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@pytest.fixture
def archive():
    return Archive()


@pytest.fixture
def files(tmp_path):
    """Two result objects of the kinds "sr" and "seg"; they are CT slices here, which a courier does not mind."""
    found = {}
    for kind, dataset in zip(("sr", "seg"), nodes.ct(2), strict=True):
        found[kind] = tmp_path / "results" / f"a.{kind}.dcm"
        found[kind].parent.mkdir(exist_ok=True)
        dataset.save_as(found[kind], enforce_file_format=True)
    return found


def courier(engine, tmp_path, port: int, **changes) -> Courier:
    facts = {"ae_title": "ARCHIVE", "host": nodes.HERE, "port": port, "timeout_s": 5.0, **changes}
    return Courier(engine, "TAMPERSCOPE", {"pacs": Destination("pacs", "c-store", **facts)}, tmp_path)


def job(order: Order, tries: int = 1) -> Job:
    return Job(1, order.kind, order.key, order.payload, tries)


def test_each_destination_gets_what_it_asked_for_once(engine, tmp_path, files):
    pacs = Destination("pacs", "c-store", objects=("sr",))
    web = Destination("web", "stow", objects=("sr", "seg", "keys"))
    one = Courier(engine, "TAMPERSCOPE", {"pacs": pacs, "web": web}, tmp_path)
    orders = one.orders(files)
    assert [(order.payload["destination"], order.payload["files"]) for order in orders] == [
        ("pacs", ["results/a.sr.dcm"]),
        ("web", ["results/a.sr.dcm", "results/a.seg.dcm"]),
    ]
    assert one.orders(files) == orders, "and under the same keys again"
    assert one.orders({"heatmap": files["sr"]}) == []


def test_objects_are_stored_and_a_second_delivery_does_no_harm(engine, tmp_path, files, archive):
    with archive.open() as port:
        one = courier(engine, tmp_path, port)
        (order,) = one.orders(files)
        done = one.deliver(job(order))
    assert done.result == {"destination": "pacs", "objects": 2}
    assert done.after == ()
    assert len(archive.arrived) == 2


@pytest.mark.parametrize(
    ("status", "words"), [(0xA700, "did not store a CT Image Storage .status 0xA700"), (0x0122, "status 0x0122")]
)
def test_an_archive_that_says_no_is_asked_again_later(engine, tmp_path, files, archive, status, words):
    archive.status = status
    with archive.open() as port:
        one = courier(engine, tmp_path, port)
        with pytest.raises(DeliveryError, match=words):
            one.deliver(job(one.orders(files)[0]))


def test_a_warning_is_a_success(engine, tmp_path, files, archive):
    archive.status = 0xB000
    with archive.open() as port:
        one = courier(engine, tmp_path, port)
        assert one.deliver(job(one.orders(files)[0])).result["objects"] == 2


def test_an_archive_that_takes_no_such_object_or_is_not_there_is_named(engine, tmp_path, files, archive):
    archive.contexts = [one for one in AllStoragePresentationContexts if one.abstract_syntax != CTImageStorage]
    with archive.open() as port:
        one = courier(engine, tmp_path, port)
        with pytest.raises(DeliveryError, match=r"cannot be sent|cannot be reached|rejected"):
            one.deliver(job(one.orders(files)[0]))
    away = courier(engine, tmp_path, nodes.free_port())
    with pytest.raises(DeliveryError, match=r"pacs .ARCHIVE at 127.0.0.1:\d+. cannot be reached"):
        away.deliver(job(away.orders(files)[0]))


def test_what_went_missing_is_final(engine, tmp_path, files):
    one = courier(engine, tmp_path, 1)
    (order,) = one.orders(files)
    files["sr"].unlink()
    with pytest.raises(UnreadableError, match=r"a\.sr\.dcm"):
        one.deliver(job(order))


def test_a_destination_that_was_taken_out_says_so(engine, tmp_path, files):
    (order,) = courier(engine, tmp_path, 1).orders(files)
    with pytest.raises(UsageError, match="no destination is called pacs"):
        Courier(engine, "TAMPERSCOPE", {}, tmp_path).deliver(job(order))


def test_an_archive_that_comes_back_gets_everything_in_the_end(engine, tmp_path, files, archive):
    port = nodes.free_port()
    queue = Queue(engine, first_wait_s=0.0)
    one = courier(engine, tmp_path, port)
    for order in one.orders(files):
        queue.add(order)
    worker = Worker(queue, {"deliver": one.deliver}, "courier")
    for _ in range(3):
        assert worker.step()
    assert queue.counts() == {("deliver", "waiting"): 1}
    with archive.open(port):
        assert worker.step()
    assert queue.counts() == {("deliver", "done"): 1}
    assert len(archive.arrived) == len(set(archive.arrived)) == 2


def test_the_archive_vouches_and_what_it_does_not_vouch_for_is_sent_again(engine, tmp_path, files, archive):
    with archive.open() as port:
        one = courier(engine, tmp_path, port, commitment=True)
        (commit,) = one.deliver(job(one.orders(files)[0])).after
        with pytest.raises(Later, match="pacs has not vouched"):
            one.commit(job(commit))
        transaction = str(archive.asked[0].TransactionUID)
        assert len(archive.asked[0].ReferencedSOPSequence) == 2
        sent = [one.ReferencedSOPInstanceUID for one in archive.asked[0].ReferencedSOPSequence]
        assert reported(engine, transaction, "ARCHIVE", sent[:1], 5.0)
        done = one.commit(job(commit, 2))
        assert done.result == {"destination": "pacs", "committed": False, "failed": 1}
        (again,) = done.after
        assert again.due > one.now() + 60.0, "not at once"
        (second,) = one.deliver(job(again)).after
        assert second.key != commit.key, "a new transaction"
        with pytest.raises(Later):
            one.commit(job(second))
        assert reported(engine, str(archive.asked[1].TransactionUID), "ARCHIVE", sent, 6.0)
        assert one.commit(job(second, 2)).result == {"destination": "pacs", "committed": True}
    assert len(archive.arrived) == 4


def test_what_is_never_vouched_for_is_a_dead_letter_in_the_end(engine, tmp_path, files, archive):
    with archive.open() as port:
        one = courier(engine, tmp_path, port, commitment=True)
        (order,) = one.orders(files)
        for number in range(5):
            (commit,) = one.deliver(job(order)).after
            with pytest.raises(Later):
                one.commit(job(commit))
            assert reported(engine, str(archive.asked[number].TransactionUID), "ARCHIVE", [], 1.0)
            if number == 4:
                with pytest.raises(RefusedError, match="does not vouch for 2 objects that were sent 5 times"):
                    one.commit(job(commit, 2))
                assert one.commit(job(commit)).after[0].payload["rounds"] == 1, "after a resend all begins anew"
                return
            (order,) = one.commit(job(commit, 2)).after


def test_a_slow_destination_holds_up_no_other(engine):
    queue = Queue(engine)
    for key in ("a:1", "a:2", "a_b:1"):
        queue.add(Order("deliver", key, {}))
    assert queue.take(["deliver"], "w", 10.0, "a_b:").key == "a_b:1"
    assert queue.take(["deliver"], "w", 10.0, "a_b:") is None
    assert queue.take(["deliver"], "w", 10.0, "a:").key == "a:1"


def test_another_version_of_a_study_is_waited_for(engine):
    queue = Queue(engine)
    for key in ("analyse:1.2:1", "analyse:1.2:2", "analyse:1.23:1"):
        queue.add(Order("analyse", key, {}))
    held = [queue.take(["analyse"], "w", 10.0) for _ in range(2)]
    assert queue.held_beside(held[1], "analyse:1.2:")
    queue.finish(held[0])
    assert not queue.held_beside(held[1], "analyse:1.2:")


def test_a_web_archive_that_is_not_there_is_named_and_no_password_is_shown(engine, tmp_path, files):
    (tmp_path / "secret").write_text("hunter2\n")
    url = f"http://{nodes.HERE}:{nodes.free_port()}/dicom-web"
    web = Destination("web", "stow", url=url, user="me", password_file=tmp_path / "secret")
    one = Courier(engine, "TAMPERSCOPE", {"web": web}, tmp_path)
    with pytest.raises(DeliveryError, match="web did not take the objects") as caught:
        one.deliver(job(one.orders(files)[0]))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("content", [None, ""])
def test_a_password_that_cannot_be_read_is_said(tmp_path, content):
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match="cannot read the password"):
        password(file)
    with pytest.raises(UsageError, match="without a password_file"):
        password(None)
