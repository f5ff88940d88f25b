"""The page as people use it: a real browser on a real `tamperscope serve`, with a phantom that ct-fast judges."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.attacks import CtGanBlend

pytest.importorskip("fastapi", reason="the extra serve is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",
    "--use-angle=swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 60_000
SHAPE, SPACING_MM, PLACE = (10, 320, 320), (2.5, 1.05, 1.05), (5, 160, 245)
THEMES = ("light", "dark")


@dataclass(frozen=True)
class Place:
    """A running service: its folder, its address, the key that opens it."""

    folder: Path
    address: str
    key: str

    def hand_in(self, name: str, data: bytes) -> None:
        request = urllib.request.Request(f"{self.address}/api/v1/studies?name={name}", data, method="POST")
        request.add_header("Authorization", f"Bearer {self.key}")
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 202

    def judge(self) -> int:
        """The process that judges."""
        lines = (self.folder / "audit.jsonl").read_text(encoding="utf-8").splitlines()
        return next(e["pid"] for e in map(json.loads, reversed(lines)) if e.get("part") == "judge" and "pid" in e)


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """``before/`` and ``after/``: a phantom, and the same with one place forged."""
    folder, rng = tmp_path_factory.mktemp("scans"), np.random.default_rng(2019)
    pristine = phantom.chest(SHAPE, SPACING_MM, rng)
    attack = CtGanBlend("remove")
    phantom.write_dicom(pristine, folder / "before")
    phantom.write_dicom(attack.apply(pristine, attack.sample(pristine, rng, at=PLACE)).volume, folder / "after")
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("service")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tamperscope", "serve", "--folder", str(folder), "--port", str(port)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        said = re.fullmatch(r"Open (http://\S+)/enter\?key=(\S+)\n", running.stdout.readline())
        assert said
        yield Place(folder, said[1], said[2])
    finally:
        running.terminate()
        running.communicate(timeout=90)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    playwright.expect.set_options(timeout=PATIENCE_MS / 2)
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def wrong() -> list[str]:
    """What went wrong on the page, as the browser's console tells it."""
    return []


@pytest.fixture
def page(browser, service, wrong) -> Iterator[object]:
    """A page of its own, inside, on which nothing may go wrong: no script fails, and the policy forbids nothing."""
    context = browser.new_context(
        reduced_motion="reduce", viewport={"width": 1280, "height": 900}, accept_downloads=True
    )
    context.set_default_timeout(PATIENCE_MS)
    opened = context.new_page()
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    opened.goto(f"{service.address}/enter?key={service.key}")
    yield opened
    context.close()
    assert not wrong


def accessible(page) -> None:
    """No finding of axe, in either theme; and nothing wider than a telephone."""
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        found = axe.Axe().run(page).response["violations"]
        assert not [(one["id"], [node["html"] for node in one["nodes"]]) for one in found], theme
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 420, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.set_viewport_size({"width": 1280, "height": 900})


def shot(page, selector: str) -> np.ndarray:
    """What an element looks like, grey levels (H, W)."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(page.locator(selector).screenshot())).convert("L"), dtype=np.float32)


def drawn(page) -> None:
    """Wait until what was asked for is on the screen: colours are made anew in the next frame."""
    page.evaluate("new Promise((good) => requestAnimationFrame(() => requestAnimationFrame(() => good(true))))")


def handed_in(page, folder: Path) -> None:
    """Choose a folder and wait until its study is done; then it is open."""
    page.locator("#folder").set_input_files(folder)
    page.locator("#uploads li", has_text=folder.name).get_by_role("link", name="Open it").click()
    page.wait_for_selector("#study[data-state=done]")


def test_the_whole_walk(page, service, scans):
    expect = playwright.expect
    handed_in(page, scans / "before")
    expect(page.locator("#verdict")).to_have_text("No evidence of tampering found")
    page.goto(service.address)
    handed_in(page, scans / "after")
    study = page.url
    expect(page.locator("#verdict")).to_have_text("SUSPICIOUS: altered place found")
    expect(page.locator("section.suspicious").first).to_contain_text("1 false alarm in 100 authentic series")
    page.wait_for_selector("#viewer[data-ready]")
    accessible(page)

    said, stage = page.locator("#slice-said"), page.locator("#stage")
    begun = said.inner_text()
    assert begun == "5 of 10"
    stage.focus()
    page.keyboard.press("ArrowDown")
    expect(said).to_have_text("6 of 10")
    page.keyboard.press("End")
    expect(said).to_have_text("10 of 10")
    page.keyboard.press("PageUp")
    expect(said).to_have_text("1 of 10")
    page.locator("#left").hover()
    page.mouse.wheel(0, 120)
    expect(said).to_have_text("2 of 10")
    run = page.locator("#scores a").first
    run.focus()
    page.keyboard.press("Enter")
    expect(said).to_have_text("6 of 10")  # the highest score; the place's centre is in slice 5

    before = shot(page, "#left")
    page.get_by_role("button", name="Bone").click()
    expect(page.get_by_role("button", name="Bone")).to_have_attribute("aria-pressed", "true")
    drawn(page)
    bone = shot(page, "#left")
    assert np.abs(bone - before).mean() > 5
    opacity = page.locator("#opacity")
    opacity.focus()
    page.keyboard.press("Home")
    expect(page.locator("#opacity-said")).to_have_text("0 %")
    drawn(page)
    assert np.abs(shot(page, "#left") - bone).max() > 20

    page.keyboard.press("End")
    stage.focus()
    page.keyboard.press("Home")
    page.get_by_role("button", name="Place 1").click()
    expect(said).to_have_text("5 of 10")
    expect(page.locator("#enlarge")).to_have_attribute("aria-pressed", "true")
    mark = page.locator("#left ~ .marks rect").bounding_box()
    pane = page.locator("#left").bounding_box()
    assert abs(mark["x"] + mark["width"] / 2 - pane["x"] - pane["width"] / 2) < 2
    assert 0.3 < mark["width"] / pane["width"] < 0.5

    page.get_by_label("Tampered").check()
    page.get_by_label("Comment").fill("smoother than what is around it")
    page.get_by_role("button", name="Keep this opinion").click()
    expect(page.locator(".reviews")).to_contain_text("smoother than what is around it")
    for name in ("Report as JSON", "All results as zip"):
        with page.expect_download() as got:
            page.get_by_role("link", name=name).click()
        assert got.value.path().stat().st_size > 1000

    page.goto(service.address)
    page.wait_for_selector("#rows tr")
    rows = page.locator("#rows tr")
    assert rows.first.get_by_role("link").inner_text() == "after", "the most suspicious comes first"
    expect(rows.first).to_contain_text("Tampered")
    accessible(page)
    with page.expect_download() as got:
        page.get_by_role("link", name="CSV").click()
    assert "after" in got.value.path().read_text(encoding="utf-8")
    with page.expect_download() as got:
        page.get_by_role("link", name="Reviews as a manifest").click()
    assert "forged" in got.value.path().read_text(encoding="utf-8")

    page.goto(f"{service.address}/compare?before={study.rsplit('/', 1)[1].split('?')[0].split('#')[0]}")
    accessible(page)
    page.locator("select[name=after]").select_option(index=2)
    page.locator("#comparison button").click()
    page.wait_for_selector("#viewer[data-ready]")
    expect(page.locator("#pair-title")).to_contain_text("voxels differ")
    accessible(page)
    for path in ("/models", "/models/ct-fast", "/models/knee", "/users", "/audit", "/account", "/login"):
        page.goto(service.address + path)
        page.wait_for_load_state("networkidle")
        accessible(page)


def test_it_is_usable_while_ten_studies_queue(page, service, scans):
    expect = playwright.expect
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted((scans / "before").iterdir()):
            archive.write(path, f"queued/{path.name}")
    os.kill(service.judge(), signal.SIGSTOP)  # a queue that stands still, however fast the machine is
    try:
        for number in range(10):
            service.hand_in(f"queued-{number}.zip", packed.getvalue())
        # They come into the table by themselves.
        expect(page.locator("#rows tr", has_text="queued-")).to_have_count(10)
        expect(page.locator("#rows tr", has_text="Waiting").or_(page.locator("#rows progress"))).not_to_have_count(0)
        page.get_by_label("Name or UID").fill("queued-7")
        page.get_by_role("button", name="Filter").click()
        expect(page.locator("#rows tr")).to_have_count(1)
        page.locator("#rows a").click()
        expect(page.locator("#state-title")).to_have_text(re.compile("Waiting|Running"))
        accessible(page)
        page.get_by_role("button", name="Delete this study").click()
        page.get_by_role("button", name="Keep it").click()
        expect(page.locator("#sure")).to_be_hidden()
    finally:
        os.kill(service.judge(), signal.SIGCONT)


def test_an_upload_that_was_interrupted_goes_on_where_it_stopped(page, wrong, scans):
    expect = playwright.expect
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "PATCH" else None)
    broken = re.compile(r"/files/[3-9]\?")
    page.route(broken, lambda route: route.fulfill(status=503, json={"error": "away", "hint": "later"}))
    page.locator("#folder").set_input_files(scans / "after")
    expect(page.locator("#uploads")).to_contain_text(" of ")
    while not {url.rsplit("/", 1)[1].split("?")[0] for url in sent} >= {"0", "1", "2", "3"}:
        page.wait_for_event("request")
    page.reload()  # before the way is free again: what failed would be tried anew
    page.unroute(broken)
    assert all("503" in one for one in wrong)
    wrong.clear()
    sent.clear()
    expect(page.locator("#uploads")).to_contain_text("drop the same files again")
    page.locator("#folder").set_input_files(scans / "after")
    expect(page.locator("#uploads")).to_contain_text("1 study found.")
    assert sent
    assert not [url for url in sent if "/files/0?" in url]
    assert page.evaluate("localStorage.getItem('uploads')") == "{}"


def test_what_is_dropped_is_taken_and_what_is_no_image_is_said(page):
    expect = playwright.expect
    text = base64.b64encode(b"no image").decode("ascii")
    page.evaluate(
        """(text) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([atob(text)], "note.txt"));
          const drop = new DragEvent("drop", { dataTransfer: transfer, bubbles: true });
          document.querySelector("#drop").dispatchEvent(drop);
        }""",
        text,
    )
    expect(page.locator("#uploads .error").first).to_be_visible()
    accessible(page)


def test_it_works_without_scripts_and_the_theme_is_kept(browser, service, page):
    page.goto(f"{service.address}/models")
    page.get_by_label("Theme").select_option("dark")
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 20, 26)"
    cookies = page.context.cookies()
    context = browser.new_context(reduced_motion="reduce", java_script_enabled=False)
    context.add_cookies(cookies)
    plain = context.new_page()
    for path in ("/", "/compare", "/models/ct-fast"):
        assert plain.goto(service.address + path).ok
        assert plain.locator("h1").inner_text()
    context.close()
