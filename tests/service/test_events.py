"""Server-sent events."""

import asyncio
from contextlib import aclosing

import pytest

from services import chest, handed_in, work
from tamperscope.service import events
from tamperscope.service.app import make
from tamperscope.service.events import Events
from tamperscope.service.routes.events import while_known


def test_what_is_under_way_is_told_at_once_and_then_what_changes(one, submitter, tmp_path):
    upload = handed_in(submitter, chest(tmp_path / "ct", slices=2))
    feed = Events(one.studies, one.uploads)

    async def listen():
        told = []
        watching = asyncio.create_task(feed.run())
        async with aclosing(feed.listen()) as listening:
            async for event in listening:
                told.append((event.kind, event.data["state"]))
                if len(told) == 1:
                    await asyncio.to_thread(work, one)
                if told[-1] == ("study", "done"):
                    break
        watching.cancel()
        return told

    told = asyncio.run(asyncio.wait_for(listen(), 60.0))
    assert told[0] == ("upload", "received")
    assert told.count(("study", "done")) == 1
    assert ("upload", "read") in told
    assert one.uploads.one(upload).state == "read"


def test_a_listener_that_does_not_listen_is_let_go(one, monkeypatch):
    monkeypatch.setattr(events, "MOST_WAITING", 3)
    feed = Events(one.studies, one.uploads)

    async def listen():
        listening = feed.listen()
        first = asyncio.create_task(anext(listening, None))
        await asyncio.sleep(0)
        while not feed._listeners:
            await asyncio.sleep(0.01)
        for number in range(10):
            feed._tell(events.Event("study", {"id": str(number)}))
        assert not feed._listeners
        await first
        return [event.data["id"] async for event in listening]

    assert len(asyncio.run(listen())) <= 3


def test_the_stream_is_described(submitter):
    schema = submitter.get("/api/v1/openapi.json").json()
    answers = schema["paths"]["/api/v1/events"]["get"]["responses"]["200"]["content"]
    assert "text/event-stream" in answers


@pytest.mark.parametrize("busy", [True, False])
def test_the_stream_ends_when_the_listener_is_known_no_more(one, busy):
    feed, asked = Events(one.studies, one.uploads), []

    async def known():
        asked.append(True)
        if busy:
            feed._tell(events.Event("study", {"id": str(len(asked))}))
        return len(asked) < 3

    async def listen():
        return [event.data["id"] async for event in while_known(feed.listen(), known, check_s=0.01)]

    told = asyncio.run(asyncio.wait_for(listen(), 30.0))
    assert len(asked) == 3
    assert {"1", "2"} <= set(told) if busy else not {"1", "2"} & set(told)
    assert not feed._listeners


def test_a_token_that_is_dropped_hears_nothing_more(fresh, monkeypatch):
    from tamperscope.service.routes import events as route

    monkeypatch.setattr(route, "CHECK_S", 0.05)
    token, secret = fresh.accounts.new_token("viewer", "t", 1.0)
    app, told = make(fresh), []
    headers = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {secret}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/api/v1/events", "raw_path": b"/api/v1/events", "scheme": "http"}
    scope |= {"headers": headers, "query_string": b"", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}

    async def receive():
        if told:
            await asyncio.Event().wait()  # the caller stays
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        told.append(message)
        if message["type"] == "http.response.start":
            await asyncio.to_thread(fresh.accounts.drop_token, "viewer", token.id)

    asyncio.run(asyncio.wait_for(app({**scope, "root_path": "", "http_version": "1.1"}, receive, send), 30.0))
    assert told[0]["status"] == 200
    assert told[-1]["type"] == "http.response.body"
    assert not told[-1].get("more_body", False)
