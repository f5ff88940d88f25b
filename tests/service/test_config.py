"""The settings, what may not be open to others, and what has to be there."""

import json
import os
import stat
import subprocess
import threading
from dataclasses import replace

import httpx2
import pytest
from typer.testing import CliRunner

from nodes import free_port
from services import service, until
from tamperscope.cli import app
from tamperscope.errors import UsageError
from tamperscope.jobs.model import Model
from tamperscope.service import config as configuration
from tamperscope.service import parts
from tamperscope.service.config import Server, Signing, check, default, read, usable
from tamperscope.service.run import Running, address


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
        (Server(proxies=("10.1.2.3/24",)), True, "proxies"),
        (Server(proxies=("0.0.0.0/0",)), True, "everybody"),
        (Server(proxies=("::/0",)), True, "everybody"),
        (Server(proxies=("127.0.0.1",)), False, "no users"),
        (Server(hosts=("scan.example.org",)), False, "no users"),
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
        Server(hosts=("scan.example.org",)),
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
    behind = Server(port=1, proxies=("127.0.0.1",), hosts=("scan.example.org",))
    assert address(replace(config, server=behind), "") == "https://scan.example.org/"
    own = Server("10.1.2.3", 8443, configuration.Path("c"), configuration.Path("k"), hosts=("scan.example.org",))
    assert address(replace(config, server=own), "") == "https://scan.example.org:8443/"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Two keys with certificates, one key that is encrypted, and a file that is none."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("a", "b"):
        subject, files = f"/CN={name}", ("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")
        kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        command = ["openssl", "req", "-x509", *kind, "-days", "2", "-subj", subject, *files]
        subprocess.run(command, check=True, capture_output=True)
    command = ["openssl", "ec", "-in", folder / "a.key", "-aes256", "-passout", "pass:word", "-out", folder / "locked"]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "nonsense").write_text("nonsense")
    return folder


@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        ("missing", "a.key", "missing cannot be read"),
        ("a.pem", "missing", "missing cannot be read"),
        ("a.pem", "b.key", "do not do for HTTPS"),
        ("nonsense", "a.key", "do not do for HTTPS"),
        ("a.pem", "locked", "the key is encrypted"),
    ],
)
def test_a_certificate_that_does_not_do_is_said_at_the_start(tmp_path, keys, certificate, key, words):
    usable(replace(default(tmp_path), server=Server(certificate=keys / "a.pem", key=keys / "a.key")))
    with pytest.raises(UsageError, match=words):
        usable(replace(default(tmp_path), server=Server(certificate=keys / certificate, key=keys / key)))


def test_what_else_is_named_is_looked_at_too(tmp_path, keys, monkeypatch):
    monkeypatch.delenv("TAMPERSCOPE_SIGN_PASSWORD", raising=False)
    config = default(tmp_path)
    usable(replace(config, signing=Signing(keys / "a.key"), model=Model(trust=(keys / "a.pem",))))
    for wrong, words in (
        (replace(config, model=Model("no such model")), "no such model"),
        (replace(config, model=Model(trust=(keys / "nonsense",))), "no certificate in"),
        (replace(config, signing=Signing(keys / "nonsense")), "private key"),
        (replace(config, signing=Signing(keys / "locked")), "is encrypted"),
    ):
        with pytest.raises(UsageError, match=words):
            usable(wrong)
    pytest.importorskip("c2pa", reason="the extra [c2pa] is not installed")
    with pytest.raises(UsageError, match="not that of the signing key"):
        usable(replace(config, signing=Signing(keys / "a.key", keys / "b.pem")))


def test_nothing_starts_with_files_that_do_not_do(tmp_path, keys):
    config = replace(default(tmp_path), server=Server(certificate=keys / "a.pem", key=keys / "b.key"))
    before = os.umask(0o022)
    try:
        with pytest.raises(UsageError, match="do not do for HTTPS"):
            Running(config).run()
    finally:
        os.umask(before)


# --- the command line ---


def command(folder, *words, given=""):
    before = os.umask(0o022)
    try:
        return CliRunner().invoke(app, ["serve", "--folder", str(folder), *words], input=given)
    finally:
        os.umask(before)


def test_users_are_added_to_a_folder_that_is_nobody_elses(tmp_path):
    folder = tmp_path / "kept"
    done = command(folder, "users", "add", "anna", given="correct horse battery\n")
    assert done.exit_code == 0, done.output
    assert "anna may log in as administrator" in done.output
    for path in (folder, *folder.iterdir()):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    assert "anna\tadministrator" in command(folder, "users", "list").output
    assert command(folder, "users", "token", "anna").output.startswith("tsk_")


@pytest.mark.parametrize("words", [("list",), ("token", "anna"), ("password", "anna"), ("remove", "anna")])
def test_users_of_a_service_that_is_not_there_make_none(tmp_path, words):
    folder = tmp_path / "mistyped"
    done = command(folder, "users", *words, given="correct horse battery\n")
    assert done.exit_code == 2, done.output
    assert "there is no service in" in done.output
    assert not folder.exists()


def test_two_folders_are_not_taken(tmp_path):
    settings = tmp_path / "service.toml"
    settings.write_text("")
    done = command(tmp_path / "other", "--config", str(settings), "users", "list")
    assert done.exit_code == 2
    assert "cannot be given together" in done.output


# --- behind a proxy ---


@pytest.mark.parametrize(("proxy", "status"), [("127.0.0.1", 200), ("10.9.9.9", 403)])
def test_where_tls_ends_at_a_proxy_nobody_comes_past_it(tmp_path, proxy, status):
    port = free_port()
    one = service(tmp_path / "s", server=Server("0.0.0.0", port, proxies=(proxy,), hosts=("127.0.0.1",)))  # noqa: S104
    server = parts.server(one)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        answer = httpx2.get(f"http://127.0.0.1:{port}/healthz", headers={"x-forwarded-for": proxy}, trust_env=False)
        assert answer.status_code == status
        assert status == 200 or json.loads(answer.text).keys() == {"error", "hint"}
    finally:
        server.should_exit = True
        thread.join()
        one.engine.dispose()
