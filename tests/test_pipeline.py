from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

import tamperscope
from builders import ct, nifti, png, to_bytes, zipped
from signing import certificate, needs_dcmsign, pem, sign, signer
from tamperscope import detectors, phantom, report, scan
from tamperscope.errors import UsageError, WeightsError
from tamperscope.records import Volume
from tamperscope.study import Limits
from tamperscope.verdict import Policy

SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
NOISE = tuple(card for card in detectors.packaged_cards() if card.file is None)
"""The classical detector alone: fast, where a test is not about the network."""


def chest(seed: int, depth: int = 2) -> Volume:
    return phantom.chest((depth, 384, 384), (2.5, 0.9, 0.9), np.random.default_rng(seed))


def picture(seed: int = 0) -> bytes:
    return png(np.random.default_rng(seed).integers(0, 255, (20, 24, 3), dtype=np.uint8))


def state(folder: Path) -> dict[str, tuple[str, int]]:
    """Digest and time of every file below ``folder``."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in files
    }


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two good series, one damaged file, one object that is no image, and a photo."""
    folder = tmp_path_factory.mktemp("inputs")
    for name, seed in (("one", 1), ("two", 2)):
        phantom.write_dicom(chest(seed), folder / name)
    whole = (folder / "one" / "IM0001.dcm").read_bytes()
    (folder / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    (folder / "photo.png").write_bytes(picture())
    (folder / "notes.txt").write_text("no image", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def scanned(inputs, tmp_path_factory):
    """(report, folder of the results, state of the input before)."""
    out = tmp_path_factory.mktemp("results") / "new" / "folder"
    before = state(inputs)
    return scan(inputs, out=out, write_heatmaps=True, threads=1), out, before


@pytest.fixture(scope="module")
def judged(scanned):
    """The series of CT in the report."""
    return [series for series in scanned[0].series if series.modality == "CT"]


def test_good_failed_and_skipped_inputs_are_reported_together(scanned, inputs):
    answer, _, _ = scanned
    assert sorted(series.modality for series in answer.series) == ["CT", "CT", "OT"]
    assert [failure.source for failure in answer.failed] == [str(inputs / "cut.dcm")]
    assert [skipped.source for skipped in answer.skipped] == [str(inputs / "notes.txt")]
    assert answer.failed[0].error
    assert answer.failed[0].hint
    assert answer.version == tamperscope.__version__
    assert [model.name for model in answer.models] == [card.name for card in detectors.default_cards()]


def test_nothing_of_the_input_changed(scanned, inputs):
    assert state(inputs) == scanned[2]


def test_a_chest_is_judged_by_every_detector(judged):
    assert len(judged) == 2
    for series in judged:
        assert 0.0 <= series.probability <= 1.0
        assert series.verdict in ("suspicious", "no_evidence", "inconclusive")
        assert [one.detector for one in series.evidence] == ["ct-fast"]
        assert all(one.probability is not None for one in series.evidence)
        assert all(one.heatmap is None for one in series.evidence), "maps are kept once"
        assert series.operating_point.false_positive_rate == 0.01
        assert series.shape == (2, 384, 384)
        assert series.spacing_mm == pytest.approx((2.5, 0.9, 0.9))
        assert series.reasons


def test_the_heat_map_is_on_the_grid_and_its_maximum_is_the_probability(judged):
    for series in judged:
        assert series.heatmap.shape == series.shape
        assert series.heatmap.dtype == np.float32
        assert float(series.heatmap.max()) == pytest.approx(series.probability)
        assert [one.score for one in series.slices] == pytest.approx([float(p.max()) for p in series.heatmap])


def test_each_slice_names_its_file_and_object(judged, inputs):
    for series in judged:
        assert [one.index for one in series.slices] == [0, 1]
        assert [one.file for one in series.slices] == list(series.files)
        assert all(Path(file).is_file() and inputs in Path(file).parents for file in series.files)
        assert all(one.sop_instance_uid.startswith("2.25.") for one in series.slices)


def test_the_verdict_follows_from_the_borders(judged):
    calibration = detectors.default_cards()[0].calibration
    for series in judged:
        if series.probability >= calibration.operating_point(0.01).threshold:
            assert (series.verdict, bool(series.regions)) == ("suspicious", True)
        elif series.probability >= calibration.operating_point(0.1).threshold:
            assert (series.verdict, bool(series.regions)) == ("inconclusive", True)
        else:
            assert (series.verdict, series.regions) == ("no_evidence", ())


def test_a_photo_is_inconclusive_with_a_reason_and_no_map(scanned):
    (photo,) = [series for series in scanned[0].series if series.modality == "OT"]
    assert (photo.verdict, photo.probability, photo.heatmap, photo.spacing_mm) == ("inconclusive", None, None, None)
    assert "a colour picture is not a radiograph" in photo.reasons[0]
    assert photo.slices == ()


def test_the_folder_holds_the_report_and_the_files_of_each_series(scanned):
    answer, out, _ = scanned
    expected = {"report.json", "report.csv", "report.html"}
    expected |= {f"{series.name}.png" for series in answer.series}
    expected |= {f"{series.name}.nii.gz" for series in answer.series if series.heatmap is not None}
    assert {path.name for path in out.iterdir()} == expected
    assert all(path.stat().st_size for path in out.iterdir())


def test_the_json_obeys_its_schema_and_reads_back(scanned):
    answer, out, _ = scanned
    text = (out / "report.json").read_text(encoding="utf-8")
    jsonschema.validate(json.loads(text), report.json.schema())
    again = report.json.parse(text)
    assert [series.name for series in again.series] == [series.name for series in answer.series]
    assert again.exit_code == answer.exit_code


def test_the_written_heat_map_is_the_one_of_the_record(scanned, judged):
    for series in judged:
        image = nib.load(scanned[1] / f"{series.name}.nii.gz")
        assert image.shape == series.shape[::-1]
        written = np.asarray(image.dataobj).transpose(2, 1, 0)
        assert np.allclose(written, series.heatmap, atol=1e-6)


def test_the_same_input_gives_the_same_report(inputs):
    first = scan(inputs / "one", cards=NOISE)
    again = scan(inputs / "one", cards=NOISE)
    assert report.json.render(first) == report.json.render(again)


def test_heat_maps_can_be_let_go(inputs, tmp_path):
    answer = scan(inputs / "one", out=tmp_path, keep_heatmaps=False, write_heatmaps=True, cards=NOISE)
    assert all(series.heatmap is None for series in answer.series)
    assert len(list(tmp_path.glob("*.nii.gz"))) == 1
    assert json.loads((tmp_path / "report.json").read_text())["studies"][0]["series"][0]["heatmap"]


def test_without_a_folder_nothing_is_written(inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scan(inputs / "one", cards=NOISE, write_heatmaps=True)
    assert list(tmp_path.iterdir()) == []


def test_bytes_paths_and_zips_give_the_same_answer(inputs, tmp_path):
    files = sorted((inputs / "one").iterdir())
    archive = zipped({f"a/{path.name}": path.read_bytes() for path in files})
    (tmp_path / "study.zip").write_bytes(archive)
    sources = [
        str(inputs / "one"),
        inputs / "one",
        files,
        tmp_path / "study.zip",
        archive,
        [path.read_bytes() for path in files],
    ]
    answers = [scan(source, cards=NOISE) for source in sources]
    assert {len(answer.series) for answer in answers} == {1}
    assert len({answer.series[0].digest for answer in answers}) == 1
    assert len({answer.series[0].probability for answer in answers}) == 1
    assert all(SAFE.fullmatch(answer.series[0].name) for answer in answers)


def test_nothing_to_scan_is_an_empty_report(tmp_path):
    answer = scan([], out=tmp_path)
    assert (answer.studies, answer.failed, answer.exit_code) == ((), (), 2)
    jsonschema.validate(json.loads((tmp_path / "report.json").read_text()), report.json.schema())


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.write_bytes(b""), lambda _: None], ids=range(3))
def test_what_cannot_be_read_is_listed_not_raised(tmp_path, make):
    path = tmp_path / "input"
    make(path)
    answer = scan(path)
    assert answer.exit_code == 2
    assert [failure.source for failure in answer.failed] == [str(path)]


def test_a_series_that_cannot_be_decoded_fails_and_the_rest_is_scanned(tmp_path):
    for index in range(2):
        dataset = ct(index=index, SeriesInstanceUID="1.2.826.0.1.9", syntax=JPEG2000Lossless)
        dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51 and no more"])
        dataset["PixelData"].is_undefined_length = True
        (tmp_path / f"bad{index}.dcm").write_bytes(to_bytes(dataset))
        (tmp_path / f"good{index}.dcm").write_bytes(to_bytes(ct(index=index)))
    answer = scan(tmp_path, cards=NOISE)
    assert len(answer.series) == 1
    (failure,) = answer.failed
    assert "bad0.dcm (and 1 more of its series)" in failure.source
    assert failure.error
    assert answer.exit_code == 3, "what was scanned is no chest"


def test_a_damaged_codestream_costs_one_slice_and_is_listed(tmp_path):
    for index in range(4):
        dataset = ct(index=index, SeriesInstanceUID="1.2.826.0.1.9", syntax=JPEG2000Lossless)
        if index == 1:
            dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51 and no more"])
            dataset["PixelData"].is_undefined_length = True
        else:
            dataset = ct(index=index, SeriesInstanceUID="1.2.826.0.1.9")
        (tmp_path / f"slice{index}.dcm").write_bytes(to_bytes(dataset))
    answer = scan(tmp_path, cards=NOISE)
    (series,) = answer.series
    assert series.shape[0] == 3
    assert [Path(name).name for name in series.files] == ["slice0.dcm", "slice2.dcm", "slice3.dcm"]
    assert [Path(failure.source).name for failure in answer.failed] == ["slice1.dcm"]
    assert any("slices left out because they cannot be decoded: 1" in finding for finding in series.findings)


def test_a_truncated_slice_fails_alone_and_its_series_says_that_it_is_short(tmp_path):
    paths = phantom.write_dicom(phantom.chest((4, 32, 32), (2.5, 0.9, 0.9)), tmp_path)
    paths[1].write_bytes(paths[1].read_bytes()[:-500])
    answer = scan(tmp_path, cards=NOISE)
    assert [failure.source for failure in answer.failed] == [str(paths[1])]
    (series,) = answer.series
    assert series.shape[0] == 3
    assert series.findings, "a gap in the middle is told"


def test_a_nifti_in_hounsfield_units_is_accepted_once_it_is_called_ct():
    volume = chest(3, 1)
    data = nifti(volume.voxels.transpose(2, 1, 0).astype(np.int16), np.diag([-0.9, -0.9, 2.5, 1.0]))
    (unnamed,) = scan(data, cards=NOISE).series
    assert (unnamed.verdict, unnamed.probability) == ("inconclusive", None)
    (named,) = scan(data, cards=NOISE, modality="CT").series
    assert named.modality == "CT"
    assert named.probability is not None, named.reasons
    assert named.heatmap.shape == (1, 384, 384)


def test_the_modality_of_dicom_is_its_own(inputs):
    (series,) = scan(inputs / "one", cards=NOISE, modality="MR").series
    assert series.modality == "CT"


HOSTILE = [
    "../../evil.png",
    "=cmd|' calc'!A1.png",
    "a\nb.png",
    "..png",
    "x" * 200 + ".png",
    "x" * 200 + ".tif",
    "CASE.png",
    "case.PNG",
    "case.png.png",
    "report.json.png",
    "<script>.png",
    "bild-ü-画像.png",
    "画像.png",
    "$(reboot).png",
    "-rf.png",
]


def test_files_of_hostile_names_are_written_safely_inside_the_folder(tmp_path):
    sources = tmp_path / "in"
    sources.mkdir()
    members = {f"m/{number}/{name}": picture(number) for number, name in enumerate(HOSTILE)}
    (sources / "a.zip").write_bytes(zipped(members))
    for number, name in enumerate(HOSTILE):
        if "/" not in name and len(name) < 200:
            folder = sources / str(number)
            folder.mkdir()
            (folder / name).write_bytes(picture(100 + number))
    out = tmp_path / "deep" / "out"
    answer = scan(sources, out=out, cards=NOISE)
    names = [series.name for series in answer.series]
    assert len(names) >= 2 * len(HOSTILE) - 6
    assert all(SAFE.fullmatch(name) and len(name) <= 70 for name in names), names
    assert len({name.lower() for name in names}) == len(names)
    expected = {"report.json", "report.csv", "report.html", *(f"{name}.png" for name in names)}
    assert {path.name for path in out.iterdir()} == expected
    assert {path.name for path in tmp_path.iterdir()} == {"in", "deep"}


def test_progress_is_told_slice_by_slice(inputs):
    ticks = []
    network = detectors.default_cards()[:1]
    scan(inputs / "one", cards=network, threads=1, tick=lambda *told: ticks.append(told))
    assert ticks == [("slices", 1, 2), ("slices", 2, 2)]


def test_a_radiograph_is_judged_by_the_model_for_radiographs(tmp_path):
    grey = np.rint(phantom.knee((300, 260)).voxels[0] / 16.0).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "knee.png")
    (series,) = scan(tmp_path / "knee.png", threads=1).series
    assert [one.detector for one in series.evidence] == ["knee"]
    assert 0.0 <= series.probability <= 1.0
    assert series.heatmap.shape == (1, 300, 260)
    assert float(series.heatmap.max()) == pytest.approx(series.probability)


def test_where_no_model_is_for_such_pictures_all_say_so(tmp_path):
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "scan.png")
    (series,) = scan(tmp_path / "scan.png", modality="MR").series
    assert [one.detector for one in series.evidence] == [card.name for card in detectors.default_cards()]
    assert series.verdict == "inconclusive"
    assert "this is MR" in series.reasons[0]


def test_without_models_everything_is_inconclusive(inputs):
    (series,) = scan(inputs / "one", cards=()).series
    assert (series.verdict, series.probability, series.reasons) == ("inconclusive", None, ("no model is installed",))


def test_a_policy_states_the_operating_point(inputs):
    (series,) = scan(inputs / "one", cards=NOISE, policy=Policy(suspicious_at=0.001)).series
    assert series.operating_point.false_positive_rate == 0.001


def test_limits_hold(inputs):
    answer = scan(inputs / "one", cards=NOISE, limits=Limits(max_pixels=1000))
    assert answer.series == ()
    assert answer.exit_code == 2
    assert any("max_pixels" in failure.error + failure.hint for failure in answer.failed)


def test_a_folder_that_cannot_be_written_is_a_usage_error(inputs, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="cannot write") as caught:
        scan(inputs / "one", out=tmp_path / "file" / "out", cards=NOISE)
    assert caught.value.hint


def test_weights_other_than_promised_stop_the_scan(inputs):
    network = detectors.default_cards()[0]
    with pytest.raises(WeightsError, match="promises"):
        scan(inputs / "one", cards=[replace(network, sha256="0" * 64)])


def test_the_report_does_not_name_the_patient(tmp_path):
    phantom.write_dicom(chest(5, 1), tmp_path / "in", patient_name="VERY^SECRET")
    scan(tmp_path / "in", out=tmp_path / "out", cards=NOISE)
    for path in (tmp_path / "out").glob("report.*"):
        assert "SECRET" not in path.read_text(encoding="utf-8")


# --- provenance ---


@pytest.fixture
def signed(tmp_path):
    """A signed phantom of two slices, its authority as PEM, and what changes one bit of its pixels."""
    ca = certificate("ca", "ca", issues=True)
    (tmp_path / "ca.pem").write_bytes(pem(ca))
    by = signer(tmp_path / "keys", certificate("scanner", "ca"), "scanner")
    for path in phantom.write_dicom(chest(1), tmp_path / "signed"):
        path.write_bytes(sign(by, path.read_bytes(), tmp_path))
    return tmp_path / "signed", tmp_path / "ca.pem"


@needs_dcmsign
def test_a_broken_signature_outranks_the_score_and_leaves_it_alone(signed, tmp_path):
    folder, authority = signed
    (before,) = scan(folder, cards=NOISE, trust=authority).series
    assert before.provenance.state == "verified"
    assert scan(folder, cards=NOISE).series[0].provenance.state == "absent", "nobody is trusted"
    path = sorted(folder.iterdir())[1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    answer = scan(folder, cards=NOISE, trust=[authority], out=tmp_path / "out")
    (series,) = answer.series
    assert (series.provenance.state, series.broken, series.alarming) == ("broken", True, True)
    assert answer.exit_code == 1
    assert series.verdict == before.verdict
    assert series.probability == pytest.approx(before.probability, abs=0.05)
    (alarm,) = [one for one in series.provenance.findings if one.severity == "alarm"]
    assert alarm.files == (str(path),)
    tree = json.loads((tmp_path / "out" / "report.json").read_text())
    jsonschema.validate(tree, report.json.schema())
    assert tree["studies"][0]["series"][0]["provenance"]["findings"][0]["severity"] == "alarm"
    for name in ("report.html", "report.csv"):
        assert "was changed after it was signed" in (tmp_path / "out" / name).read_text()
    assert "CHANGED SINCE IT WAS SIGNED" in (tmp_path / "out" / "report.html").read_text()


def test_trust_that_cannot_be_read_is_told_before_anything_is_scanned(inputs, tmp_path):
    with pytest.raises(UsageError, match="nowhere"):
        scan(inputs, trust=tmp_path / "nowhere.pem")
