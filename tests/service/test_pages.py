"""What the pages say, to whom, and how they are written; what they do in a browser is in test_browser.py."""

from __future__ import annotations

import re

import pytest

from services import PASSWORD, chest, handed_in, service, studies_of, work

PAGES = ("/", "/compare", "/models", "/models/ct-fast", "/models/knee", "/models/ct-noise", "/account", "/login")
FOR_ADMINISTRATORS = ("/users", "/audit")
INLINE = re.compile(r'\sstyle="|\son[a-z]+="|javascript:|<style|<script(?![^>]* src=)(?![^>]* type="application/json")')
"""What the policy would not let run."""


def html(client, path, status=200):
    answer = client.get(path, headers={"accept": "text/html"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert not INLINE.search(answer.text)
    return answer.text


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """On SQLite alone: what pages ask of a database is tested on each kind where it is asked."""
    made = service(tmp_path_factory.mktemp("service"))
    yield made
    made.engine.dispose()


@pytest.fixture
def everybody(viewer, submitter, administrator):
    return {"viewer": viewer, "submitter": submitter, "administrator": administrator}


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("role", ["viewer", "submitter", "administrator"])
def test_each_page_is_there_for_everybody(everybody, role, path):
    text = html(everybody[role], path)
    assert text.count("<h1") == 1
    assert 'lang="en"' in text


@pytest.mark.parametrize("path", FOR_ADMINISTRATORS)
def test_some_pages_are_for_administrators(everybody, path):
    html(everybody["administrator"], path)
    for role in ("viewer", "submitter"):
        assert "administrator" in html(everybody[role], path, 403)
        assert path not in html(everybody[role], "/")


def test_what_a_role_cannot_do_is_not_offered(viewer, submitter, administrator, judged):
    for client, may in ((viewer, False), (submitter, True), (administrator, True)):
        assert ('id="drop"' in html(client, "/")) is may
        text = html(client, f"/studies/{judged}")
        assert ('id="review"' in text) is may
        assert ('id="delete"' in text) is may


def test_somebody_elses_study_is_not_offered_to_be_deleted(one, submitter, administrator, tmp_path):
    upload = handed_in(administrator, chest(tmp_path / "ct", seed=11, slices=2))
    work(one)
    (study,) = studies_of(administrator, upload)
    assert 'id="delete"' not in html(submitter, f"/studies/{study}")


def test_a_study_says_what_was_found(viewer, judged):
    text = html(viewer, f"/studies/{judged}")
    assert "The calibrated probability of tampering" in text
    assert "no sign of guilt" in text, "absent provenance is not guilt"
    assert re.search(rf"/api/v1/studies/{judged}/series/[^/]+/volume\.nii\.gz\?v=\d+", text), "kept by its version"
    assert 'href="/models/ct-fast"' in text
    assert f'id="study-{judged}"' in html(viewer, f"/studies/{judged}/row")


def test_names_are_text_wherever_they_stand(one, submitter, tmp_path):
    name = '<img src=x onerror=alert(1)>" & \u202etxt'
    upload = handed_in(submitter, chest(tmp_path / "ct", seed=12, slices=2), name)
    work(one)
    (study,) = studies_of(submitter, upload)
    for path in ("/", f"/studies/{study}", "/compare", f"/?text={name}"):
        text = html(submitter, path)
        assert "<img src=x" not in text
        assert "\u202e" not in text.replace('value="' + name.split("&")[0], "")
    assert "img src=x onerror=alert(1)" in html(submitter, f"/studies/{study}")


@pytest.mark.parametrize(
    "query", ["sort=nothing&offset=-1&descending=maybe", "state=x&modality=%01&text=%25", "offset=9999999"]
)
def test_an_address_that_makes_no_sense_still_shows_a_page(viewer, query):
    html(viewer, f"/?{query}")


def test_errors_are_pages_for_people_and_json_for_programs(viewer):
    gone = "0" * 32
    for path in (f"/studies/{gone}", f"/comparisons/{gone}", "/models/nobody", "/nowhere"):
        assert "Back to the studies" in html(viewer, path, 404)
        assert viewer.get(path).json()["error"]
    assert viewer.get(f"/api/v1/studies/{gone}", headers={"accept": "text/html"}).json()["error"]


def test_a_comparison_says_what_differs_and_where(one, submitter, judged, tmp_path):
    upload = handed_in(submitter, chest(tmp_path / "ct", seed=8))
    work(one)
    (other,) = studies_of(submitter, upload)
    begun = submitter.post("/api/v1/comparisons", json={"before": judged, "after": other}).json()["id"]
    assert "Comparing" in html(submitter, f"/comparisons/{begun}")
    work(one)
    text = html(submitter, f"/comparisons/{begun}")
    assert "voxels differ" in text
    assert f"/api/v1/comparisons/{begun}/series/0/difference.nii.gz" in text
    assert f"/comparisons/{begun}" in html(submitter, "/compare")
    html(submitter, f"/comparisons/{begun}?series=99")


def test_a_form_without_scripts_keeps_an_opinion_and_needs_its_value(one, submitter, judged):
    session = submitter.__class__(submitter.app, base_url=submitter.base_url, follow_redirects=False)
    session.post("/login", data={"name": "submitter", "password": PASSWORD})
    text = html(session, f"/studies/{judged}")
    csrf = re.search(r'name="csrf" value="([0-9a-f]+)"', text)
    series = re.search(r'name="series" value="([^"]+)"', text)
    assert csrf
    assert series
    told = {"series": series[1], "opinion": "unsure", "comment": "one <b>bold</b> word", "csrf": csrf[1]}
    assert session.post(f"/studies/{judged}/reviews", data=told | {"csrf": "0" * 64}).status_code == 403
    answer = session.post(f"/studies/{judged}/reviews", data=told)
    assert answer.status_code == 303
    after = html(session, f"/studies/{judged}")
    assert "one &lt;b&gt;bold&lt;/b&gt; word" in after
    assert one.studies.one(judged).opinion == "unsure"


def test_a_wrong_password_is_said(viewer):
    session = viewer.__class__(viewer.app, base_url=viewer.base_url, follow_redirects=False)
    assert (
        session.post("/login", data={"name": "viewer", "password": "wrong"}).headers["location"] == "/login?wrong=true"
    )
    assert "do not belong together" in html(session, "/login?wrong=true")
    assert 'name="next" value="/"' in html(session, "/login?next=//elsewhere.example")
