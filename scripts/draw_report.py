"""Draw docs/assets/report.png, gallery.png, knowledge.png and routing.png: pieces of the demos' reports.

python scripts/draw_report.py demo/report.html       # the top, the first maps and cells
python scripts/draw_report.py experts/report.html    # of `kdlens demo --experts`: who reads which expert
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import FloatRect, Locator, Page, sync_playwright

ASSETS = Path(__file__).parents[1] / "docs" / "assets"
WIDTH, HEIGHT = 1180, 1090
MAPS, CELLS = 6, 4


def main() -> None:
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(Path(sys.argv[1]).resolve().as_uri())
        page.wait_for_timeout(500)
        routing = page.locator("#conflict div.grid", has=page.get_by_text("Line width: how much is read"))
        if routing.count():
            page.set_viewport_size({"width": 1280, "height": HEIGHT})  # room for two beside each other
            _save(routing.first.screenshot(), "routing")
        else:
            _draw_demo(page)
        browser.close()


def _draw_demo(page: Page) -> None:
    _save(page.screenshot(), "report")
    maps, cells = page.locator("#unicam table.gallery").first, page.locator("#knowledge .cells-box").first
    _save(page.screenshot(clip=_first(maps.locator("tbody tr"), MAPS, maps), full_page=True), "gallery")
    _save(page.screenshot(clip=_first(cells.locator("figure.cell-item"), CELLS, cells), full_page=True), "knowledge")


def _first(rows: Locator, count: int, frame: Locator) -> FloatRect:
    """The frame down to the end of so many of its rows."""
    box, last = frame.bounding_box(), rows.nth(count - 1).bounding_box()
    assert box
    assert last
    return {"x": box["x"], "y": box["y"], "width": box["width"], "height": last["y"] + last["height"] - box["y"]}


def _save(png: bytes, name: str) -> None:
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(256, kmeans=3, dither=Image.Dither.NONE).save(ASSETS / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
