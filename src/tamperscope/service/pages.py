"""The pages of the service: each asks the service for what it shows and renders a template."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import Field

from tamperscope.detectors import default_cards, packaged_cards
from tamperscope.records import JSON, Report, SeriesResult
from tamperscope.report import chapters
from tamperscope.service import plot, render
from tamperscope.service.accounts import Identity
from tamperscope.service.comparisons import Comparison
from tamperscope.service.routes import studies as interface
from tamperscope.service.routes.common import Administrator, Id, Submitter, TheService, Viewer
from tamperscope.service.schemas import ReviewIn
from tamperscope.service.studies import Filter, StudyRow, View
from tamperscope.service.views import RESIDUAL_SPREAD
from tamperscope.weights import Card

LIMIT = 50
"""Studies on a page of the table."""
CHOICES = 200
"""Studies that can be chosen for a comparison."""
SORTS = ("suspicion", "made", "name")
FILTERS = ("state", "verdict", "modality", "text", "opinion", "upload")


class ReviewForm(ReviewIn):
    """As the interface takes it, with the value that a form of ours brings back."""

    csrf: str = Field(max_length=200)


router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)


@router.get("/")
def studies(request: Request, user: Viewer, service: TheService) -> HTMLResponse:
    """The drop zone and the table of studies, the most suspicious first."""
    query = _query(request.query_params)
    found = service.studies.find(Filter(**query))
    return _page(
        "studies",
        user,
        rows=found.rows,
        total=found.total,
        query=query,
        link=lambda **changed: _link(query, changed),
        filtered=any(query.get(name) for name in FILTERS),
    )


@router.get("/studies/{number}/row")
def row(user: Viewer, service: TheService, number: Id) -> HTMLResponse:
    """One row of the table, by which the page's script brings it up to date."""
    return _page("row", user, row=service.studies.one(number))


@router.get("/studies/{number}")
def study(user: Viewer, service: TheService, number: Id, series: str = "") -> HTMLResponse:
    """What was found in a study: one of its series at a time."""
    shown = service.studies.one(number)
    report = service.studies.report(number)
    results = report.series if report else ()
    result = _chosen(results, series)
    views = service.studies.views(number) if result else {}
    view = views.get(result.name) if result else None
    return _page(
        "study",
        user,
        row=shown,
        report=report,
        results=results,
        result=result,
        plot=plot.scores(result) if result else None,
        viewer=_viewer(shown, result, view) if result and view else None,
        files=service.studies.files(number),
        reviews=service.studies.reviews(number),
        models=_models(report, result),
        own=user.may("administrator") or (user.may("submitter") and shown.owner == user.name),
    )


@router.post("/studies/{number}/reviews")
def review(user: Submitter, service: TheService, number: Id, told: Annotated[ReviewForm, Form()]) -> Response:
    """A second opinion from the form of a page whose scripts do not run."""
    if not hmac.compare_digest(told.csrf.encode(), user.csrf.encode()):
        raise HTTPException(403, "the form does not come from a page of this service")
    interface.review(number, told, service, user)
    return RedirectResponse(f"/studies/{number}?series={quote(told.series)}#review-title", 303)


@router.get("/compare")
def compare(user: Viewer, service: TheService, before: str = "", after: str = "") -> HTMLResponse:
    """Choose two versions of a study, or one of the comparisons that were made."""
    rows = service.studies.find(Filter(state="done", sort="made", limit=CHOICES)).rows
    return _page("compare", user, rows=rows, before=before, after=after, made=service.comparisons.newest())


@router.get("/comparisons/{number}")
def comparison(user: Viewer, service: TheService, number: Id, series: int = 0) -> HTMLResponse:
    """What differs between two versions of a study, one matched series at a time."""
    found = service.comparisons.one(number)
    pairs = found.result["series"] if found.result else []
    chosen: dict[str, Any] | None = pairs[series] if 0 <= series < len(pairs) else None
    shown = chosen if chosen and chosen["has_map"] else None
    return _page(
        "comparison",
        user,
        comparison=found,
        pairs=pairs,
        number=series,
        pair=chosen,
        plot=_changes(shown) if shown else None,
        viewer=_difference(found, series, shown) if shown else None,
    )


@router.get("/models")
def models(user: Viewer) -> HTMLResponse:
    """The models of this installation, in a sentence each."""
    names = {card.name for card in default_cards()}
    return _page("models", user, cards=packaged_cards(), default=names)


@router.get("/models/{name}")
def model(user: Viewer, name: str) -> HTMLResponse:
    """The Card of one model, with what was measured."""
    card = next((card for card in packaged_cards() if card.name == name), None)
    if card is None:
        raise HTTPException(404, "there is no such model")
    return _page(
        "model",
        user,
        card=card,
        tables=chapters.measured(card),
        printed_by=chapters.printed_by(card),
        glossary=chapters.GLOSSARY,
    )


@router.get("/account")
def account(user: Viewer) -> HTMLResponse:
    """One's own tokens and password."""
    return _page("account", user)


@router.get("/users")
def users(user: Administrator) -> HTMLResponse:
    """Who may do what."""
    return _page("users", user)


@router.get("/audit")
def audit(user: Administrator) -> HTMLResponse:
    """Who did what, when."""
    return _page("audit", user)


@router.get("/login")
def login(next: str = "/", wrong: bool = False) -> HTMLResponse:  # noqa: A002 - the name of the parameter in the address
    """Name and password; the form goes to the service."""
    return _page("login", None, next=next if next.startswith("/") and not next.startswith("//") else "/", wrong=wrong)


def failure(user: Identity | None, status: int, error: str, hint: str) -> HTMLResponse:
    """An error as a page: what, the way out, and the way back."""
    return _page("error", user, status, error=error, hint=hint)


def _page(template: str, user: Identity | None, status: int = 200, **values: Any) -> HTMLResponse:
    values |= {"user": user, "reviewer": user is not None and user.may("submitter")}
    return HTMLResponse(render.page(template, **values), status)


def _query(given: Mapping[str, str]) -> dict[str, Any]:
    """The filter that an address states; what is not understood is left out."""
    query: dict[str, Any] = {name: given[name] for name in FILTERS if given.get(name)}
    if "modality" in query:
        query["modality"] = query["modality"].upper()  # as DICOM writes it
    sort = given.get("sort", "")
    query["sort"] = sort if sort in SORTS else "suspicion"
    query["descending"] = given.get("descending", "true") != "false"
    offset = given.get("offset", "")
    return query | {"limit": LIMIT, "offset": int(offset) if offset.isdecimal() and len(offset) < 10 else 0}


def _link(query: Mapping[str, Any], changed: Mapping[str, Any]) -> str:
    """The address of the same table with some of its settings changed."""
    merged = {**query, "offset": 0, **changed}
    del merged["limit"]
    defaults = {"sort": "suspicion", "descending": True, "offset": 0}
    stated = {k: str(v).lower() if isinstance(v, bool) else v for k, v in merged.items() if defaults.get(k) != v}
    return f"?{urlencode(stated)}"


def _chosen(results: Sequence[SeriesResult], name: str) -> SeriesResult | None:
    """The series that was asked for, else the most alarming."""
    for result in results:
        if result.name == name:
            return result
    order = ("no_evidence", "inconclusive", "suspicious")
    return max(results, key=lambda r: (r.broken, order.index(r.verdict), r.probability or 0.0), default=None)


def _viewer(row: StudyRow, result: SeriesResult, view: View) -> JSON:
    """What the viewer's script needs to know of a series."""
    return {
        "shape": list(view.shape),
        "step": view.step,
        "unit": "HU" if result.modality == "CT" else "",
        "volume": _shown(row, result.name, "volume.nii.gz"),
        "residual": _shown(row, result.name, "residual.nii.gz"),
        "spread": RESIDUAL_SPREAD,
        "heatmap": _shown(row, result.name, "heatmap.nii.gz") if view.has_heatmap else None,
        "windows": [[name, low, high] for name, low, high in view.windows],
        "threshold": result.operating_point.threshold if result.operating_point else None,
        "slice": result.regions[0].centre_index[0] if result.regions else _striking(result),
        "regions": [{"centre": list(r.centre_index), "box": [list(c) for c in r.box_index]} for r in result.regions],
        "colours": [colour for _, colour in render.legend()],
    }


def _shown(row: StudyRow, series: str, part: str) -> str:
    """The address of what the viewer fetches: another one once the study was judged anew, since browsers keep it."""
    return f"/api/v1/studies/{row.id}/series/{quote(series)}/{part}?v={row.ended or 0:.0f}"


def _striking(result: SeriesResult) -> int:
    """The slice with the highest score; the middle one where none has any."""
    if not result.slices:
        return result.shape[0] // 2
    return max(result.slices, key=lambda s: (s.score, -s.index)).index


def _difference(found: Comparison, series: int, pair: Mapping[str, Any]) -> JSON:
    """What the viewer's script needs to know of two matched series."""
    shares = pair["slices"]
    return {
        "before": _shown(found.before, pair["before_name"], "volume.nii.gz"),
        "after": _shown(found.after, pair["after_name"], "volume.nii.gz"),
        "difference": f"/api/v1/comparisons/{found.id}/series/{series}/difference.nii.gz",
        "depth": len(shares),
        "slice": max(range(len(shares)), key=lambda k: (shares[k], -k)) if shares else 0,
        "box": pair["box_index"],
        "step": pair["step"],
        "largest": pair["largest_difference"],
    }


def _changes(pair: Mapping[str, Any]) -> plot.Plot | None:
    """The changed share of each slice, relative to the most changed one."""
    shares = pair["slices"]
    if len(shares) < 2:
        return None
    most = max(shares) or 1.0
    return plot.shares([share / most for share in shares])


def _models(report: Report | None, result: SeriesResult | None) -> list[tuple[str, str, Card | None]]:
    """Name, digest and Card of the models that judged a series, where the Card is at hand."""
    if report is None or result is None:
        return []
    cards = {card.sha256: card for card in packaged_cards()}
    judges = {evidence.detector for evidence in result.evidence}
    return [(m.name, m.sha256, cards.get(m.sha256)) for m in report.models if m.name in judges]
