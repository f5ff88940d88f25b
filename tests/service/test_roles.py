"""Who may do what: every route, everybody; sessions, tries, names of the host, and what errors and logs tell."""

import asyncio
import json
import re
import shutil
import threading
from dataclasses import dataclass, replace
from io import BytesIO
from urllib.parse import quote

import httpx2
import pydicom
import pytest
from fastapi import routing
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import text, update
from sqlalchemy.exc import InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from builders import ct, to_bytes
from databases import KINDS, Clock, database
from nodes import free_port
from services import HOST, PASSWORD, caller, handed_in, running, service, until, work
from tamperscope.errors import UsageError
from tamperscope.jobs.database import migrate
from tamperscope.jobs.tables import USERS
from tamperscope.service import gate, parts
from tamperscope.service.accounts import ROLES
from tamperscope.service.app import make
from tamperscope.service.config import Limits, Server, default
from tamperscope.service.gate import COOKIE, CSRF_HEADER
from tamperscope.service.service import Service
from tamperscope.service.throttle import Throttle

ID = "0" * 32
UNBOUNDED = Limits(requests_per_minute=10**9, logins_per_minute=10**9, free_bytes=0)
SECRET = "Mustermann"  # noqa: S105 - a name
"""Of a patient: in headers, names of files and studies, and what else people type."""

OPEN, PERSON = "open", "person"
PLACES = {
    "{upload}": ID,
    "{study}": ID,
    "{number}": ID,
    "{comparison}": ID,
    "{token}": "0" * 16,
    "{name}": "nobody",
    "{series}": "none",
    "{part}": "picture.png",
}
ROUTES = {
    ("GET", "/healthz"): OPEN,
    ("GET", "/static"): OPEN,
    ("GET", "/login"): OPEN,
    ("POST", "/login"): OPEN,
    ("GET", "/enter"): OPEN,
    ("GET", "/api/v1/openapi.json"): OPEN,
    ("POST", "/logout"): "viewer",
    ("GET", "/"): "viewer",
    ("GET", "/studies/{number}"): "viewer",
    ("GET", "/studies/{number}/row"): "viewer",
    ("POST", "/studies/{number}/reviews"): "submitter",
    ("GET", "/compare"): "viewer",
    ("GET", "/comparisons/{number}"): "viewer",
    ("GET", "/models"): "viewer",
    ("GET", "/models/{name}"): "viewer",
    ("GET", "/account"): "viewer",
    ("GET", "/users"): "administrator",
    ("GET", "/audit"): "administrator",
    ("POST", "/api/v1/uploads"): "submitter",
    ("GET", "/api/v1/uploads/{upload}"): "submitter",
    ("PATCH", "/api/v1/uploads/{upload}/files/{number}"): "submitter",
    ("POST", "/api/v1/uploads/{upload}/complete"): "submitter",
    ("DELETE", "/api/v1/uploads/{upload}"): "submitter",
    ("POST", "/api/v1/studies"): "submitter",
    ("GET", "/api/v1/studies"): "viewer",
    ("GET", "/api/v1/studies.csv"): "viewer",
    ("GET", "/api/v1/studies.pdf"): "viewer",
    ("GET", "/api/v1/reviews.csv"): "administrator",
    ("GET", "/api/v1/studies/{study}"): "viewer",
    ("DELETE", "/api/v1/studies/{study}"): "submitter",
    ("POST", "/api/v1/studies/{study}/again"): "submitter",
    ("GET", "/api/v1/studies/{study}/files"): "viewer",
    ("GET", "/api/v1/studies/{study}/files/{name}"): "viewer",
    ("GET", "/api/v1/studies/{study}/report.json"): "viewer",
    ("GET", "/api/v1/studies/{study}/report.html"): "viewer",
    ("GET", "/api/v1/studies/{study}/report.pdf"): "viewer",
    ("GET", "/api/v1/studies/{study}/results.zip"): "viewer",
    ("GET", "/api/v1/studies/{study}/thumbnail.png"): "viewer",
    ("GET", "/api/v1/studies/{study}/series/{series}/{part}"): "viewer",
    ("GET", "/api/v1/studies/{study}/reviews"): "viewer",
    ("POST", "/api/v1/studies/{study}/reviews"): "submitter",
    ("POST", "/api/v1/comparisons"): "submitter",
    ("GET", "/api/v1/comparisons"): "viewer",
    ("GET", "/api/v1/comparisons/{comparison}"): "viewer",
    ("GET", "/api/v1/comparisons/{comparison}/series/{number}/{part}"): "viewer",
    ("GET", "/api/v1/models"): "viewer",
    ("GET", "/api/v1/models/{name}"): "viewer",
    ("GET", "/api/v1/me"): "viewer",
    ("POST", "/api/v1/password"): PERSON,
    ("GET", "/api/v1/tokens"): "viewer",
    ("POST", "/api/v1/tokens"): PERSON,
    ("DELETE", "/api/v1/tokens/{token}"): "viewer",
    ("GET", "/api/v1/users"): "administrator",
    ("POST", "/api/v1/users"): "administrator",
    ("PATCH", "/api/v1/users/{name}"): "administrator",
    ("DELETE", "/api/v1/users/{name}"): "administrator",
    ("GET", "/api/v1/audit"): "administrator",
    ("GET", "/api/v1/events"): "viewer",
    ("POST", "/dicomweb/studies"): "submitter",
    ("POST", "/dicomweb/studies/{study}"): "submitter",
}
"""The least role that gets through; a person is somebody who logged in, whom no token stands for."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A service that counts no requests; roles do not depend on the database."""
    made = service(tmp_path_factory.mktemp("roles"), limits=UNBOUNDED)
    yield made
    made.engine.dispose()


@pytest.fixture(scope="module")
def app(plain):
    """Its application, which takes a while to make."""
    return make(plain)


@dataclass(frozen=True)
class Somebody:
    """Whoever asks: what it shows, its role if it has one, and what it is told otherwise."""

    headers: dict[str, str]
    role: str | None = None


@pytest.fixture(scope="module")
def everybody(plain):
    accounts = plain.accounts

    def token(name, days=1.0):
        return {"authorization": f"Bearer {accounts.new_token(name, 'test', days)[1]}"}

    accounts.add("gone", "administrator", PASSWORD)
    gone, cookie = token("gone"), {"cookie": f"{COOKIE}={accounts.login('gone', PASSWORD)}"}
    accounts.change("gone", disabled=True)
    right = token("administrator")["authorization"]
    return {
        "nobody": Somebody({}),
        "wrong token": Somebody({"authorization": right[:-1] + ("A" if right[-1] != "A" else "B")}),
        "no token of ours": Somebody({"authorization": "Bearer x_y_z"}),
        "expired token": Somebody(token("administrator", -0.001)),
        "disabled user": Somebody(gone),
        "session of a disabled user": Somebody(cookie),
        "wrong session": Somebody({"cookie": f"{COOKIE}=AAAA"}),
        **{role: Somebody(token(role), role) for role in ROLES},
    }


def routes(app):
    """(method, path) of every route, whichever router it came by."""
    walk = getattr(routing, "iter_route_contexts", iter)
    for route in walk(app.routes):
        for method in sorted((route.methods or {"GET"}) - {"HEAD"}):
            yield method, route.path


def test_every_route_has_its_place_here(app):
    assert set(routes(app)) == set(ROUTES)


def status(app, method, path, headers):
    """The status of an answer that may never end: the caller goes away once it knows."""
    told = []

    async def receive():
        if told:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        told.append(message)

    raw = [(name.encode(), value.encode()) for name, value in {"host": "127.0.0.1", **headers}.items()]
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"headers": raw, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "scheme": "http"}
    asyncio.run(asyncio.wait_for(app({**scope, "root_path": "", "http_version": "1.1"}, receive, send), 30.0))
    headers = {name.decode(): value.decode() for name, value in told[0]["headers"]}
    return told[0]["status"], headers


def concrete(path):
    """A route's path with something that is not there in place of its parameters."""
    if path == "/static":
        return "/static/page.css"
    path = path.replace("/files/{number}", "/files/0").replace("/series/{number}", "/series/0")
    if path.startswith("/dicomweb"):
        path = path.replace("{study}", "1.2.3")
    if path.startswith("/api/v1/comparisons"):
        path = path.replace("{part}", "difference.nii.gz")
    for name, value in PLACES.items():
        path = path.replace(name, value)
    return path


@pytest.mark.parametrize("who", ["nobody", "wrong token", "no token of ours", "expired token", "disabled user",
                                 "session of a disabled user", "wrong session", *ROLES])  # fmt: skip
def test_who_gets_through(app, everybody, who):
    somebody = everybody[who]
    for (method, path), least in ROUTES.items():
        code, headers = status(app, method, concrete(path), somebody.headers)
        login = code == 303 and headers["location"].startswith("/login?next=")
        if "authorization" in somebody.headers and somebody.role is None:
            expected = code == 401 and headers["www-authenticate"] == "Bearer"
        elif least == OPEN:
            expected = code not in (401, 500) and not login
        elif somebody.role is None and path.startswith(("/api/", "/dicomweb/")):
            expected = code == 401 and headers["www-authenticate"] == "Bearer"
        elif somebody.role is None:
            expected = login
        elif least == PERSON or ROLES.index(somebody.role) < ROLES.index(least):
            expected = code == 403
        else:
            expected = code < 500 and code not in (401, 403) and not login
        assert expected, (method, path, code, headers.get("location"))
        assert {name: headers.get(name) for name in gate.HEADERS if name != "cache-control"} == {
            name: value for name, value in gate.HEADERS.items() if name != "cache-control"
        }, (method, path)


# --- what is others' ---


@pytest.fixture(scope="module")
def theirs(plain, tmp_path_factory):
    """A judged study and an open upload of the submitter, and somebody else of the same role."""
    plain.accounts.add("other", "submitter", PASSWORD)
    token = plain.accounts.new_token("other", "test", 1.0)[1]
    film = tmp_path_factory.mktemp("film") / "film.png"
    Image.new("L", (64, 64), 90).save(film)
    with caller(plain, "submitter") as mine:
        upload = handed_in(mine, film, "Film")
        begun = mine.post("/api/v1/uploads", json={"name": "Film", "files": [{"name": "a", "bytes": 3}]}).json()["id"]
        work(plain)
        (study,) = mine.get(f"/api/v1/uploads/{upload}").json()["studies"]
    headers = {"authorization": f"Bearer {token}"}
    with TestClient(make(plain), base_url=HOST, headers=headers, follow_redirects=False) as other:
        yield other, study, begun


def test_what_is_others_is_not_changed(theirs, plain):
    other, study, _ = theirs
    assert other.get(f"/api/v1/studies/{study}").status_code == 200, "everybody looks at all studies"
    assert other.delete(f"/api/v1/studies/{study}").status_code == 403
    assert other.post(f"/api/v1/studies/{study}/again").status_code == 403
    with caller(plain, "viewer") as viewer:
        assert viewer.delete(f"/api/v1/studies/{study}").status_code == 403
    assert plain.studies.one(study).state == "done"


def test_uploads_of_others_are_not_there(theirs, plain):
    other, _, upload = theirs
    for method, path in (
        ("GET", ""),
        ("PATCH", "/files/0"),
        ("POST", "/complete"),
        ("DELETE", ""),
    ):
        answer = other.request(method, f"/api/v1/uploads/{upload}{path}", content=b"")
        assert answer.status_code == 404, (method, path)
    with caller(plain, "administrator") as administrator:
        assert administrator.get(f"/api/v1/uploads/{upload}").status_code == 200


def test_tokens_of_others_are_not_there(theirs, plain):
    other, _, _ = theirs
    token, secret = plain.accounts.new_token("submitter", "mine", 1.0)
    assert token.id not in other.get("/api/v1/tokens").text
    assert other.delete(f"/api/v1/tokens/{token.id}").status_code == 404
    assert plain.accounts.by_token(secret) is not None


# --- sessions ---


def browser(one, host="127.0.0.1"):
    return TestClient(make(one), base_url=HOST, client=(host, 50000), follow_redirects=False)


def enter(client, name="submitter", password=PASSWORD, **more):
    return client.post("/login", data={"name": name, "password": password, **more})


def test_the_cookie_is_for_this_service_alone(plain, tmp_path):
    with browser(plain) as client:
        said = enter(client).headers["set-cookie"].lower()
        assert all(word in said for word in ("httponly", "samesite=strict", "path=/", "max-age=43200"))
        assert "domain" not in said
    behind = service(tmp_path / "tls", server=Server(proxies=("10.0.0.1",)))
    with browser(behind) as client:
        assert "; secure" in enter(client).headers["set-cookie"].lower(), "by HTTPS alone where there is HTTPS"
    behind.engine.dispose()


def test_a_login_leads_to_pages_of_this_service_alone(plain):
    for wanted, where in (
        ("/studies/1", "/studies/1"),
        ("https://elsewhere.example/", "/"),
        ("//elsewhere.example/", "/"),
        ("/\\elsewhere.example/", "/"),
        ("javascript:alert(1)", "/"),
    ):
        with browser(plain) as client:
            assert enter(client, next=wanted).headers["location"] == where


def test_what_changes_something_needs_the_value_that_pages_know(plain):
    with browser(plain) as one, browser(plain) as two:
        enter(one)
        enter(two)
        own = plain.accounts.by_session(one.cookies[COOKIE]).csrf
        other = plain.accounts.by_session(two.cookies[COOKIE]).csrf
        body = {"label": "t", "days": 1.0}
        for headers in ({}, {CSRF_HEADER: ""}, {CSRF_HEADER: own[:-1]}, {CSRF_HEADER: other}, {CSRF_HEADER: "ä"}):
            raw = {name: value.encode("latin-1") for name, value in headers.items()}
            answer = one.post("/api/v1/tokens", json=body, headers=raw)
            assert answer.status_code == 403, headers
        form = one.post("/api/v1/tokens", content=b"{}", headers={"content-type": "application/x-www-form-urlencoded"})
        assert form.status_code == 403, "what a form of another site can send"
        assert one.post("/api/v1/tokens", json=body, headers={CSRF_HEADER: own}).status_code == 201
        assert one.get("/api/v1/tokens").status_code == 200


def test_logging_out_needs_its_field(plain):
    with browser(plain) as client:
        enter(client)
        csrf = plain.accounts.by_session(client.cookies[COOKIE]).csrf
        for data in ({}, {"csrf": ""}, {"csrf": csrf[:-1]}, {"csrf": "ä"}):
            assert client.post("/logout", data=data).status_code == 403
        assert client.get("/api/v1/me").status_code == 200
        session = client.cookies[COOKIE]
        assert client.post("/logout", data={"csrf": csrf}).headers["location"] == "/login"
        assert plain.accounts.by_session(session) is None
        assert COOKIE not in client.cookies


@pytest.mark.parametrize(
    ("origin", "good"),
    [
        (None, True),
        ("http://127.0.0.1", True),
        ("https://127.0.0.1", True),
        ("http://127.0.0.1:8080", False),
        ("https://elsewhere.example", False),
        ("null", False),  # a sandboxed frame of any site
    ],
)
def test_no_other_site_logs_somebody_in(plain, origin, good):
    with browser(plain) as client:
        headers = {} if origin is None else {"origin": origin}
        answer = client.post("/login", data={"name": "submitter", "password": PASSWORD}, headers=headers)
        assert answer.status_code == (303 if good else 403)
        assert (COOKIE in client.cookies) is good
        assert answer.headers["referrer-policy"] == "same-origin", "else browsers send null for forms of ours too"


def test_a_new_password_ends_sessions(fresh):
    with browser(fresh) as one, browser(fresh) as two:
        enter(one)
        enter(two)
        csrf = {CSRF_HEADER: fresh.accounts.by_session(one.cookies[COOKIE]).csrf}
        wrong = {"old": "not the password", "new": "another long password"}
        assert one.post("/api/v1/password", json=wrong, headers=csrf).status_code == 403
        right = {"old": PASSWORD, "new": "another long password"}
        assert one.post("/api/v1/password", json=right, headers=csrf).status_code == 204
        for client in (one, two):
            assert client.get("/api/v1/me").status_code == 401
        assert "wrong=true" in enter(one).headers["location"]
        entered = enter(one, password="another long password")  # noqa: S106 - of a test
        assert entered.headers["location"] == "/"


def test_a_role_that_is_taken_away_is_gone_at_once(fresh):
    token = fresh.accounts.new_token("administrator", "t", 1.0)[1]
    with caller(fresh, "administrator") as client, browser(fresh) as lesser:
        lesser.headers["authorization"] = f"Bearer {fresh.accounts.new_token('submitter', 't', 1.0)[1]}"
        assert lesser.get("/api/v1/me").json()["role"] == "submitter"
        assert client.patch("/api/v1/users/submitter", json={"role": "viewer"}).status_code == 200
        assert lesser.post("/api/v1/studies", content=b"x").status_code == 403
        assert client.patch("/api/v1/users/submitter", json={"disabled": True}).status_code == 200
        assert lesser.get("/api/v1/me").status_code == 401
        assert client.delete("/api/v1/users/submitter").status_code == 204
    assert fresh.accounts.by_token(token) is not None


def test_the_last_administrator_stays(fresh):
    with caller(fresh, "administrator") as client:
        address = "/api/v1/users/administrator"
        assert client.delete(address).status_code == 409
        for change in ({"role": "viewer"}, {"disabled": True}):
            assert client.patch(address, json=change).status_code == 409
        assert client.get("/api/v1/me").json()["role"] == "administrator"


@pytest.mark.parametrize("kind", KINDS)
def test_two_administrators_do_not_remove_each_other(kind, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with database(kind, tmp_path) as url:
        one = service(tmp_path / "service", url)
        for _ in range(5):
            for name in ("ann", "bob"):
                one.accounts.add(name, "administrator")
            if any(user.name == "administrator" for user in one.accounts.users()):
                one.accounts.remove("administrator")
            with ThreadPoolExecutor(2) as pool:
                told = list(pool.map(lambda name: _tried(one.accounts.remove, name), ("ann", "bob")))
            assert sorted(told) == ["", "this is the last administrator"]
            one.accounts.add("administrator", "administrator")
            (left,) = [user.name for user in one.accounts.users() if user.name in ("ann", "bob")]
            one.accounts.remove(left)
        one.engine.dispose()


def _tried(call, *args):
    try:
        call(*args)
    except UsageError as error:
        return error.message
    return ""


# --- tries, and how often ---


@pytest.fixture
def slow(fresh):
    """A service whose time stands still: what it counts does not come back."""
    fresh.failures = Throttle(10.0, 10.0, Clock())
    return fresh


def test_wrong_passwords_are_counted_by_host(slow):
    with browser(slow) as client, browser(slow, "10.0.0.9") as elsewhere:
        for number in range(10):
            name = "submitter" if number % 2 else f"nobody{number}"
            assert enter(client, name, "a wrong password").headers["location"] == "/login?wrong=true"
        for password in ("a wrong password", PASSWORD):
            answer = enter(client, password=password)
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) > 0
        assert enter(elsewhere).status_code == 303
        assert enter(elsewhere).status_code == 303, "what was right costs nothing"
    denied = [line for line in audited(slow) if line["event"] == "denied"]
    assert len(denied) == 10, "whoever goes on guessing does not fill the disk"
    assert [line.get("last", False) for line in denied] == [False] * 9 + [True]


def test_wrong_keys_of_the_run_are_counted_too(slow):
    with browser(slow) as client:
        told = [client.get("/enter", params={"key": "wrong"}).status_code for _ in range(11)]
    assert told == [403] * 10 + [429]


def test_guesses_of_one_kind_shut_out_no_other(slow):
    """Whoever shares an address, or has a browser ask from a page of another site, takes nobody's way in."""
    with browser(slow) as client:
        for _ in range(12):
            client.get("/enter", params={"key": "wrong"})
        known = slow.accounts.new_token("viewer", "t", 1.0)[1]
        asked = client.get("/api/v1/me", headers={"authorization": f"Bearer {known}"})
        assert (asked.status_code, enter(client).status_code) == (200, 303)
        for _ in range(12):
            client.get("/api/v1/me", headers={"authorization": "Bearer x"})
        assert enter(client).headers["location"] == "/"


def test_a_page_of_another_site_spends_nothing(slow):
    with browser(slow) as client:
        told = [
            client.get("/enter", params={"key": "wrong"}, headers={"sec-fetch-site": "cross-site"}).status_code
            for _ in range(12)
        ]
        assert told == [403] * 12
        assert client.get("/enter", params={"key": "wrong"}).status_code == 403
    assert len([line for line in audited(slow) if line["event"] == "denied"]) == 1


def test_a_first_user_ends_the_key(tmp_path):
    one = Service.of(default(tmp_path / "s"), "the key")
    migrate(one.engine)
    with TestClient(make(one), base_url=HOST, headers={"authorization": "Bearer the key"}) as client:
        first = {"name": "ann", "role": "administrator"}
        assert client.post("/api/v1/users", json=first).status_code == 409, "who could not log in"
        assert client.post("/api/v1/users", json={**first, "password": PASSWORD}).status_code == 201
        assert client.get("/api/v1/me").status_code == 401
    one.engine.dispose()


def test_a_torn_line_does_not_break_the_audit_log(fresh):
    path = fresh.config.folder / "audit.jsonl"
    path.write_bytes(b'{"event": "first"}\n{"event": "cut sh\n\xff\xfe\n[1]\n{"event": "last"}\n')
    with caller(fresh, "administrator") as client:
        told = client.get("/api/v1/audit").json()
        assert client.get("/audit").status_code == 200
    assert [line["event"] for line in told] == ["last", "first"]


@pytest.mark.parametrize("error", [PoolTimeoutError("none is free"), InterfaceError("", {}, Exception("closed"))])
def test_a_database_that_is_away_is_told_as_such(fresh, monkeypatch, error):
    with caller(fresh, "viewer") as client:

        def away(_):
            raise error

        monkeypatch.setattr(fresh.accounts, "by_token", away)
        answer = client.get("/api/v1/me")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert complete(answer)


def test_wrong_tokens_are_counted_by_host_and_right_ones_still_heard(slow):
    with browser(slow) as client, browser(slow, "10.0.0.9") as elsewhere:
        known, fresh_one = (slow.accounts.new_token("viewer", "t", 1.0)[1] for _ in range(2))

        def asked(by, token):
            return by.get("/api/v1/me", headers={"authorization": f"Bearer {token}"})

        assert asked(client, known).status_code == 200
        assert [asked(client, f"tsk_{n:016x}_secret").status_code for n in range(11)] == [401] * 10 + [429]
        assert asked(client, known).status_code == 200, "was right before"
        assert asked(client, fresh_one).status_code == 429
        assert asked(elsewhere, fresh_one).status_code == 200
    assert len([line for line in audited(slow) if line["event"] == "denied"]) == 10


@pytest.mark.parametrize("role", ["viewer", None])
def test_too_many_requests_are_told_when_to_come_back(tmp_path, role):
    limits = Limits(requests_per_minute=60)
    one = service(tmp_path / "s", limits=limits)
    one.requests = Throttle(60.0, 10.0, Clock())
    with caller(one, role) as client:
        for path in ("/api/v1/me", "/healthz", "/"):
            one.requests = Throttle(60.0, 10.0, Clock())
            answers = [client.get(path) for _ in range(11)]
            assert all(answer.status_code in (200, 303, 401) for answer in answers[:10])
            assert answers[10].status_code == 429
            assert answers[10].headers["retry-after"] == "2"
            assert answers[10].json().keys() == {"error", "hint"}
    one.engine.dispose()


# --- names of the host ---


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:8484", True),
        ("LOCALHOST", True),
        ("[::1]:8484", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("127.0.0.1:8484@evil.example", False),
        ("", False),
    ],
)
def test_it_answers_to_its_own_names_alone(app, everybody, host, good):
    for path in ("/api/v1/me", "/", "/healthz", "/static/page.css"):
        code, _ = status(app, "GET", path, {**everybody["viewer"].headers, "host": host})
        assert (code == 421) is not good, path


# --- errors ---


def complete(answer):
    """Whether an error has what every error has."""
    told = answer.json()
    return (
        told.keys() >= {"error", "hint"}
        and bool(told["error"])
        and all(answer.headers.get(name) == value for name, value in gate.HEADERS.items())
        and answer.headers["content-type"] == "application/json"
    )


@pytest.mark.parametrize(
    ("code", "method", "path", "options"),
    [
        (400, "GET", "/api/v1/me?a=%00", {}),
        (400, "POST", "/api/v1/tokens", {"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}),
        (404, "GET", "/api/v1/nothing", {}),
        (404, "GET", f"/api/v1/studies/{ID}", {}),
        (404, "GET", "/studies/", {}),
        (405, "PUT", "/api/v1/me", {}),
        (409, "PATCH", "/api/v1/users/administrator", {"json": {"disabled": True}}),
        (413, "POST", "/api/v1/tokens", {"content": b"x" * (5 << 20)}),
        (413, "POST", "/api/v1/uploads", {"json": {"name": "n", "files": [{"name": "a", "bytes": 1 << 50}]}}),
        (415, "POST", "/api/v1/tokens", {"content": b"x", "headers": {"content-encoding": "gzip"}}),
        (422, "POST", "/api/v1/users", {"json": {"name": "n", "role": "many"}}),
        (422, "PATCH", f"/api/v1/uploads/{ID}/files/{10**40}", {}),
    ],
)
def test_errors_say_what_and_the_way_out_and_nothing_of_the_request(plain, code, method, path, options):
    with caller(plain, "administrator") as client:
        answer = client.request(method, path, **options)
    assert answer.status_code == code, answer.text
    assert complete(answer)


def test_too_long_a_body_without_a_stated_length(plain):
    def endless():
        for _ in range(100):
            yield b"x" * 65536

    with caller(plain, "administrator") as client:
        answer = client.post("/api/v1/tokens", content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert complete(answer)


def test_nothing_that_was_sent_comes_back(plain):
    sent = f"<script>{SECRET}"
    with caller(plain, "administrator") as client:
        answers = [
            client.get(f"/api/v1/{sent}"),
            client.get(f"/{sent}", headers={"accept": "text/html"}),
            client.get(f"/models/{sent}", headers={"accept": "text/html"}),
            client.get(f"/api/v1/models/{sent}"),
            client.get(f"/api/v1/studies/{sent}"),
            client.get(f"/api/v1/studies/{ID}/files/{sent}"),
            client.get("/api/v1/studies", params={"state": sent, sent: "1"}),
            client.get("/api/v1/studies", params={"limit": sent}),
            client.post("/api/v1/tokens", json={sent: sent}),
            client.post("/api/v1/tokens", json={"label": "x", sent: sent}),
            client.post("/api/v1/uploads", json={"name": "n", "files": [{"name": "a", "bytes": 1, sent: 1}]}),
            client.post("/api/v1/uploads", json={"name": "n", "files": [{"name": sent, "bytes": sent}]}),
            client.post("/api/v1/tokens", content=sent, headers={"content-type": "application/json"}),
            client.post("/api/v1/users", json={"name": sent, "role": sent, "password": sent}),
            client.patch(f"/api/v1/users/{sent}", json={"role": "viewer"}),
            client.post(f"/api/v1/studies/{ID}/reviews", json={"series": sent, "opinion": sent}),
            client.post(
                "/dicomweb/studies", content=sent, headers={"content-type": f"multipart/related; boundary={sent}"}
            ),
            client.post("/login", data={"name": sent * 1000, "password": sent}),
            client.get("/enter", params={"key": sent}),
            client.get("/api/v1/me", headers={"host": sent}),
            client.get("/api/v1/me", headers={"authorization": f"Bearer {sent}"}),
        ]
        begun = client.post("/api/v1/uploads", json={"name": sent, "files": [{"name": sent, "bytes": 1}]}).json()["id"]
        answers.append(client.patch(f"/api/v1/uploads/{begun}/files/0", content=b"too long"))
    for number, answer in enumerate(answers):
        assert 400 <= answer.status_code < 500, (number, answer.status_code)
        assert SECRET not in answer.text + str(answer.headers), (number, answer.text)


def test_a_fault_of_ours_is_told_as_one_and_where_it_is(fresh, capfd):
    with caller(fresh, "viewer") as client:
        with fresh.engine.begin() as connection:
            connection.execute(update(USERS).where(USERS.c.name == "viewer").values(role=SECRET))
        answer = client.get("/api/v1/me")
        assert answer.status_code == 500
        assert complete(answer)
        (said,) = [line["reason"] for line in audited(fresh) if line["event"] == "trouble"]
        assert re.fullmatch(r"ValueError at tamperscope[.\w]+:\d+", said)
        with fresh.engine.begin() as connection:
            connection.execute(text("DROP TABLE users"))
            connection.execute(text("DROP TABLE tokens"))
        answer = client.get("/api/v1/me")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert complete(answer)
    assert SECRET not in "".join(capfd.readouterr()) + (fresh.config.folder / "audit.jsonl").read_text()


def test_addresses_with_zero_bytes_reach_no_database(one):
    with caller(one, "administrator") as client:
        for path in ("/studies/%00", "/api/v1/models/%00", "/?text=%00", "/?upload=a%00", "/compare?before=%00"):
            answer = client.get(path)
            assert answer.status_code == 400, path
    with browser(one) as client:
        assert enter(client, "a\0b").status_code == 422
        assert enter(client, "ab", "\0" * 20).status_code == 422


def audited(one):
    lines = (one.config.folder / "audit.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


# --- what logs tell ---


def test_no_patient_in_what_a_service_writes_down(tmp_path, capfd):
    """H10: a planted name in headers, names of files and studies, comments and addresses is in no log."""
    secret = f"{SECRET}^Erika"
    whole = ct(PatientName=secret, PatientID=secret)
    blank = "1" * len(SECRET)
    odd = to_bytes(ct(index=1, StudyInstanceUID=f"1.2.{blank}", Modality=blank))
    odd = odd.replace(blank.encode(), SECRET.encode())  # which pydicom would warn of
    cut = ct(index=2, PatientName=secret, StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.1")
    undecodable = _undecodable(secret)
    folder = tmp_path / SECRET
    folder.mkdir()
    for number, data in enumerate((to_bytes(whole), odd, to_bytes(cut)[:-200], undecodable, b"nothing")):
        (folder / f"{SECRET}{number}.dcm").write_bytes(data)
    with running(tmp_path / "service", free_port()) as (process, client):
        upload = handed_in(client, folder, secret)
        alone = handed_in(client, folder / f"{SECRET}3.dcm", secret)
        body = b"".join(
            b"--x\r\nContent-Type: application/dicom\r\n\r\n" + file.read_bytes() + b"\r\n"
            for file in sorted(folder.iterdir())
        )
        stow = {"content-type": f'multipart/related; type="application/dicom"; boundary=x; {SECRET}=1'}
        assert client.post("/dicomweb/studies", content=body + b"--x--", headers=stow).status_code == 202
        client.post("/dicomweb/studies", content=b"--y\r\n" + SECRET.encode(), headers=stow)
        client.get(f"/api/v1/{SECRET}", params={"text": SECRET})
        client.get("/api/v1/studies", params={"text": SECRET})
        client.post("/api/v1/tokens", content=secret, headers={"content-type": "application/json"})
        httpx2.post(f"{client.base_url}/login", data={"name": SECRET, "password": secret}, trust_env=False)
        found = [study for one in (upload, alone) for study in _read(client, one)]
        for study in found:
            until(lambda study=study: client.get(f"/api/v1/studies/{study}").json()["state"] in ("done", "failed"))
        states = {client.get(f"/api/v1/studies/{study}").json()["state"] for study in found}
        assert states == {"done", "failed"}
        for study in found:
            report = client.get(f"/api/v1/studies/{study}/report.json")
            if report.status_code == 200:
                told = {"series": report.json()["studies"][0]["series"][0]["name"], "opinion": "unsure"}
                answer = client.post(f"/api/v1/studies/{study}/reviews", json={**told, "comment": "see slice 3"})
                assert answer.status_code == 201
                assert client.get(f"/api/v1/studies/{study}/report.html").status_code == 200
            assert client.delete(f"/api/v1/studies/{study}").status_code == 204
        process.terminate()
        out = process.stdout.read()
    log = (tmp_path / "service" / "audit.jsonl").read_text()
    assert {json.loads(line)["event"] for line in log.splitlines()} >= {"judged", "dead", "reviewed", "deleted"}
    assert SECRET.lower() not in (log + out + "".join(capfd.readouterr())).lower()


def _read(client, upload):
    until(lambda: client.get(f"/api/v1/uploads/{upload}").json()["state"] == "read")
    return client.get(f"/api/v1/uploads/{upload}").json()["studies"]


def _undecodable(secret):
    """A DICOM file whose header is good and whose pixels are no JPEG 2000 stream."""
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless

    dataset = ct(index=3, PatientName=secret, StudyInstanceUID="1.2.4", SeriesInstanceUID="1.2.4.1")
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelData = encapsulate([secret.encode() * 4])
    dataset["PixelData"].is_undefined_length = True
    stream = BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def test_limits_are_the_callers_alone(tmp_path):
    """What one user has used up, another still has."""
    one = service(tmp_path / "s", limits=replace(UNBOUNDED, user_bytes=1 << 20, file_bytes=1 << 20))
    with caller(one, "submitter") as client, caller(one, "administrator") as other:
        told = {"name": "n", "files": [{"name": "a", "bytes": 1 << 20}]}
        assert client.post("/api/v1/uploads", json=told).status_code == 201
        refused = client.post("/api/v1/uploads", json=told)
        assert (refused.status_code, complete(refused)) == (413, True)
        assert client.post("/api/v1/studies", content=b"x" * 2).status_code == 413
        assert other.post("/api/v1/uploads", json=told).status_code == 201
    one.engine.dispose()


def test_a_real_browser_says_whose_form_it_is(tmp_path):
    """It names our origin for our own form, and none for one of a page without a name."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    port = free_port()
    one = service(tmp_path / "s", server=Server(port=port))
    server, address = parts.server(one), f"{HOST}:{port}"
    thread = threading.Thread(target=server.run)
    thread.start()
    form = (
        f'<form method="post" action="{address}/login"><input name="name" value="submitter">'
        f'<input name="password" value="{PASSWORD}"></form><script>document.forms[0].submit()</script>'
    )
    try:
        until(lambda: server.started)
        with playwright.sync_playwright() as started:
            opened = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = opened.new_page()
            with page.expect_response(f"{address}/login") as answered:
                page.goto(f"data:text/html,{quote(form)}")
            assert answered.value.status == 403
            assert page.context.cookies() == []
            page.goto(f"{address}/")
            page.fill("[name=name]", "submitter")
            page.fill("[name=password]", PASSWORD)
            page.click("form[action='/login'] button")
            page.wait_for_url(f"{address}/")
            assert [cookie["name"] for cookie in page.context.cookies()] == [COOKIE]
            opened.close()
    finally:
        server.should_exit = True
        thread.join()
        one.engine.dispose()
