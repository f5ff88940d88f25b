from __future__ import annotations

import pytest
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

import nodes
from tamperscope.node.check import check
from tamperscope.node.config import read

# pynetdicom leaves the socket of a connection that was refused to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
DESTINATION = """
[[destination]]
name = "pacs"
kind = "c-store"
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = {port}
"""


@pytest.fixture
def archive():
    ae = AE("ARCHIVE")
    ae.supported_contexts = AllStoragePresentationContexts
    ae.add_supported_context(Verification)
    server = ae.start_server((nodes.HERE, 0), block=False, evt_handlers=[(evt.EVT_C_ECHO, lambda _event: 0x0000)])
    yield server.server_address[1]
    server.shutdown()


def findings(path):
    return {finding.what: finding for finding in check(read(path))}


def test_what_works_is_said_to_work(tmp_path, archive):
    found = findings(nodes.settings(tmp_path, DESTINATION.format(port=archive)))
    assert all(finding.well for finding in found.values()), found
    assert "takes sr, seg, capture, keys" in found["destination pacs"].words
    assert "ct-fast" in found["models"].words
    assert "will be made" in found["database"].words
    assert list((tmp_path / "node").iterdir()) == [], "a question leaves nothing behind"


def test_everything_that_does_not_is_named_and_the_rest_is_still_looked_at(tmp_path):
    more = (
        DESTINATION.format(port=nodes.free_port())
        + f'[[destination]]\nname = "web"\nkind = "stow"\nurl = "http://127.0.0.1:{nodes.free_port()}"\n'
        + f'[orthanc]\nurl = "http://127.0.0.1:{nodes.free_port()}"\n[[folder]]\npath = "nowhere"\n'
        + '[model]\nname = "no-such"\n[tls]\ncertificate = "a.pem"\nkey = "b.pem"\nauthorities = "c.pem"\n'
    )
    found = findings(nodes.settings(tmp_path, more))
    bad = {what for what, finding in found.items() if not finding.well}
    assert bad == {"models", "TLS", "destination pacs", "destination web", "Orthanc", f"folder {tmp_path / 'nowhere'}"}
    assert found["database"].well
    assert all(finding.words for finding in found.values())


def test_a_node_that_nothing_reaches_or_leaves_is_told(tmp_path):
    found = findings(nodes.settings(tmp_path, text=""))
    assert not found["ways in"].well
    assert not found["destinations"].well


def test_an_archive_that_takes_no_segmentations_is_found_out(tmp_path):
    objects = 'objects = ["sr", "seg"]\n'
    ae = AE("ARCHIVE")
    every = AllStoragePresentationContexts
    ae.supported_contexts = [one for one in every if "Segmentation" not in one.abstract_syntax.name]
    ae.add_supported_context(Verification)
    server = ae.start_server((nodes.HERE, 0), block=False)
    try:
        found = findings(nodes.settings(tmp_path, DESTINATION.format(port=server.server_address[1]) + objects))
    finally:
        server.shutdown()
    assert found["destination pacs"].words.startswith("it takes no seg")
