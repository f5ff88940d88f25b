"""Draw the pictures of docs/page.md: `tamperscope serve` with synthetic scans, seen with Chromium, in both themes.

make pictures
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from tamperscope import phantom
from tamperscope.attacks import CtGanBlend

IMAGES = Path(__file__).parent.parent / "docs" / "images"
SHAPE, SPACING_MM, PLACE = (32, 512, 512), (2.5, 0.7, 0.7), (16, 250, 390)
SIZE = {"width": 1280, "height": 1000}
THEMES = ("light", "dark")
GREYS = 96
"""Of a picture, beside as many colours as fit a palette: the noise of a scan makes others large."""
PORT = 8499
WAIT_MS = 180_000
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--use-angle=swiftshader"]


def main() -> None:
    """Make the scans, hand them in, look at each page."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scans(folder)
        with serving(folder / "service") as address, sync_playwright() as started:
            browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
            page = browser.new_page(viewport=SIZE)
            page.set_default_timeout(WAIT_MS)
            page.goto(address)
            walk(page, folder)
            browser.close()


def scans(folder: Path) -> None:
    """A synthetic chest CT, the same with a place forged, and two others."""
    rng = np.random.default_rng(2019)
    pristine = phantom.chest(SHAPE, SPACING_MM, rng)
    attack = CtGanBlend("remove")
    forgery = attack.apply(pristine, attack.sample(pristine, rng, at=PLACE))
    phantom.write_dicom(forgery.volume, folder / "Case 17, as submitted")
    phantom.write_dicom(pristine, folder / "Case 17, from the archive")
    for number in (21, 22):
        phantom.write_dicom(phantom.chest((12, 320, 320), (2.5, 1.05, 1.05), rng), folder / f"Case {number}")


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A service in ``folder``; gives the address that opens it."""
    words = [sys.executable, "-m", "tamperscope", "serve", "--folder", str(folder), "--port", str(PORT)]
    running = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        said = re.search(r"http\S+", running.stdout.readline() if running.stdout else "")
        if said is None:
            sys.exit("the service did not begin")
        yield said[0]
    finally:
        running.terminate()
        running.wait()


def walk(page: Page, folder: Path) -> None:
    """Each main page once."""
    home = page.url
    for path in sorted(path for path in folder.iterdir() if path.name != "service"):
        page.locator("#folder").set_input_files(path)
        page.locator("#uploads li", has_text=path.name).get_by_role("link", name="Open it").wait_for()
    expect(page.locator("#rows tr[data-state=done]")).to_have_count(4, timeout=WAIT_MS)
    page.goto(home)
    taken(page, "studies")
    page.get_by_role("link", name="Case 17, as submitted").click()
    page.wait_for_selector("#viewer[data-ready]")
    taken(page, "study", 1750)
    page.get_by_role("button", name="Place 1").click()
    taken(page, "place", 900, "#viewer-title")
    page.goto(home)
    for name in ("Case 17, from the archive", "Case 17, as submitted"):
        page.get_by_label(f"Choose {name}").check()
    page.locator("#compare").click()
    page.wait_for_selector("#viewer[data-ready]")
    taken(page, "comparison", 1500)
    page.goto(f"{home}models/ct-fast")
    taken(page, "model", 1300)


def taken(page: Page, name: str, height: int = 1000, top: str = "") -> None:
    """The page as it is, in both themes, as ``docs/images/page-NAME-THEME.png``; from the element ``top`` on."""
    page.set_viewport_size({"width": SIZE["width"], "height": height})
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        page.evaluate(f"scrollTo(0, {f'document.querySelector({top!r}).offsetTop - 16' if top else 0})")
        page.wait_for_timeout(500)  # the panes draw themselves anew at this size
        image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        reduced(image).save(IMAGES / f"page-{name}-{theme}.png", optimize=True)
    page.set_viewport_size(SIZE)  # type: ignore[arg-type]


def reduced(image: Image.Image) -> Image.Image:
    """With a palette that gives colours their share: of what a page shows nearly all is grey."""
    pixels = np.asarray(image).reshape(-1, 3)
    coloured = pixels[np.ptp(pixels.astype(np.int16), axis=1) > 12]
    few = Image.fromarray(coloured[None]).quantize(256 - GREYS).getpalette()
    greys = [shade for grey in np.linspace(0, 255, GREYS).astype(int).tolist() for shade in (grey,) * 3]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*(few or [])[: 3 * (256 - GREYS)], *greys])
    return image.quantize(palette=palette, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main()
