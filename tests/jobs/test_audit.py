from __future__ import annotations

import json
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from tamperscope.jobs import audit
from tamperscope.jobs.audit import FILE, KINDS, MESSAGES, Audit, message, newest

TIME = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)


def test_what_happens_is_appended_and_never_rewritten(tmp_path):
    for reason in ("one", "two"):  # another process
        Audit(tmp_path, now=lambda: TIME).write("refused", host="10.0.0.9", reason=reason)
    lines = (tmp_path / FILE).read_text().splitlines()
    assert [json.loads(line)["reason"] for line in lines] == ["one", "two"]
    assert json.loads(lines[0]) == {
        "time": "2026-11-26T12:00:00.000+00:00",
        "event": "refused",
        "host": "10.0.0.9",
        "reason": "one",
    }
    assert not (tmp_path / MESSAGES).exists()


def test_a_line_stays_one_line_whatever_a_sender_calls_itself(tmp_path):
    Audit(tmp_path, messages=True, now=lambda: TIME).write("refused", ae_title='A\n{"event": "judged"}<x>\u2028')
    (line,) = (tmp_path / FILE).read_text().splitlines()
    assert json.loads(line)["ae_title"].startswith("A\n")
    (text,) = (tmp_path / MESSAGES).read_text().splitlines()
    assert ElementTree.fromstring(text).find("ActiveParticipant").get("UserID").startswith("A")


@pytest.mark.parametrize("event", KINDS)
def test_a_dicom_audit_message_says_what_on_which_study(event):
    facts = {"study": "1.2.3", "host": "10.0.0.5", "ae_title": "PACS"}
    root = ElementTree.fromstring(message(event, "2026-11-26T12:00:00.000+00:00", facts))
    about = root.find("EventIdentification")
    assert about.get("EventActionCode") in "CRUDE"
    assert about.find("EventID").get("codeSystemName") == "DCM"
    assert {one.get("UserID") for one in root.findall("ActiveParticipant")} >= {"PACS"}
    assert root.find("AuditSourceIdentification") is not None
    (study,) = root.findall("ParticipantObjectIdentification")
    assert study.get("ParticipantObjectID") == "1.2.3"


def test_a_patient_is_named_where_that_is_asked_for_alone():
    facts = {"study": "1.2.3", "patient": "P-17"}
    root = ElementTree.fromstring(message("judged", "2026-11-26T12:00:00.000+00:00", facts))
    assert [one.get("ParticipantObjectID") for one in root.findall("ParticipantObjectIdentification")] == [
        "1.2.3",
        "P-17",
    ]


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 16])
def test_the_end_of_the_log_is_read_from_the_end(tmp_path, monkeypatch, block):
    monkeypatch.setattr(audit, "BLOCK", block)
    assert newest(tmp_path, 3) == []
    for number in range(9):
        Audit(tmp_path).write("process", pid=number)
    with (tmp_path / FILE).open("ab") as stream:
        stream.write(b'{"event": "proc\n\xff\n7\n')
    assert [event["pid"] for event in newest(tmp_path, 3)] == [8, 7, 6]
    assert [event["pid"] for event in newest(tmp_path, 100)] == list(reversed(range(9)))
    assert audit.last(tmp_path, "pid") == 8
