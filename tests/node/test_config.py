from __future__ import annotations

import pytest

import nodes
from tamperscope.errors import UsageError
from tamperscope.node.config import Peer, read

PACS = '[[destination]]\nname = "pacs"\nkind = "c-store"\nae_title = "PACS"\nhost = "10.0.0.5"\n'


def test_what_is_left_out_has_a_sensible_default(tmp_path):
    config = read(nodes.settings(tmp_path, text=""))
    assert config.ae_title == "TAMPERSCOPE"
    assert config.folder == tmp_path / "tamperscope-node"
    assert config.database == f"sqlite:///{config.folder / 'node.db'}"
    assert config.listener.address == "127.0.0.1", "nothing is open to the network unless it is said"
    assert config.peers == ()
    assert config.studies.quiet_s == 60.0
    assert config.destinations == {}


def test_a_whole_one_is_read(tmp_path):
    more = (
        PACS + 'objects = ["sr", "seg"]\ncommitment = true\n'
        '[[destination]]\nname = "web"\nkind = "stow"\nurl = "http://10.0.0.6/dicom-web"\n'
        '[orthanc]\nurl = "http://10.0.0.6:8042"\n[[folder]]\npath = "in"\n[tls]\ncertificate = "a.pem"\n'
        'key = "k.pem"\nauthorities = "ca.pem"\n[model]\nname = "ct-accurate"\nworkers = 2\n[audit]\nmessages = true\n'
    )
    config = read(nodes.settings(tmp_path, more))
    assert list(config.destinations) == ["pacs", "web"]
    assert config.destinations["pacs"].objects == ("sr", "seg")
    assert config.destinations["pacs"].port == 104
    assert config.tls.certificate == tmp_path / "a.pem"
    assert config.folders[0].path == tmp_path / "in"
    assert config.model.workers == 2
    assert config.peers[0].hosts == ("127.0.0.1",)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("[nodes]\n", "unknown key 'nodes' in the file"),
        ("[studies]\nquiet = 5\n", r"unknown key 'quiet' in \[studies\]"),
        ("[studies]\nquiet_s = -1.0\n", r"quiet_s = -1.0 .it is a number, at least 0"),
        ('[[peer]]\nae_title = "A"\n', r"\[\[peer\]\] says no hosts"),
        ('[[peer]]\nae_title = "SEVENTEEN LETTERS"\nhosts = ["10.0.0.1"]\n', "ae_title = 'SEVENTEEN LETTERS'"),
        ('[[peer]]\nae_title = "A\\\\B"\nhosts = ["10.0.0.1"]\n', "without a backslash"),
        (PACS.replace("c-store", "ftp"), "kind = 'ftp'"),
        (PACS.replace('host = "10.0.0.5"\n', ""), "destination pacs says no host"),
        (PACS + 'objects = ["pdf"]\n', "destination pacs wants pdf .objects are sr, seg"),
        (PACS + "objects = []\n", "wants nothing"),
        (PACS + PACS, "two destinations are called pacs"),
        ('[[destination]]\nname = "web"\nkind = "stow"\n', "destination web says no url"),
        (PACS + 'user = "me"\n', "a user and no password_file"),
        ('[[peer]]\nae_title = "A"\nhosts = ["pacs.hospital"]\n', "hosts has 'pacs.hospital'"),
        (PACS.replace('name = "pacs"', 'name = "a:b"'), "a destination is called 'a:b'"),
        ("peer = 3\n", "unknown key|no list of tables|Cannot|no TOML"),
        ("[model]\nfalse_alarms = 0.5\n", "at most 0.1"),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(tmp_path, more, words):
    with pytest.raises(UsageError, match=words) as caught:
        read(nodes.settings(tmp_path, more))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("host", "there"),
    [("10.1.2.3", True), ("10.9.0.1", False), ("192.0.2.77", True), ("::ffff:10.1.2.3", True), ("fe80::1%eth0", False)],
)
def test_hosts_are_addresses_and_networks(host, there):
    assert Peer("A", ("10.1.2.3", "192.0.2.0/24")).at(host) == there


def test_an_open_door_without_a_list_of_guests_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"no .*peer.* may send"):
        read(nodes.settings(tmp_path, text='[listener]\naddress = "0.0.0.0"\n'))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        read(tmp_path / "node.toml")
