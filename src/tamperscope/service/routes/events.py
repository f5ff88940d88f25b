"""What changes, as server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from tamperscope.service.events import Event
from tamperscope.service.gate import who
from tamperscope.service.routes.common import PROBLEMS, TheService, Viewer
from tamperscope.service.schemas import StudyOut

CHECK_S = 3.0
"""Between two looks whether a listener is still who it was."""
router = APIRouter(prefix="/api/v1", tags=["events"], responses=PROBLEMS)


@router.get("/events", response_class=EventSourceResponse)
async def events(service: TheService, identity: Viewer, request: Request) -> AsyncIterable[ServerSentEvent]:
    """Studies and uploads as they change: ``event: study`` and ``event: upload``, each with the thing as JSON.

    What is under way is told at once. An upload is told to whoever began it. The stream ends when the login does.
    """

    async def known() -> bool:
        return await asyncio.to_thread(who, service, request.headers) == identity

    async with aclosing(while_known(service.events.listen(), known, CHECK_S)) as listening:
        async for event in listening:
            if event.kind == "study":
                yield ServerSentEvent(event="study", data=StudyOut.model_validate(event.data))
            elif event.data["owner"] == identity.name or identity.may("administrator"):
                yield ServerSentEvent(event="upload", data=event.data)


async def while_known(
    listening: AsyncIterator[Event], known: Callable[[], Awaitable[bool]], check_s: float
) -> AsyncGenerator[Event]:
    """Events for as long as ``known`` says yes, which is asked every ``check_s`` seconds, whether one comes or not."""
    coming, due = asyncio.ensure_future(anext(listening, None)), time.monotonic() + check_s
    try:
        while True:
            await asyncio.wait({coming}, timeout=max(due - time.monotonic(), 0.0))
            if time.monotonic() >= due:
                if not await known():
                    return
                due = time.monotonic() + check_s
            if coming.done():
                event = coming.result()
                if event is None:
                    return
                coming = asyncio.ensure_future(anext(listening, None))
                yield event
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)  # the listener ends with what it waits for
