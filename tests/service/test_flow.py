"""From the upload to the answer, as a program sees it, on both databases."""

import csv
import io
import json
import zipfile

from PIL import Image

from services import chest, handed_in, studies_of, work
from tamperscope.datasets import table
from tamperscope.report import json as report_json


def test_a_folder_becomes_a_study_with_every_kind_of_result(one, submitter, judged):
    row = submitter.get(f"/api/v1/studies/{judged}").json()
    assert (row["state"], row["name"], row["modalities"], row["slices"]) == ("done", "Case 17", ["CT"], 6)
    assert row["verdict"] in ("suspicious", "inconclusive", "no_evidence")
    assert row["expires"] > row["ended"]
    names = {file["name"] for file in submitter.get(f"/api/v1/studies/{judged}/files").json()}
    assert {"report.json", "report.csv", "report.html"} <= names
    assert {name.split(".", 1)[1] for name in names} >= {"png", "nii.gz", "sr.dcm", "capture.dcm"}
    report = report_json.parse(submitter.get(f"/api/v1/studies/{judged}/report.json").text)
    assert report.series[0].shape == (6, 320, 320)
    assert all("/" not in file.removeprefix("Case 17/") for file in report.series[0].files), "no folder of the server"
    assert one.uploads.place(row["upload"]).exists() is False, "what was sent is kept once"


def test_what_the_viewer_fetches(submitter, judged):
    name = submitter.get(f"/api/v1/studies/{judged}/report.json").json()["studies"][0]["series"][0]["name"]
    for part in ("volume.nii.gz", "residual.nii.gz", "heatmap.nii.gz", "picture.png"):
        answer = submitter.get(f"/api/v1/studies/{judged}/series/{name}/{part}")
        assert answer.status_code == 200
        assert answer.content[:2] == (b"\x89P" if part.endswith("png") else b"\x1f\x8b")
    assert submitter.get(f"/api/v1/studies/{judged}/thumbnail.png").content[:4] == b"\x89PNG"
    assert submitter.get(f"/api/v1/studies/{judged}/series/{name}/other").status_code == 422


def test_all_results_in_one_archive(submitter, judged):
    answer = submitter.get(f"/api/v1/studies/{judged}/results.zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert "report.json" in archive.namelist()


def test_the_report_runs_no_script_and_reaches_nothing(submitter, judged):
    policy = submitter.get(f"/api/v1/studies/{judged}/report.html").headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'")


def test_a_zip_in_one_request(one, submitter, tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(chest(tmp_path / "ct").iterdir()):
            archive.write(file, f"disc/{file.name}")
    answer = submitter.post("/api/v1/studies", params={"name": "disc.zip"}, content=packed.getvalue())
    assert answer.status_code == 202
    work(one)
    (study,) = studies_of(submitter, answer.json()["id"])
    report = submitter.get(f"/api/v1/studies/{study}/report.json").json()
    files = report["studies"][0]["series"][0]["files"]
    assert len(files) == 6
    assert all(file.startswith("disc.zip/") for file in files)


def test_flat_and_colliding_names_lose_no_slice(one, submitter, tmp_path):
    folder = chest(tmp_path / "ct", slices=4)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, file in zip(("1.dcm", "11.dcm", "IM?1.dcm", "IM:1.dcm"), sorted(folder.iterdir()), strict=True):
            archive.write(file, name)
    upload = submitter.post("/api/v1/studies", params={"name": "flat.zip"}, content=packed.getvalue()).json()["id"]
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(folder / f"{number}.dcm")
    flat = handed_in(submitter, folder)
    work(one)
    for sent in (upload, flat):
        (study,) = studies_of(submitter, sent)
        series = submitter.get(f"/api/v1/studies/{study}/report.json").json()["studies"][0]["series"][0]
        assert (series["shape"][0], len(set(series["files"]))) == (4, 4)
    assert {file.split("/")[-1] for file in series["files"]} == {f"{number}.dcm" for number in range(4)}


def test_what_was_deleted_while_it_was_judged_leaves_nothing(one, submitter, tmp_path, monkeypatch):
    from tamperscope.service.views import Views

    upload = handed_in(submitter, chest(tmp_path / "ct", slices=2))

    def finish(_):
        (study,) = studies_of(submitter, upload)
        assert submitter.delete(f"/api/v1/studies/{study}").status_code == 204

    monkeypatch.setattr(Views, "finish", finish)
    work(one)
    assert submitter.get(f"/api/v1/uploads/{upload}").status_code == 404, "its names are gone with its last study"
    assert not any((one.config.folder / "work").iterdir())


def test_pictures_become_a_study_each_and_what_is_none_is_said(one, submitter, tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(3):
        Image.new("L", (64, 64), 40 * number).save(folder / f"film{number}.png")
    (folder / "notes.txt").write_text("nothing to see")
    (folder / "broken.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)
    upload = handed_in(submitter, folder, "Films")
    work(one)
    told = submitter.get(f"/api/v1/uploads/{upload}").json()
    assert told["state"] == "read"
    names = {submitter.get(f"/api/v1/studies/{study}").json()["name"] for study in told["studies"]}
    assert names == {f"Films/film{number}.png" for number in range(3)}
    assert {one["source"] for one in told["failed"]} >= {"broken.dcm"}
    assert all(one["hint"] for one in told["failed"])


def test_an_upload_without_an_image_fails_with_its_reason(one, submitter, tmp_path):
    (tmp_path / "a.txt").write_text("no image")
    upload = handed_in(submitter, tmp_path / "a.txt")
    work(one)
    told = submitter.get(f"/api/v1/uploads/{upload}").json()
    assert told["state"] == "failed"
    assert "not an image" in told["error"]


def test_search_filter_sort_and_page(one, submitter, tmp_path):
    for number in range(5):
        _film(one, submitter, tmp_path, 40 * number, f"Film {number} 100%_sure")

    def names(**chosen):
        answer = submitter.get("/api/v1/studies", params={"sort": "name", "descending": False, **chosen})
        assert answer.status_code == 200, answer.text
        return [row["name"] for row in answer.json()["studies"]]

    films = [f"Film {number} 100%_sure" for number in range(5)]
    assert names(text="100%_SURE") == films
    assert names(text="sure", limit=2, offset=3) == films[3:]
    assert names(text="film 2") == ["Film 2 100%_sure"]
    assert names(text="0__s") == [], "no wild cards"
    assert set(films) <= set(names(modality="OT"))
    assert not set(films) & set(names(modality="CT"))
    assert set(films) <= set(names(state="done", verdict="inconclusive"))
    rows = list(csv.DictReader(io.StringIO(submitter.get("/api/v1/studies.csv?limit=1&text=sure").text)))
    assert len(rows) == 5, "an export holds all"
    assert submitter.get("/api/v1/studies", params={"limit": 0}).status_code == 422


def test_a_review_is_kept_logged_and_becomes_a_manifest(one, submitter, administrator, judged):
    name = submitter.get(f"/api/v1/studies/{judged}/report.json").json()["studies"][0]["series"][0]["name"]
    for opinion in ("unsure", "tampered"):
        told = {"series": name, "opinion": opinion, "comment": "see slice 3"}
        assert submitter.post(f"/api/v1/studies/{judged}/reviews", json=told).status_code == 201
    reviews = submitter.get(f"/api/v1/studies/{judged}/reviews").json()
    assert [one["opinion"] for one in reviews] == ["tampered", "unsure"], "what was said before stays"
    assert submitter.get("/api/v1/studies", params={"opinion": "tampered"}).json()["total"] == 1
    log = [json.loads(line) for line in (one.config.folder / "audit.jsonl").read_text().splitlines()]
    said = [entry for entry in log if entry["event"] == "reviewed"]
    assert [entry["opinion"] for entry in said] == ["unsure", "tampered"]
    assert {entry["comment"] for entry in said} == {"see slice 3"}
    path = one.config.folder / "manifest.csv"
    path.write_text(administrator.get("/api/v1/reviews.csv").text)
    entries = table.read(path, one.config.folder).entries
    assert len(entries) == 6
    assert {entry.label for entry in entries} == {"forged"}
    assert all(entry.path.is_file() for entry in entries)


def _film(one, client, folder, shade=90, name="Film"):
    """A picture that was handed in and judged."""
    path = folder / f"film{shade}.png"
    Image.new("L", (64, 64), shade).save(path)
    upload = handed_in(client, path, name)
    work(one)
    (study,) = studies_of(client, upload)
    return study


def test_a_review_of_what_is_not_there(submitter, judged):
    told = {"series": "none", "opinion": "unsure"}
    assert submitter.post(f"/api/v1/studies/{judged}/reviews", json=told).status_code == 404
    wrong = {"series": "none", "opinion": "maybe"}
    assert submitter.post(f"/api/v1/studies/{judged}/reviews", json=wrong).status_code == 422


def test_deleted_is_gone_from_the_disk_too(one, submitter, tmp_path):
    judged = _film(one, submitter, tmp_path)
    assert submitter.delete(f"/api/v1/studies/{judged}").status_code == 204
    assert submitter.get(f"/api/v1/studies/{judged}").status_code == 404
    assert not one.studies.place(judged).exists()
    assert submitter.delete(f"/api/v1/studies/{judged}").status_code == 404


def test_judged_anew_gives_the_same(one, submitter, judged):
    before = submitter.get(f"/api/v1/studies/{judged}/report.json").content
    assert submitter.post(f"/api/v1/studies/{judged}/again").status_code == 202
    assert submitter.post(f"/api/v1/studies/{judged}/again").status_code == 409, "it waits already"
    work(one)
    assert submitter.get(f"/api/v1/studies/{judged}/report.json").content == before


def test_two_versions_are_compared(one, submitter, judged, tmp_path):
    import pydicom

    altered = chest(tmp_path / "altered")
    file = sorted(altered.iterdir())[2]
    dataset = pydicom.dcmread(file)
    pixels = dataset.pixel_array.copy()
    pixels[100:110, 50:60] += 40
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(file)
    upload = handed_in(submitter, altered, "after")
    work(one)
    (after,) = studies_of(submitter, upload)
    begun = submitter.post("/api/v1/comparisons", json={"before": judged, "after": after})
    assert begun.status_code == 202, begun.text
    work(one)
    told = submitter.get(f"/api/v1/comparisons/{begun.json()['id']}").json()
    (pair,) = told["result"]["series"]
    assert (pair["same_grid"], pair["changed_voxels"], pair["largest_difference"]) == (True, 100, 40.0)
    assert pair["box_index"] == [[2, 100, 50], [2, 109, 59]]
    for part in ("before", "after", "difference"):
        answer = submitter.get(f"/api/v1/comparisons/{told['id']}/series/0/{part}.nii.gz")
        assert answer.content[:2] == b"\x1f\x8b"
    assert submitter.post("/api/v1/comparisons", json={"before": judged, "after": judged}).status_code == 409
    submitter.delete(f"/api/v1/studies/{after}")
    assert submitter.get(f"/api/v1/comparisons/{told['id']}").status_code == 404
