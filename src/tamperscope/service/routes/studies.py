"""Studies: lists, results, reviews."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Depends, Query, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, StreamingResponse

from tamperscope.records import JSON, Label
from tamperscope.report import pdf, words
from tamperscope.service.accounts import Identity
from tamperscope.service.routes.common import PROBLEMS, Administrator, Id, Submitter, TheService, Viewer, owned
from tamperscope.service.schemas import ResultOut, ReviewIn, ReviewOut, StudiesOut, StudyOut
from tamperscope.service.service import Service
from tamperscope.service.studies import IMAGES, RESULTS, VIEWS, Filter, Opinion, Sort, StudyRow

router = APIRouter(prefix="/api/v1", tags=["studies"], responses=PROBLEMS)
TYPES = {
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".gz": "application/gzip",
    ".dcm": "application/dicom",
}
REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
"""For the report, which has its style and its pictures in itself."""
SHOWN_POLICY = {"cache-control": "private, max-age=600"}
"""Of what the viewer fetches, whose address has the version of the result in it."""
MOST_EXPORTED, MOST_PRINTED = 10_000, 1000
BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
REPORT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"schema": {"type": "object", "description": "tamperscope/report/1"}}}}
}


def wanted(
    state: Literal["gathering", "waiting", "running", "done", "failed"] | None = None,
    verdict: Literal["suspicious", "inconclusive", "no_evidence"] | None = None,
    modality: Annotated[str | None, Query(max_length=16, pattern=r"^[A-Z0-9 ]*$", examples=["CT"])] = None,
    opinion: Opinion | None = None,
    upload: Annotated[str | None, Query(max_length=32, pattern=r"^[0-9a-f]*$")] = None,
    text: Annotated[
        str, Query(max_length=200, pattern=r"^[^\x00]*$", description="Part of name, owner or Study Instance UID.")
    ] = "",
    sort: Sort = "suspicion",
    descending: bool = True,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> Filter:
    """A filter as the address has it; an empty value filters nothing."""
    return Filter(state, verdict, modality or None, opinion, upload or None, text, sort, descending, limit, offset)


def _holds(*kinds: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": dict.fromkeys(kinds, BINARY)}}


ANY_RESULT = _holds("application/octet-stream", *(kind.split(";")[0] for kind in TYPES.values()))
ANY_RESULT[200]["content"]["application/json"] = REPORT[200]["content"]["application/json"]
ResultName = Annotated[str, PathParameter(max_length=1000, examples=["report.json"])]
SeriesName = Annotated[str, PathParameter(max_length=1000, examples=["case17"])]
Wanted = Annotated[Filter, Depends(wanted)]


@router.get("/studies")
def find(chosen: Wanted, service: TheService, _: Viewer) -> StudiesOut:
    """List, search, filter and sort studies; the most suspicious come first."""
    page = service.studies.find(chosen)
    return StudiesOut(total=page.total, studies=[StudyOut.model_validate(row) for row in page.rows])


@router.get("/studies.csv", response_class=Response, responses=_holds("text/csv"))
def as_csv(chosen: Wanted, service: TheService, identity: Viewer) -> Response:
    """The list as a table, with all that fit whatever ``limit`` says."""
    stream = io.StringIO()
    names = [one.name for one in fields(StudyRow)]
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(names)
    for row in _all(service, chosen):
        table.writerow([_cell(name, getattr(row, name)) for name in names])
    service.audit.write("exported", what="list", user=identity.name)
    return _download(stream.getvalue().encode(), "studies.csv")


@router.get("/studies.pdf", response_class=Response, responses=_holds("application/pdf"))
def as_pdf(chosen: Wanted, service: TheService, identity: Viewer) -> Response:
    """The list to print, with small pictures; the first thousand that fit whatever ``limit`` says."""
    rows = [_printed(service, row) for row in _all(service, chosen) if row.state == "done"][:MOST_PRINTED]
    service.audit.write("exported", what="list", user=identity.name)
    return _download(pdf.batch(rows, made=datetime.now(UTC)), "studies.pdf")


@router.get("/reviews.csv", response_class=Response, responses=_holds("text/csv"))
def manifest(service: TheService, identity: Administrator) -> Response:
    """What people thought, as a manifest to train with: save it in the folder of the service.

    A row a file, the latest opinion on its series; what nobody was sure of is left out.
    """
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(("path", "patient", "series", "label", "generator", "modality"))
    for row, review in service.studies.reviewed():
        answer = service.studies.report(row.id) if review.opinion != "unsure" else None
        for series in answer.series if answer else ():
            if series.name == review.series:
                label = "forged" if review.opinion == "tampered" else "authentic"
                for file in sorted({file.split("!")[0] for file in series.files}):
                    path = f"studies/{row.id}/{IMAGES}/{file}"
                    table.writerow((path, row.study_uid or row.id, series.name, label, "", series.modality))
    service.audit.write("exported", what="reviews", user=identity.name)
    return _download(stream.getvalue().encode(), "manifest.csv")


@router.get("/studies/{study}")
def one(study: Id, service: TheService, _: Viewer) -> StudyOut:
    """One study."""
    return StudyOut.model_validate(service.studies.one(study))


@router.delete("/studies/{study}", status_code=204)
def delete(study: Id, service: TheService, identity: Submitter) -> Response:
    """Delete a study with its images and results: one's own, or any as an administrator."""
    owned(service.studies.one(study), identity)
    service.studies.delete(study)
    service.audit.write("deleted", study=study, user=identity.name)
    return Response(status_code=204)


@router.post("/studies/{study}/again", status_code=202)
def again(study: Id, service: TheService, identity: Submitter) -> StudyOut:
    """Let a study be judged anew, for example by a newer model."""
    owned(service.studies.one(study), identity)
    return StudyOut.model_validate(service.studies.again(study))


@router.get("/studies/{study}/files")
def files(study: Id, service: TheService, _: Viewer) -> list[ResultOut]:
    """The files with results: reports, pictures, heat maps, DICOM objects."""
    service.studies.one(study)
    return [ResultOut.model_validate(file) for file in service.studies.files(study)]


@router.get("/studies/{study}/files/{name}", response_class=FileResponse, responses=ANY_RESULT)
def file(study: Id, name: ResultName, service: TheService, identity: Viewer) -> FileResponse:
    """A file with results."""
    path = service.studies.file(study, name)
    service.audit.write("exported", study=study, what=path.suffix, user=identity.name)
    return _file(path)


@router.get("/studies/{study}/report.json", response_class=FileResponse, responses=REPORT)
def report_json(study: Id, service: TheService, identity: Viewer) -> FileResponse:
    """The report by the schema tamperscope/report/1."""
    return _report(service, study, "report.json", identity)


@router.get("/studies/{study}/report.html", response_class=FileResponse, responses=_holds("text/html"))
def report_html(study: Id, service: TheService, identity: Viewer) -> FileResponse:
    """The report as a page of its own."""
    return _report(service, study, "report.html", identity)


@router.get("/studies/{study}/report.pdf", response_class=FileResponse, responses=_holds("application/pdf"))
def report_pdf(study: Id, service: TheService, identity: Viewer) -> FileResponse:
    """The report to print or send."""
    return _report(service, study, "report.pdf", identity)


@router.get(
    "/studies/{study}/results.zip",
    response_class=StreamingResponse,
    responses=_holds("application/zip"),
)
def results(study: Id, service: TheService, identity: Viewer) -> StreamingResponse:
    """All results in one archive."""
    paths = [service.studies.file(study, one.name) for one in service.studies.files(study)]
    if not paths:
        service.studies.file(study, "report.json")
    service.audit.write("exported", study=study, what="all", user=identity.name)
    headers = {"content-disposition": 'attachment; filename="results.zip"'}
    return StreamingResponse(zipped(paths), media_type="application/zip", headers=headers)


@router.get("/studies/{study}/thumbnail.png", response_class=FileResponse, responses=_holds("image/png"))
def thumbnail(study: Id, service: TheService, _: Viewer) -> FileResponse:
    """A small picture of the most suspicious slice."""
    return _file(service.studies.file(study, "thumbnail.png", VIEWS), shown=True)


@router.get(
    "/studies/{study}/series/{series}/{part}",
    response_class=FileResponse,
    responses=_holds("image/png", "application/gzip"),
)
def view(
    study: Id,
    series: SeriesName,
    part: Literal["picture.png", "volume.nii.gz", "heatmap.nii.gz", "residual.nii.gz"],
    service: TheService,
    _: Viewer,
) -> FileResponse:
    """What is shown of a series: pixels, heat map and noise residual as NIfTI, and the picture of the report."""
    name, folder = (f"{series}.png", RESULTS) if part == "picture.png" else (f"{series}.{part}", VIEWS)
    return _file(service.studies.file(study, name, folder), shown=True)


@router.get("/studies/{study}/reviews")
def reviews(study: Id, service: TheService, _: Viewer) -> list[ReviewOut]:
    """What people thought of a study, the newest first."""
    service.studies.one(study)
    return [ReviewOut.model_validate(review) for review in service.studies.reviews(study)]


@router.post("/studies/{study}/reviews", status_code=201)
def review(study: Id, told: ReviewIn, service: TheService, identity: Submitter) -> ReviewOut:
    """Say what you think of a series. It is kept beside what others said, and in the audit log."""
    kept = service.studies.review(study, told.series, told.opinion, told.comment, identity.name)
    said: dict[str, JSON] = {"opinion": kept.opinion, "comment": kept.comment, "user": identity.name}
    service.audit.write("reviewed", study=study, pixels=kept.digest, **said)
    return ReviewOut.model_validate(kept)


def _all(service: Service, chosen: Filter) -> Iterator[StudyRow]:
    yield from service.studies.find(replace(chosen, limit=MOST_EXPORTED, offset=0)).rows


def _printed(service: Service, row: StudyRow) -> pdf.Row:
    thumbnail = service.studies.place(row.id) / VIEWS / "thumbnail.png"
    picture = thumbnail.read_bytes() if thumbnail.is_file() else None
    ended = None if row.ended is None else datetime.fromtimestamp(row.ended, UTC)
    verdict = cast("Label", row.verdict or "inconclusive")
    return pdf.Row(row.name, " ".join(row.modalities), verdict, row.probability, ended, picture)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in ("made", "changed", "ended", "expires"):
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
    text = " ".join(value) if isinstance(value, tuple) else str(value)
    text = words.visible(text)
    # A spreadsheet takes what begins so for a formula.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") and not isinstance(value, int | float) else text


def _report(service: Service, study: str, name: str, identity: Identity) -> FileResponse:
    path = service.studies.file(study, name)
    service.audit.write("exported", study=study, what=name, user=identity.name)
    return _file(path, inline=True)


def _download(data: bytes, name: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(data, media_type=TYPES[Path(name).suffix], headers=headers)


def _file(path: Path, *, inline: bool = False, shown: bool = False) -> FileResponse:
    headers = {"content-security-policy": REPORT_POLICY} if path.suffix == ".html" else {}
    how: Literal["inline", "attachment"] = "inline" if inline or shown else "attachment"
    kind = TYPES.get(path.suffix, "application/octet-stream")
    headers |= SHOWN_POLICY if shown else {}
    return FileResponse(path, media_type=kind, filename=path.name, headers=headers, content_disposition_type=how)


class _Sink(io.RawIOBase):
    """Takes what a zip writes until it is fetched."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def fetched(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def zipped(paths: list[Path]) -> Iterator[bytes]:
    """An archive of files, piece by piece: most of them are packed already, and are stored as they are."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for path in paths:
            archive.write(path, path.name)
            yield sink.fetched()
    yield sink.fetched()
