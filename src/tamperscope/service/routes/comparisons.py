"""Two versions of a study side by side."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from fastapi.responses import FileResponse

from tamperscope.service.routes.common import PROBLEMS, Id, Submitter, TheService, Viewer
from tamperscope.service.schemas import ComparisonIn, ComparisonOut
from tamperscope.service.studies import VIEWS

router = APIRouter(prefix="/api/v1/comparisons", tags=["comparisons"], responses=PROBLEMS)
FILE: dict[str, Any] = {"content": {"application/gzip": {"schema": {"type": "string", "format": "binary"}}}}


@router.post("", status_code=202)
def begin(wanted: ComparisonIn, service: TheService, identity: Submitter) -> ComparisonOut:
    """Let two studies that are judged be compared, voxel by voxel."""
    return ComparisonOut.model_validate(service.comparisons.begin(wanted.before, wanted.after, identity.name))


@router.get("")
def newest(service: TheService, _: Viewer) -> list[ComparisonOut]:
    """The newest hundred."""
    return [ComparisonOut.model_validate(one) for one in service.comparisons.newest()]


@router.get("/{comparison}")
def one(comparison: Id, service: TheService, _: Viewer) -> ComparisonOut:
    """What differs, once it is done."""
    return ComparisonOut.model_validate(service.comparisons.one(comparison))


@router.get("/{comparison}/series/{number}/{part}", response_class=FileResponse, responses={200: FILE})
def view(
    comparison: Id,
    number: Annotated[int, Path(ge=0, le=100_000, examples=[0])],
    part: Literal["before.nii.gz", "after.nii.gz", "difference.nii.gz"],
    service: TheService,
    _: Viewer,
) -> FileResponse:
    """Before, after, and after minus before, as NIfTI on the grid of the viewer."""
    found = service.comparisons.one(comparison)
    path = service.comparisons.file(comparison, f"{number}.difference.nii.gz")
    side = part.removesuffix(".nii.gz")
    if side != "difference":
        name = (found.result or {})["series"][number][f"{side}_name"]
        study = found.before if side == "before" else found.after
        path = service.studies.file(study.id, f"{name}.volume.nii.gz", VIEWS)
    return FileResponse(path, media_type="application/gzip", headers={"cache-control": "private, max-age=600"})
