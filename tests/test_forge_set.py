from __future__ import annotations

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

import tamperscope
from tamperscope import forge_set, phantom, writers
from tamperscope.decode import decode
from tamperscope.errors import UnreadableError, UsageError
from tamperscope.recipe import Line, Recipe

RECIPE = """
seed = 3
name = "trial"

[parts]
train = 0.5
test = 0.5

[[forgery]]
attack = "inpaint"
then = ["compress-jpeg"]
count = 2

[[forgery]]
attack = "splice"
parts = ["test"]

[[forgery]]
attack = "denoise"
share = 0.5
twin = false
"""


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> Path:
    """Four patients, one of them with two series."""
    root = tmp_path_factory.mktemp("studies")
    for number in range(5):
        volume = phantom.chest((3, 128, 128), (2.5, 2.8, 2.8), np.random.default_rng(number))
        for path in phantom.write_dicom(volume, root / f"s{number}"):
            dataset = pydicom.dcmread(path)
            dataset.PatientID = f"SECRET-{min(number, 3)}"
            dataset.save_as(path)
    return root


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "R.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def made(studies, recipe, tmp_path_factory) -> tuple[Path, forge_set.Outcome]:
    out = tmp_path_factory.mktemp("set") / "out"
    return out, forge_set.make([studies], recipe, out)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / forge_set.TABLE).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- what is made ---


def test_each_line_makes_what_it_says(made):
    out, outcome = made
    assert outcome.failed == ()
    assert outcome.items == outcome.made == len([path for path in out.iterdir() if path.is_dir()])
    series = {row["series"]: row for row in rows(out)}
    attacks = Counter(row["attack"] for row in series.values() if row["role"] != "twin")
    tests = Counter(row["part"] for row in series.values() if row["attack"] == "inpaint+compress-jpeg")["test"] // 2
    assert attacks == {"inpaint+compress-jpeg": 10, "splice": tests, "denoise": 2}
    assert {row["part"] for row in series.values() if row["attack"] == "splice"} == {"test"}


def test_the_manifest_tells_the_truth_about_every_file(made):
    out, _ = made
    listed = rows(out)
    assert tuple(listed[0]) == forge_set.COLUMNS
    for row in listed:
        data = (out / row["path"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        assert (pydicom.dcmread(out / row["path"]).get("PatientID") or "").startswith("SECRET")
        assert row["label"] == ("forged" if row["role"] == "forged" else "authentic")
        assert (row["generator"] != "") == (row["role"] == "forged")
        for column in ("mask", "record", "picture"):
            assert not row[column] or (out / row[column]).is_file()
        assert (row["mask"] == "") == (row["role"] == "twin")
        assert (row["modality"], row["scanner"], row["kernel"]) == ("CT", "tamperscope phantom", "standard")
        assert row["spacing_mm"] == "2.5 2.8 2.8"
    files = {path for path in tree(out) if path.endswith(".dcm")}
    assert files == {row["path"] for row in listed}, "no file is missing, none is listed twice"
    assert "SECRET" not in (out / forge_set.TABLE).read_text() + (out / forge_set.LINES).read_text()


def test_forgery_and_twin_differ_where_the_manifest_says(made):
    out, _ = made
    listed = rows(out)
    series = {row["series"]: row for row in listed if row["role"] == "forged"}
    assert series
    for name, row in series.items():
        assert any(other["series"] == row["twin"] and other["role"] == "twin" for other in listed)
        after, before = (decode(tamperscope.read(out / one).studies[0].series[0]).voxels for one in (name, row["twin"]))
        counted = [int(other["changed_voxels"]) for other in listed if other["series"] == name]
        assert (after != before).sum(axis=(1, 2)).tolist() == counted
        assert sum(counted) > 0


def test_patients_stay_in_one_part_and_donors_too(made):
    out, _ = made
    listed = rows(out)
    parts: dict[str, set[str]] = {}
    for row in listed:
        parts.setdefault(row["patient"], set()).add(row["part"])
    assert len(parts) == 4
    assert sorted(part for (part,) in parts.values()) == ["test", "test", "train", "train"]
    digests = {}
    for path in out.glob("*/*.json"):
        record = writers.record.read(path)
        digests[record["order"]["input"]] = record["about"]["patient"], record["about"]["part"]
    for path in out.glob("*splice*/forged*.json"):
        record = writers.record.read(path)
        patient, part = digests[record["order"]["pixels"]["params"]["donor"]]
        assert patient != record["about"]["patient"]
        assert part == record["about"]["part"]


def test_the_lines_hold_the_records(made):
    out, _ = made
    lines = [json.loads(line) for line in (out / forge_set.LINES).read_text().splitlines()]
    assert len(lines) == len({row["series"] for row in rows(out)})
    for line in lines:
        record = writers.record.read(out / line["folder"] / f"{line['name']}.json")
        assert {**record, "folder": line["folder"]} == line


# --- resuming ---


def test_a_run_that_was_killed_goes_on_and_comes_to_the_same_set(studies, recipe, made, tmp_path):
    whole, outcome = made
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    items = sorted(path for path in out.iterdir() if path.is_dir())
    # As after a kill: some items are there, one was being written, the manifest was not.
    shutil.rmtree(items[0])
    items[1].rename(out / f".{items[1].name}.partial")
    next((out / f".{items[1].name}.partial").iterdir())
    (out / forge_set.TABLE).unlink()
    (out / forge_set.LINES).unlink()
    untouched = {path: path.stat().st_mtime_ns for path in items[2].rglob("*")}
    again = forge_set.make([studies], recipe, out)
    assert (again.items, again.made) == (outcome.items, 2)
    assert tree(out) == tree(whole)
    assert untouched == {path: path.stat().st_mtime_ns for path in items[2].rglob("*")}


def test_processes_and_the_order_of_the_studies_change_nothing(studies, recipe, made, tmp_path):
    whole, _ = made
    ticks = []
    forge_set.make(
        sorted(studies.iterdir(), reverse=True),
        recipe,
        tmp_path / "out",
        jobs=2,
        tick=lambda what, done, total: ticks.append((what, done, total)),
    )
    assert tree(tmp_path / "out") == tree(whole)
    assert [done for _, done, _ in ticks] == sorted(done for _, done, _ in ticks)
    assert ticks[-1][1] == ticks[-1][2]


def test_a_folder_of_another_recipe_or_of_something_else_is_refused(studies, recipe, made, tmp_path):
    out, _ = made
    other = tmp_path / "other.toml"
    other.write_text(RECIPE.replace("seed = 3", "seed = 4"), encoding="utf-8")
    with pytest.raises(UsageError, match="another recipe"):
        forge_set.make([studies], other, out)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("")
    with pytest.raises(UsageError, match="not empty"):
        forge_set.make([studies], recipe, tmp_path / "full")
    with pytest.raises(UsageError, match="inside the input"):
        forge_set.make([studies], recipe, studies / "out")
    with pytest.raises(UsageError, match="lies in"):
        forge_set.make([out / rows(out)[0]["series"]], recipe, out)


# --- what goes wrong with one stops no other ---


def test_what_does_not_suit_is_listed_and_the_rest_is_made(studies, tmp_path):
    recipe = tmp_path / "R.toml"
    recipe.write_text(
        '[[forgery]]\nattack = "changed-dates"\n[[forgery]]\nattack = "splice"\n[[forgery]]\nattack = "inpaint"\n',
        encoding="utf-8",
    )
    mixed = tmp_path / "in"
    shutil.copytree(studies / "s0", mixed / "s0")
    (mixed / "broken.dcm").write_bytes(b"no image")
    outcome = forge_set.make([mixed], recipe, tmp_path / "out")
    assert sorted(failure.error.split(": ")[-1] for failure in outcome.failed) == [
        "it begins with 6e 6f 20 69 6d 61 67 65",
        "no other patient of this modality in this part",
        "the headers state no Study Date",
    ]
    assert {row["attack"] for row in rows(tmp_path / "out")} == {"inpaint", "none"}
    assert not list((tmp_path / "out").glob(".*"))


def test_nothing_readable_is_an_error(recipe, tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(UnreadableError, match="nothing could be read"):
        forge_set.make([tmp_path / "in"], recipe, tmp_path / "out")


def test_pictures_get_their_patient_by_a_pattern_and_doubles_are_told(tmp_path):
    film = phantom.radiograph((64, 64)).voxels[0].astype(np.uint16)
    for name in ("9001L.png", "9001R.png", "9002L.png", "odd.png"):
        Image.fromarray(film + len(tree(tmp_path))).save(tmp_path / name)
    shutil.copy(tmp_path / "9002L.png", tmp_path / "9003L.png")
    recipe = Recipe((Line("inpaint"),), patient=r"^(\d{4})", modality="DX", spacing_mm=(2.0,))
    found, failed = forge_set.subjects([tmp_path], recipe)
    assert sorted(subject.patient for subject in found) == ["9001", "9001", "9002"]
    assert len(failed) == 2
    assert any("finds no patient" in failure.error for failure in failed)
    assert any("same files as" in failure.error for failure in failed)


def test_a_share_is_one_of_the_series_and_a_seed_chooses_which(studies):
    found, _ = forge_set.subjects([studies], Recipe(()))
    assert len(found) == 5
    chosen = []
    for seed in range(6):
        tasks = forge_set.tasks(found, Recipe((Line("denoise", share=0.4, twin=False),), seed=seed))
        assert len(tasks) == 2
        chosen.append(frozenset(task.subject.key for task in tasks))
    assert len(set(chosen)) > 1
    assert forge_set.tasks(found, Recipe((Line("denoise", share=0.0),))) == []


def named(folder: Path, name: str, born: str, identity: str = "1") -> None:
    """A study of a patient with a name, in a folder of its own."""
    phantom.write_dicom(phantom.chest((2, 64, 64), (2.5, 5.0, 5.0), np.random.default_rng(len(name))), folder)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.PatientName, dataset.PatientBirthDate, dataset.PatientID = name, born, identity
        dataset.save_as(path)


def test_two_patients_with_one_key_are_refused(tmp_path):
    named(tmp_path / "a", "ADAMS", "19500101")
    named(tmp_path / "b", "ZORN^Z", "19600101")
    with pytest.raises(UsageError, match="two patients with one key"):
        forge_set.subjects([tmp_path], Recipe((Line("inpaint"),)))
    found, _ = forge_set.subjects([tmp_path], Recipe((Line("inpaint"),), patient="([ab])/[^/]*$"))
    assert sorted(subject.patient for subject in found) == ["a", "b"]


def test_files_that_do_not_say_whose_they_are_need_a_pattern_to_be_split(tmp_path):
    for number, name in enumerate(("9001L", "9001R", "9002L")):
        film = phantom.radiograph((64, 64)).voxels[0].astype(np.uint16)
        Image.fromarray(film + number).save(tmp_path / f"{name}.png")
    halves = {"train": 0.5, "test": 0.5}
    with pytest.raises(UsageError, match="does not say whose it is"):
        forge_set.subjects([tmp_path], Recipe((Line("inpaint"),), parts=halves))
    found, _ = forge_set.subjects([tmp_path], Recipe((Line("inpaint"),), parts=halves, patient=r"^(\d+)"))
    assert {subject.part for subject in found if subject.patient == "9001"} in ({"train"}, {"test"})


def test_a_part_that_would_stay_empty_is_an_error(tmp_path):
    named(tmp_path / "a", "ADAMS", "19500101")
    with pytest.raises(UsageError, match="1 patients leave the part test empty"):
        forge_set.subjects([tmp_path], Recipe((Line("inpaint"),), parts={"train": 0.8, "test": 0.2}))


def test_workers_end_with_the_run_that_started_them_however_it_ends(tmp_path):
    script = (
        "import multiprocessing as m, os, sys\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from tamperscope.forge_set import _end_with_parent\n"
        "if __name__ == '__main__':\n"
        "    pool = ProcessPoolExecutor(2, m.get_context('spawn'), initializer=_end_with_parent)\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    path = tmp_path / "run.py"
    path.write_text(script)
    with subprocess.Popen([sys.executable, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert int(run.stdout.readline()) != run.pid
        run.kill()
        # The workers hold the other end of the pipe: it is read to its end when the last of them has gone.
        assert run.stdout.read() == ""


def test_a_split_file_places_the_patients_and_a_second_run_goes_on(tmp_path):
    for name in ("ADAMS", "ZORN"):
        named(tmp_path / "studies" / name, name, "19500101", identity=name)
    (tmp_path / "split.json").write_text('{"train": ["ADAMS"], "calibrate": [], "test": ["ZORN"], "rotation": []}')
    path = tmp_path / "R.toml"
    path.write_text("patient = '(ADAMS|ZORN)/[^/]*$'\nsplit = 'split.json'\n[[forgery]]\nattack = 'denoise'\n")
    first = forge_set.make([tmp_path / "studies"], path, tmp_path / "set")
    assert forge_set.make([tmp_path / "studies"], path, tmp_path / "set").items == first.items
    with (tmp_path / "set" / "manifest.csv").open() as file:
        assert {(row["patient"], row["part"]) for row in csv.DictReader(file)} == {("ADAMS", "train"), ("ZORN", "test")}
