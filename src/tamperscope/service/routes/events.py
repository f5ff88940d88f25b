"""What changes, as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterable

from fastapi import APIRouter
from fastapi.sse import EventSourceResponse, ServerSentEvent

from tamperscope.service.routes.common import PROBLEMS, TheService, Viewer
from tamperscope.service.schemas import StudyOut

router = APIRouter(prefix="/api/v1", tags=["events"], responses=PROBLEMS)


@router.get("/events", response_class=EventSourceResponse)
async def events(service: TheService, identity: Viewer) -> AsyncIterable[ServerSentEvent]:
    """Studies and uploads as they change: ``event: study`` and ``event: upload``, each with the thing as JSON.

    What is under way is told at once. An upload is told to whoever began it.
    """
    async for event in service.events.listen():
        if event.kind == "study":
            yield ServerSentEvent(event="study", data=StudyOut.model_validate(event.data))
        elif event.data["owner"] == identity.name or identity.may("administrator"):
            yield ServerSentEvent(event="upload", data=event.data)
