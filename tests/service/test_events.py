"""Server-sent events."""

import asyncio
from contextlib import aclosing

from services import chest, handed_in, work
from tamperscope.service import events
from tamperscope.service.events import Events


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
