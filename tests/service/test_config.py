"""The settings, and what may not be open to others."""

from dataclasses import replace

import pytest

from tamperscope.errors import UsageError
from tamperscope.service import config as configuration
from tamperscope.service.config import Server, check, default, read
from tamperscope.service.run import address


def test_a_whole_file(tmp_path):
    path = tmp_path / "service.toml"
    path.write_text(
        """
        [service]
        folder = "kept"
        database = "postgresql+psycopg://tamperscope@db/tamperscope"
        [server]
        address = "0.0.0.0"
        port = 443
        certificate = "server.pem"
        key = "server.key"
        hosts = ["scan.example.org"]
        [limits]
        upload_bytes = 2000000
        [storage]
        retention_days = 7
        [model]
        false_alarms = 0.001
        workers = 2
        """
    )
    found = read(path)
    assert (found.folder, found.server.key) == (tmp_path / "kept", tmp_path / "server.key")
    assert (found.limits.upload_bytes, found.storage.retention_days, found.model.workers) == (2_000_000, 7.0, 2)
    assert found.public
    assert found.secure


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nport = 0", "port = 0"),
        ("[server]\nport = true", "port = True"),
        ("[servers]", "unknown key 'servers'"),
        ("[limits]\nfiles = 0", "files = 0"),
        ("nonsense", "no TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, words):
    path = tmp_path / "service.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        read(path)


@pytest.mark.parametrize(
    ("server", "users", "words"),
    [
        (Server(address="0.0.0.0"), False, "no users"),  # noqa: S104
        (Server(address="0.0.0.0"), True, "without TLS"),  # noqa: S104
        (Server(address="10.1.2.3"), True, "without TLS"),
        (Server(certificate=configuration.Path("c")), True, "certificate and key"),
        (Server(proxies=("a name",)), True, "proxies"),
    ],
)
def test_nothing_is_open_to_others_unguarded(tmp_path, server, users, words):
    with pytest.raises(UsageError, match=words):
        check(replace(default(tmp_path), server=server), users=users)


@pytest.mark.parametrize(
    "server",
    [
        Server(),
        Server(address="::1"),
        Server(address="10.1.2.3", proxies=("10.1.2.4",)),
        Server(address="10.1.2.3", certificate=configuration.Path("c"), key=configuration.Path("k")),
    ],
)
def test_what_is_guarded_may_be(tmp_path, server):
    check(replace(default(tmp_path), server=server), users=True)


def test_the_address_of_the_page(tmp_path):
    config = default(tmp_path)
    assert address(config, "abc") == "http://127.0.0.1:8484/enter?key=abc"
    assert address(replace(config, server=Server(address="::1", port=1)), "") == "http://[::1]:1/"
