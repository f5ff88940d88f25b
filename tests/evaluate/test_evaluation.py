from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from baselines import mean_model
from tamperscope import forge_set, phantom
from tamperscope.datasets import cases, table
from tamperscope.datasets.manifest import digest, digested
from tamperscope.detectors import from_card, packaged_cards
from tamperscope.errors import InputError, UsageError, WeightsError
from tamperscope.evaluate import against, evaluation, outcomes, robustness, run
from tamperscope.evaluate.evaluation import Asked

RECIPE = """
name = "trial"
[[forgery]]
attack = "ct-gan-blend"
mode = "remove"
[[forgery]]
attack = "denoise"
twin = false
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A set of two drawn patients: for each a removal, its twin, and a benign change."""
    folder = tmp_path_factory.mktemp("evaluation")
    for number in range(2):
        chest = phantom.chest((4, 256, 256), (2.5, 0.9, 0.9), np.random.default_rng(number))
        phantom.write_dicom(chest, folder / "studies" / str(number))
    (folder / "R.toml").write_text(RECIPE)
    forge_set.make([folder / "studies"], folder / "R.toml", folder / "set")
    return folder / "set"


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    pytest.importorskip("matplotlib", reason="the extra [train] is not installed")
    out = tmp_path_factory.mktemp("evaluated") / "out"
    asked = Asked("ct-noise", data, out, resamples=20, examples=1)
    return asked, *evaluation.evaluate(asked)


def test_it_judges_every_series_and_leaves_page_figures_and_answers(done):
    asked, answers, figures = done
    assert len(answers.outcomes) == figures["cases"]["series"] == 6
    assert (figures["cases"]["forged"], figures["cases"]["authentic"]) == (2, 4)
    assert not answers.failed
    kept = json.loads((asked.out / "evaluation.json").read_text())
    assert kept["model"] == "ct-noise"
    assert {key: kept[key] for key in figures} == figures
    page = (asked.out / "evaluation.html").read_text()
    for words in ("Worst groups first", "ct-gan-blend", "data:image/svg+xml", "not measurable", "Where it was wrong"):
        assert words in page
    assert len(list((asked.out / "examples").iterdir())) >= 1


def test_a_run_that_was_killed_goes_on_and_judges_nothing_twice(done, monkeypatch):
    asked, answers, figures = done
    path = asked.out / run.ROWS
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]) + lines[-1][:20])
    judged = []
    monkeypatch.setattr(run, "outcome", lambda case, tested: judged.append(case.name) or outcomes.outcome(case, tested))
    again, same = evaluation.evaluate(asked)
    assert len(judged) == 1
    assert [one.name for one in again.outcomes] == [one.name for one in answers.outcomes]
    assert same["series"] == figures["series"]


def test_the_answers_of_another_model_are_not_mixed_in(done):
    asked, *_ = done
    with pytest.raises(UsageError, match="another model"):
        evaluation.evaluate(replace(asked, model="ct-fast"))


def test_what_cannot_be_read_is_told_and_the_others_are_judged(data, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra [train] is not installed")
    entries = table.read(data).entries
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"no image")
    listed = [replace(entry, path=broken) if n == 0 else entry for n, entry in enumerate(entries)]
    card = next(card for card in packaged_cards() if card.name == "ct-noise")
    tested = outcomes.Tested(card.name, from_card(card), card.calibration)
    answers = run.run(listed, tested, {}, tmp_path / "out")
    assert len(answers.failed) == 1
    assert len(answers.outcomes) == 5


def test_parts_have_to_be_named_and_one_class_is_refused(data):
    entries = table.read(data).entries
    parted = [replace(entry, part="test") for entry in entries]
    with pytest.raises(UsageError, match="--part, one of test"):
        run.selected(parted, None)
    with pytest.raises(UsageError, match="no part 'train'"):
        run.selected(parted, "train")
    assert len(run.selected(parted, "test")) == len(entries)
    with pytest.raises(InputError, match="authentic: neither rate"):
        run.selected([entry for entry in entries if entry.label == "authentic"], None)
    with pytest.raises(UsageError, match="no model is called nobody"):
        evaluation.card_of("nobody")


def test_the_map_is_held_against_the_mask(data):
    card = next(card for card in packaged_cards() if card.name == "ct-noise")
    tested = outcomes.Tested(card.name, from_card(card), card.calibration)
    opened = [cases.opened(group) for group in cases.by_series(table.read(data).entries)]
    judged = {case.forged: outcomes.outcome(case, tested) for case in opened}
    assert {"pixel_f1", "iou", "pointing", "voxel_ap", "oracle_f1", "box_iou"} <= judged[True].place.keys()
    assert judged[False].place.keys() == {"flagged_share"}
    assert judged[True].lesions == 1
    assert judged[False].lesions == 0
    assert any(judged[True].slice_truths)
    assert not any(judged[False].slice_truths)


def test_robustness_judges_every_series_again_under_each_change(data, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="the extra [train] is not installed")
    few = [change for change in robustness.grid() if change.name in ("jpeg quality 90", "re-slice pairs averaged")]
    monkeypatch.setattr(robustness, "grid", lambda: tuple(few))
    asked = Asked("ct-noise", data, tmp_path / "out", resamples=0, examples=0, robustness=True)
    _, figures = evaluation.evaluate(asked)
    assert figures["robustness"][0]["change"] == "none"
    assert {row["change"] for row in figures["robustness"]} == {"none", *(change.name for change in few)}
    assert all(row["series"] == 6 for row in figures["robustness"])
    assert (tmp_path / "out" / "outcomes-jpeg-quality-90.jsonl").is_file()
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "After what pictures go through" in page
    assert "AUROC of the series after each change" in page, "the plot"


def test_robustness_decodes_a_series_once_and_goes_on_where_it_was_killed(data, tmp_path, monkeypatch):
    entries = table.read(data).entries
    card = next(card for card in packaged_cards() if card.name == "ct-noise")
    tested = outcomes.Tested(card.name, from_card(card), card.calibration)
    few = [robustness.grid()[0], robustness.grid()[-1]]
    opened, changed = [], []
    real = cases.opened
    monkeypatch.setattr(cases, "opened", lambda group: opened.append(cases.name_of(group[0])) or real(group))
    first = run.run_changed(entries, tested, {}, tmp_path, few)
    assert len(opened) == 6, "not once for each change"
    path = tmp_path / "outcomes-re-slice-half-spacing.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-2]) + lines[-2][:-9])
    opened.clear()
    monkeypatch.setattr(
        run, "outcome", lambda case, tested: changed.append(case.name) or outcomes.outcome(case, tested)
    )
    again = run.run_changed(entries, tested, {}, tmp_path, few)
    assert len(opened) == len(changed) == 2, "only what the killed run had not kept"
    assert [[one.name for one in each.outcomes] for each in again] == [
        [one.name for one in each.outcomes] for each in first
    ]


def test_a_change_that_does_not_apply_is_kept_as_such(data, tmp_path):
    entries = table.read(data).entries
    card = next(card for card in packaged_cards() if card.name == "ct-noise")
    tested = outcomes.Tested(card.name, from_card(card), card.calibration)
    never = replace(robustness.grid()[-1], slices=99)
    for _ in range(2):
        (answers,) = run.run_changed(entries, tested, {}, tmp_path, [never])
        assert (len(answers.outcomes), len(answers.left_out), answers.failed) == (0, 6, ())


def test_the_folder_of_a_training_is_a_model_too(data, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra [train] is not installed")
    pytest.importorskip("onnx", reason="the extra [train] is not installed")
    asked = Asked(str(mean_model(tmp_path / "run")), data, tmp_path / "out", resamples=0)
    answers, figures = evaluation.evaluate(asked)
    assert figures["cases"]["series"] == len(answers.outcomes) == 6
    assert figures["cases"]["refused"] == 0
    assert len(list((tmp_path / "out" / "examples").glob("*.png"))) >= 1, "it has no map, but the slices can be seen"
    assert "Where it was wrong" in (tmp_path / "out" / "evaluation.html").read_text()


def test_two_models_of_one_manifest_are_held_against_each_other(done, tmp_path):
    asked, *_ = done
    again = replace(asked, out=tmp_path / "out", against=(asked.out,), slice_split=asked.out, examples=0)
    _, figures = evaluation.evaluate(again)
    assert [row["level"] for row in figures["against"]["rows"]] == ["series", "slice"]
    assert figures["against"]["rows"][0]["difference"] == 0.0
    assert all(row["inflation"] in (0.0, None) for row in figures["slice_split"]["rows"])
    page = (tmp_path / "out" / "evaluation.html").read_text()
    for words in ("Against other models", "too few patients to say", "Split by slices, split by patients"):
        assert words in page
    entries = table.read(asked.data).entries
    with pytest.raises(InputError, match="another manifest"):
        against.other(asked.out, digest(digested(entries[:1])))


def test_the_audit_uses_the_answers_that_were_given(data, done):
    pytest.importorskip("sklearn", reason="the extra [train] is not installed")
    asked, answers, _ = done
    entries = digested(table.read(data).entries)
    tested, _ = evaluation.chosen(asked)
    found = evaluation.audited(entries, tested, answers.outcomes, None)
    checks = {row["check"]: row for row in found["rows"]}
    assert checks["forgery against its twin"]["pairs"] == 2
    assert checks["place blanked"]["identical"] == 2
    assert len(found["in_words"]) == 5


def test_a_network_that_answers_with_another_shape_is_an_error_and_the_folder_stays_usable(data, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra [train] is not installed")
    pytest.importorskip("onnx", reason="the extra [train] is not installed")
    out = tmp_path / "out"
    with pytest.raises(WeightsError, match="numbers for 4 pictures"):
        evaluation.evaluate(Asked(str(mean_model(tmp_path / "odd", axes=(1, 3))), data, out, resamples=0))
    assert [path.name for path in out.iterdir()] == [run.ROWS], "no page, no figures"
    evaluation.evaluate(Asked(str(mean_model(tmp_path / "even")), data, out, resamples=0, examples=0))
    assert (out / "evaluation.html").is_file()


def test_a_damaged_model_folder_is_refused_before_anything_is_written(data, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra [train] is not installed")
    pytest.importorskip("onnx", reason="the extra [train] is not installed")
    torn, changed = (mean_model(tmp_path / name) for name in ("torn", "changed"))
    (torn / "model.json").write_text((torn / "model.json").read_text()[:200])
    (changed / "model.onnx").write_bytes(b"other bytes")
    for folder, words in ((torn, "cannot read"), (changed, "promises")):
        with pytest.raises(WeightsError, match=words):
            evaluation.evaluate(Asked(str(folder), data, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_manifest_of_one_class_and_a_folder_that_cannot_be_written_are_refused(data, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra [train] is not installed")
    lines = (data / "manifest.csv").read_text().splitlines(keepends=True)
    authentic = [lines[0], *(line for line in lines[1:] if ",authentic," in line)]
    one_class = data / "authentic.csv"
    one_class.write_text("".join(authentic))
    with pytest.raises(InputError, match="authentic: neither rate"):
        evaluation.evaluate(Asked("ct-noise", one_class, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot use"):
        evaluation.evaluate(Asked("ct-noise", data, tmp_path / "file" / "out"))


def test_a_set_of_which_nothing_can_be_judged_is_an_error(data, tmp_path):
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"no image")
    entries = [replace(entry, path=broken) for entry in table.read(data).entries]
    card = next(card for card in packaged_cards() if card.name == "ct-noise")
    tested = outcomes.Tested(card.name, from_card(card), card.calibration)
    with pytest.raises(InputError, match="none of 6 series could be judged"):
        run.run(entries, tested, {}, tmp_path / "out")


def test_a_slice_with_a_place_but_no_mask_is_judged_by_the_place(data):
    card = next(card for card in packaged_cards() if card.name == "ct-noise")
    tested = outcomes.Tested(card.name, from_card(card), card.calibration)
    forged = next(group for group in cases.by_series(table.read(data).entries) if group[0].label == "forged")
    case = cases.opened(forged)
    ((k, j, i),) = case.places
    heatmap = tested.judge(case.volume).heatmap
    one = replace(case, volume=case.volume.slab(k, k + 1), mask=None, places=((0, j, i),))
    judged = outcomes.outcome(one, tested)
    assert judged.slice_truths == (True,)
    assert judged.lesions == 1
    assert judged.place.keys() <= {"pointing_mm", "region_auroc"}
    for offset, expected in ((20, 1.0), (40, 0.0)):  # of 0.9 mm each: 18 and 36 mm
        shown = np.zeros_like(heatmap)
        shown[k, j, i + (offset if i < 128 else -offset)] = 1.0
        evidence = replace(tested.judge(case.volume), heatmap=shown, probability=0.5)
        assert outcomes.localised(case, evidence, 0.5)["pointing_mm"] == expected
    assert outcomes.outcome(replace(case, mask=None), tested).slice_truths == (), "nobody says which slices"


def test_several_manifests_are_judged_as_one(data, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra [train] is not installed")
    entries = table.read(data).entries
    paths = []
    for label in ("forged", "authentic"):
        paths.append(tmp_path / f"{label}.csv")
        chosen = [replace(entry, part="test") for entry in entries if entry.label == label]
        table.write(paths[-1], chosen, data)
    asked = Asked("ct-noise", tuple(paths), tmp_path / "out", part="test", resamples=0, examples=0)
    _, figures = evaluation.evaluate(asked)
    assert (figures["cases"]["forged"], figures["cases"]["authentic"]) == (2, 4)
    with pytest.raises(InputError, match="all 8 files are forged"):
        evaluation.evaluate(replace(asked, data=paths[0], out=tmp_path / "one"))
    with pytest.raises(InputError, match="both list"):
        evaluation.evaluate(replace(asked, data=(paths[0], paths[0])))
