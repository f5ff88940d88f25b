"""What the page is made of comes from here alone, and what was vendored is what its lock pins."""

import hashlib
import json
import re
from pathlib import Path

import tamperscope

STATIC = Path(tamperscope.__file__).parent / "service" / "static"
VENDOR = STATIC / "vendor"
OURS = sorted(STATIC.glob("*.js"))
FORBIDDEN = re.compile(r"https?://|innerHTML|insertAdjacentHTML|\beval\(|new Function|document\.write|@import")


def test_what_was_vendored_is_what_the_lock_pins():
    lock = json.loads((VENDOR / "lock.json").read_text(encoding="utf-8"))
    names = {path.name for path in VENDOR.iterdir()} - {"lock.json", "LICENCES.txt"}
    assert names == set(lock["files"])
    for name, entry in lock["files"].items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == entry["sha256"]


def test_the_licences_of_what_was_vendored_lie_beside_it():
    text = (VENDOR / "LICENCES.txt").read_text(encoding="utf-8")
    for name in ("@niivue/niivue", "gl-matrix", "nifti-reader-js", "fflate", "zarrita", "numcodecs", "@lukeed/uuid"):
        assert name in text


def test_modules_import_each_other_and_nothing_from_elsewhere():
    assert OURS
    for path in OURS:
        for name in re.findall(r'(?:from|import\()\s*"([^"]+)"', path.read_text(encoding="utf-8")):
            assert name.startswith("./")
            assert (STATIC / name).is_file(), f"{path.name} imports {name}"


def test_nothing_is_fetched_from_another_place_and_no_text_becomes_code():
    for path in [*OURS, STATIC / "page.css"]:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(
            r"https?://|innerHTML|insertAdjacentHTML|\beval\(|new Function|document\.write|@import", text
        )
