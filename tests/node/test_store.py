from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

import builders
import nodes
from databases import Clock
from tamperscope.errors import LimitError, UnreadableError
from tamperscope.jobs.database import connect, migrate
from tamperscope.jobs.queue import Queue
from tamperscope.jobs.tables import INSTANCES, STUDIES
from tamperscope.node.store import ABANDONED_S, FullError, Store, complete


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    engine = connect(f"sqlite:///{tmp_path / 'node.db'}")
    migrate(engine)
    made = Store(tmp_path / "node", engine, now=clock)
    made.prepare()
    yield made
    engine.dispose()


def rows(store, table=INSTANCES):
    with store.engine.connect() as connection:
        return [row._mapping for row in connection.execute(select(table))]


def data(index: int = 0, study: int = 1, **values) -> bytes:
    dataset = nodes.ct(index + 1, study)[index]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom would rather not write some of these UIDs
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        return builders.to_bytes(dataset)


def test_an_object_is_kept_as_it_came_and_its_name_says_nothing(store):
    sent = data()
    kept = store.take([sent], "SENDER")
    assert (kept.new, kept.conflict, kept.image) == (True, False, True)
    (row,) = rows(store)
    path = store.folder / row["path"]
    assert path.read_bytes() == sent
    assert path.stem == row["sha256"] == kept.sha256
    assert "1.2" not in path.name
    assert list(store.incoming.iterdir()) == []
    assert store.images(kept.study_uid) == ([path], [])


def test_a_program_in_the_preamble_is_zeroed(store):
    sent = b"MZ" + b"\x90" * 126 + data()[128:]
    store.take([sent], "SENDER")
    (row,) = rows(store)
    assert (store.folder / row["path"]).read_bytes() == bytes(128) + sent[128:]


def test_the_same_again_changes_nothing(store, clock):
    store.take([data()], "SENDER")
    clock.time += 50.0
    kept = store.take([data()], "OTHER")
    assert (kept.new, kept.conflict) == (False, False)
    assert len(rows(store)) == 1
    assert rows(store, STUDIES)[0]["changed"] == 1000.0


def test_another_picture_under_a_known_uid_is_a_conflict_and_both_stay(store):
    store.take([data()], "SENDER")
    kept = store.take([data(WindowCenter=40)], "SENDER")
    assert (kept.new, kept.conflict) == (True, True)
    assert [len(paths) for paths in store.images(kept.study_uid)] == [1, 1]


def test_a_report_is_kept_and_not_analysed(store):
    kept = store.take([data(Modality="SR")], "SENDER")
    assert not kept.image
    assert store.images(kept.study_uid) == ([], [])
    assert rows(store, STUDIES) == []


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"no DICOM at all",
        data()[:200],
        data()[:132],
        data(StudyInstanceUID=""),
        data(SOPInstanceUID="../../../etc/passwd"),
        data(StudyInstanceUID="a/b"),
        data(SeriesInstanceUID="1.2 or 1=1"),
    ],
)
def test_what_is_no_object_is_refused_and_leaves_nothing(store, bad):
    with pytest.raises((UnreadableError, LimitError)):
        store.take([bad], "SENDER")
    assert rows(store) == []
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("uid", ["..", "-x", "1.2.3.", "x" * 64])
def test_no_uid_leads_out_of_the_store(store, uid):
    store.take([data(SOPInstanceUID=uid, StudyInstanceUID=uid)], "SENDER")
    files = [path for path in store.folder.parent.rglob("*") if path.is_file() and path.suffix == ".dcm"]
    assert [path.parent.parent for path in files] == [store.folder / "objects"]


def test_nothing_is_taken_when_the_disk_is_nearly_full(store):
    store.free_bytes = 1 << 60
    with pytest.raises(FullError, match="nearly full"):
        store.take([data()], "SENDER")
    assert rows(store) == []
    store.free_bytes = 0
    assert store.take([data()], "SENDER").new


def test_after_a_crash_partial_files_go_and_whole_ones_get_their_row(store, clock):
    kept = store.take([data()], "SENDER")
    with store.engine.begin() as connection:
        connection.execute(INSTANCES.delete())
    (store.incoming / "half.dcm").write_bytes(data()[:300])
    (store.folder / "objects" / "aa").mkdir(exist_ok=True)
    (store.folder / "objects" / "aa" / f"{'a' * 64}.dcm").write_bytes(b"torn")
    clock.time = (store.incoming / "half.dcm").stat().st_mtime + 1.0
    assert store.reconcile(0.0) == (2, 1)
    assert store.reconcile(0.0) == (0, 0)
    (row,) = rows(store)
    assert row["sop_uid"] == kept.sop_uid


def test_a_file_that_is_being_written_is_not_swept_away(store, clock):
    half = store.incoming / "half.dcm"
    half.write_bytes(b"half")
    clock.time = half.stat().st_mtime + 1.0
    assert store.sweep() == 0
    clock.time += ABANDONED_S
    assert store.sweep() == 1


def test_a_study_is_complete_when_it_is_quiet_and_late_instances_open_it_again(store, clock):
    queue = Queue(store.engine, clock)
    for index in range(3):
        store.take([data(index)], "SENDER")
        clock.time += 20.0
    assert complete(queue, 60.0, 3600.0) == []
    clock.time += 40.0
    (study,) = complete(queue, 60.0, 3600.0)
    assert complete(queue, 60.0, 3600.0) == []
    assert queue.take(["analyse"], "w", 1e9).payload == {"study": study, "version": 1, "when": clock.time}
    store.take([data(5)], "SENDER")
    clock.time += 61.0
    assert complete(queue, 60.0, 3600.0) == [study]
    assert queue.take(["analyse"], "w", 10.0).payload == {"study": study, "version": 2, "when": clock.time}


def test_a_study_that_never_rests_is_complete_by_force(store, clock):
    queue = Queue(store.engine, clock)
    store.take([data()], "SENDER")
    for index in range(1, 80):
        clock.time += 50.0
        store.take([data(index)], "SENDER")
    assert len(complete(queue, 60.0, 3600.0)) == 1


def test_studies_do_not_wait_for_each_other(store, clock):
    queue = Queue(store.engine, clock)
    store.take([data(study=1)], "SENDER")
    clock.time += 61.0
    store.take([data(study=2)], "SENDER")
    assert len(complete(queue, 60.0, 3600.0)) == 1


def test_who_sent_it_by_which_program_makes_no_other_object(store):
    store.take([data()], "SENDER")
    other = nodes.ct(1)[0]
    other.file_meta.ImplementationVersionName = "ANOTHER"
    kept = store.take([builders.to_bytes(other)], "ELSEWHERE")
    assert (kept.new, kept.conflict) == (False, False)
    assert len(rows(store)) == 1


def test_the_same_in_another_transfer_syntax_is_another_object(store):
    store.take([data()], "SENDER")
    other = nodes.ct(1)[0]
    other.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    assert store.take([builders.to_bytes(other)], "SENDER").conflict


def test_what_is_too_large_leaves_nothing(store):
    store.object_bytes = 1000
    with pytest.raises(LimitError, match="more than 1000 bytes"):
        store.take(iter([b"a" * 600] * 3), "SENDER")
    assert list(store.incoming.iterdir()) == []


def test_a_row_that_cannot_be_written_costs_no_other_its_own(store, monkeypatch):
    bad = []

    def recorded(self, connection, one):
        if one.source == "BAD":
            bad.append(one)
            connection.exec_driver_sql("SELECT no_such_function()")
        return real(self, connection, one)

    real = Store._recorded
    monkeypatch.setattr(Store, "_recorded", recorded)
    with pytest.raises(FullError):
        store.take([data(0)], "BAD")
    assert bad
    waiting = [data(index) for index in range(1, 4)]
    with ThreadPoolExecutor(3) as pool:
        names = ("SENDER", "BAD", "SENDER")
        done = [pool.submit(store.take, [one], name) for one, name in zip(waiting, names, strict=True)]
    assert [one.exception() is None for one in done] == [True, False, True]
    assert len(rows(store)) == 2
