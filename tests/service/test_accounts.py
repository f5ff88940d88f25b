"""Users, sessions, tokens, on both databases."""

import pytest
from argon2 import PasswordHasher

from databases import KINDS, Clock, database
from tamperscope.errors import UsageError
from tamperscope.jobs.database import connect, migrate
from tamperscope.service.accounts import DAY_S, LOCAL, MOST_TOKENS, Accounts, Identity

PASSWORD = "correct horse battery"  # noqa: S105


@pytest.fixture(params=KINDS)
def accounts(request, tmp_path):
    with database(request.param, tmp_path) as url:
        engine = connect(url)
        migrate(engine)
        hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        made = Accounts(engine, session_s=100.0, now=Clock(), hasher=hasher)
        made.add("root", "administrator", PASSWORD)
        made.add("reader", "viewer", PASSWORD)
        yield made
        engine.dispose()


def test_a_session_begins_with_the_password_and_ends_with_its_time(accounts):
    assert accounts.login("reader", "wrong password") is None
    assert accounts.login("nobody", PASSWORD) is None
    secret = accounts.login("reader", PASSWORD)
    found = accounts.by_session(secret)
    assert (found.name, found.role) == ("reader", "viewer")
    assert accounts.by_session(secret + "x") is None
    assert accounts.by_session(accounts.login("reader", PASSWORD)).csrf != found.csrf
    accounts.now.time += 101.0
    assert accounts.by_session(secret) is None


def test_logging_out_ends_one_session(accounts):
    first, second = accounts.login("reader", PASSWORD), accounts.login("reader", PASSWORD)
    accounts.logout(first)
    assert accounts.by_session(first) is None
    assert accounts.by_session(second) is not None


def test_a_new_password_ends_sessions(accounts):
    secret = accounts.login("reader", PASSWORD)
    assert not accounts.change_password("reader", "wrong password", "another long one")
    assert accounts.change_password("reader", PASSWORD, "another long one")
    assert accounts.by_session(secret) is None
    assert accounts.login("reader", PASSWORD) is None
    assert accounts.login("reader", "another long one") is not None


def test_a_token_has_the_role_of_its_user_until_it_is_dropped_or_over(accounts):
    token, secret = accounts.new_token("reader", "import", 1.0)
    assert accounts.by_token(secret) == Identity("reader", "viewer")
    assert accounts.by_token(secret[:-1]) is None
    assert accounts.by_token("") is None
    assert [one.label for one in accounts.tokens("reader")] == ["import"]
    assert not accounts.drop_token("root", token.id), "of another user"
    assert accounts.drop_token("reader", token.id)
    assert accounts.by_token(secret) is None
    _, short = accounts.new_token("reader", "short", 1.0)
    accounts.by_token(short)
    accounts.now.time += DAY_S + 1.0
    assert accounts.by_token(short) is None


def test_a_user_who_is_shut_out_has_neither(accounts):
    secret, token = accounts.login("reader", PASSWORD), accounts.new_token("reader", "t", 1.0)[1]
    assert accounts.by_token(token) is not None
    accounts.change("reader", disabled=True)
    assert accounts.by_session(secret) is None
    assert accounts.by_token(token) is None
    assert accounts.login("reader", PASSWORD) is None


def test_somebody_stays_in_charge(accounts):
    for change in ({"role": "viewer"}, {"disabled": True}):
        with pytest.raises(UsageError, match="last administrator"):
            accounts.change("root", **change)
    with pytest.raises(UsageError, match="last administrator"):
        accounts.remove("root")
    assert accounts.login("root", PASSWORD), "nothing was changed"
    accounts.add("second", "administrator", PASSWORD)
    accounts.remove("root")
    assert [user.name for user in accounts.users()] == ["reader", "second"]


@pytest.mark.parametrize(
    ("name", "role", "password", "words"),
    [
        ("", "viewer", PASSWORD, "cannot be called"),
        ("a b", "viewer", PASSWORD, "cannot be called"),
        (LOCAL, "viewer", PASSWORD, "cannot be called"),
        ("x" * 65, "viewer", PASSWORD, "cannot be called"),
        ("ann", "king", PASSWORD, "no role"),
        ("ann", "viewer", "short", "5 characters"),
        ("reader", "viewer", PASSWORD, "already"),
    ],
)
def test_what_will_not_do_is_said(accounts, name, role, password, words):
    with pytest.raises(UsageError, match=words):
        accounts.add(name, role, password)


@pytest.mark.parametrize("kind", KINDS)
def test_the_key_opens_a_service_until_it_has_users(kind, tmp_path):
    with database(kind, tmp_path) as url:
        engine = connect(url)
        migrate(engine)
        opened = Accounts(engine, key="key of the run")
        session = opened.session(LOCAL)
        assert opened.by_token("key of the run") == Identity(LOCAL, "administrator")
        assert opened.by_session(session).role == "administrator"
        assert opened.by_token("another") is None
        Accounts(engine).add("root", "administrator")  # by the command line, beside the service
        assert opened.by_token("key of the run") is None
        assert not opened.is_key("key of the run")
        assert opened.by_session(session) is None
        assert Accounts(engine).by_session(session) is None
        engine.dispose()


@pytest.mark.parametrize("end", ["drop", "shut out", "demote", "remove"])
def test_what_another_process_changes_holds_at_once(accounts, end):
    token, secret = accounts.new_token("reader", "t", 1.0)
    assert accounts.by_token(secret) == Identity("reader", "viewer")
    assert accounts.seen(secret)
    other = Accounts(accounts.engine, now=accounts.now)
    if end == "drop":
        other.drop_token("reader", token.id)
    elif end == "remove":
        other.remove("reader")
    else:
        other.change("reader", **({"disabled": True} if end == "shut out" else {"role": "submitter"}))
    assert accounts.by_token(secret) == (Identity("reader", "submitter") if end == "demote" else None)
    assert accounts.seen(secret) is (end == "demote")


def test_a_token_is_hashed_slowly_once(accounts, monkeypatch):
    secret = accounts.new_token("reader", "t", 1.0)[1]
    assert accounts.by_token(secret) is not None
    monkeypatch.setattr(accounts, "_matches", None)
    assert accounts.by_token(secret) is not None


def test_tokens_do_not_grow_without_end(accounts):
    for _ in range(MOST_TOKENS):
        accounts.new_token("reader", "t", 1.0)
    with pytest.raises(UsageError, match=f"reader has {MOST_TOKENS} tokens"):
        accounts.new_token("reader", "t", 1.0)
    accounts.new_token("root", "t", 1.0)
    accounts.now.time += DAY_S + 1.0
    accounts.new_token("reader", "t", 1.0)
    assert len(accounts.tokens("reader")) == 1, "what is over makes room"


def test_nothing_secret_is_stored_or_shown(accounts):
    secret = accounts.login("reader", PASSWORD)
    token = accounts.new_token("reader", "t", 1.0)[1]
    with accounts.engine.connect() as connection:
        stored = "".join(
            str(row)
            for table in ("users", "tokens", "sessions")
            for row in connection.exec_driver_sql(
                f"SELECT * FROM {table}"  # noqa: S608 - names of our own
            )
        )
    assert not any(hidden in stored for hidden in (PASSWORD, secret, token.split("_")[2]))
    assert "argon2" in stored
    assert secret not in repr(accounts.by_session(secret))
