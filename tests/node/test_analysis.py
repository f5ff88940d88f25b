from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from pydicom import dcmread

import nodes
from tamperscope.errors import TamperscopeError, UnreadableError
from tamperscope.jobs.database import migrate
from tamperscope.jobs.queue import Queue
from tamperscope.jobs.worker import Later
from tamperscope.node.analysis import Analysis
from tamperscope.node.parts import Parts
from tamperscope.node.store import complete

DESTINATION = """
[[destination]]
name = "pacs"
kind = "c-store"
ae_title = "PACS"
host = "127.0.0.1"
objects = ["sr", "capture"]
"""


@pytest.fixture
def parts(tmp_path):
    made = Parts.of(nodes.settings(tmp_path, DESTINATION))
    migrate(made.engine)
    yield made
    made.engine.dispose()


@pytest.fixture
def analysis(parts):
    return Analysis(parts.config, parts.store, parts.courier(), parts.audit, Queue(parts.engine, tries=4))


@pytest.fixture(scope="module")
def chest(tmp_path_factory):
    return nodes.phantom_series(tmp_path_factory.mktemp("chest") / "study")


def receive(parts, folder) -> None:
    for path in sorted(folder.iterdir()):
        parts.store.take([path.read_bytes()], "SENDER")


def held(analysis):
    """The job of the study that is complete, and the one after it, taken."""
    complete(analysis.queue, 0.0, 0.0)
    return analysis.queue.take(["analyse"], "w", 600.0)


def judge(analysis):
    """What comes of the study that is complete."""
    job = held(analysis)
    done = analysis.analyse(job)
    analysis.queue.finish(job)
    return done


def events(parts, name: str) -> list[dict]:
    lines = (parts.config.folder / "audit.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["event"] == name]


def test_a_study_is_judged_and_every_try_writes_the_same(parts, analysis, chest):
    receive(parts, chest)
    job = held(analysis)
    first = analysis.analyse(job)
    assert sum(first.result["verdicts"].values()) == 1
    (order,) = first.after
    assert [name.rsplit(".", 2)[1] for name in order.payload["files"]] == ["sr", "capture"]
    before = [(parts.config.folder / name).read_bytes() for name in order.payload["files"]]
    assert analysis.analyse(job).after == first.after
    assert [(parts.config.folder / name).read_bytes() for name in order.payload["files"]] == before
    (judged, _) = events(parts, "judged")
    assert judged["ledger"] != "0" * 64
    assert "PHANTOM" not in json.dumps(judged)


def test_a_study_that_grew_is_judged_again_and_what_did_not_change_is_sent_once(parts, analysis, chest, tmp_path):
    receive(parts, chest)
    first = judge(analysis)
    other = nodes.phantom_series(tmp_path / "more", seed=1)
    study = dcmread(next(chest.iterdir())).StudyInstanceUID
    for path in other.iterdir():
        dataset = dcmread(path)
        dataset.StudyInstanceUID = study
        dataset.save_as(path)
    receive(parts, other)
    second = judge(analysis)
    assert len(second.after) == 2
    assert first.after[0].key in {order.key for order in second.after}, "the same objects, so the same delivery"


def test_an_older_version_gives_way_and_no_two_are_judged_at_once(parts, analysis, chest):
    receive(parts, chest)
    old = held(analysis)
    dataset = dcmread(sorted(chest.iterdir())[0])
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{dataset.SOPInstanceUID[:60]}.9"
    late = chest.parent / "late.dcm"
    dataset.save_as(late)
    parts.store.take([late.read_bytes()], "SENDER")
    new = held(analysis)
    with pytest.raises(Later, match="another worker"):
        analysis.analyse(new)
    assert analysis.analyse(old).result == {"superseded": True}


def test_other_pixels_under_a_known_uid_are_found_and_judged_too(parts, analysis, chest, tmp_path):
    receive(parts, chest)
    judge(analysis)
    altered = tmp_path / "altered"
    shutil.copytree(chest, altered)
    path = sorted(altered.iterdir())[1]
    dataset = dcmread(path)
    pixels = dataset.pixel_array.copy()
    pixels[100:120, 100:120] = np.int16(40)
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path)
    receive(parts, altered)
    done = judge(analysis)
    (conflict,) = events(parts, "conflict")
    assert conflict["instance"] == dataset.SOPInstanceUID
    assert len(done.after) == 2, "the study as it was first seen, and the slice that is another one now"


def test_the_same_pixels_in_another_file_are_no_conflict(parts, analysis, chest, tmp_path):
    receive(parts, chest)
    first = judge(analysis)
    path = tmp_path / "renamed.dcm"
    dataset = dcmread(sorted(chest.iterdir())[1])
    dataset.PatientName = "Another"
    dataset.save_as(path)
    parts.store.take([path.read_bytes()], "SENDER")
    second = judge(analysis)
    assert events(parts, "conflict") == []
    assert [order.key for order in second.after] == [order.key for order in first.after]


def test_a_study_of_which_nothing_can_be_judged_is_no_success(parts, analysis):
    dataset = nodes.ct(1)[0]
    del dataset.PixelData
    path = parts.config.folder / "broken.dcm"
    dataset.save_as(path)
    parts.store.take([path.read_bytes()], "SENDER")
    with pytest.raises((TamperscopeError, UnreadableError)):
        analysis.analyse(held(analysis))
