"""The report of an evaluation in a real browser: it fits the window, it is legible, and it sends no request.

TAGSTREAM_IMAGES=FOLDER keeps the screenshots.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tagstream.model_export.report import report
from tests.evaluations import NASTY, evaluation
from tests.legibility import CONTRASTS, LEAST_CONTRAST, SCHEMES, SIZES

pytestmark = pytest.mark.browser

# Lengths are in pixels of the screen; below this, letters of a plot cannot be read on a phone.
LEAST_LETTERS = 8.5


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the page."""
    folder = tmp_path_factory.mktemp("report")
    report.write(evaluation(), folder)
    return (folder / report.PAGE).as_uri()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", SIZES)
def test_it_fits_and_can_be_read(browser: Browser, address: str, size: str, scheme: Any) -> None:
    """In each window and colour scheme the page fits, every text has contrast, and plots and tables are there."""
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    assert (said, asked) == ([], [address])
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 300
    assert [found for found in contrasts if found[1] < LEAST_CONTRAST] == []
    assert page.locator("figure svg[role=img]").count() == 6
    assert page.evaluate(SMALLEST) >= LEAST_LETTERS
    assert page.get_by_role("rowheader", name=NASTY, exact=True).count() >= 3
    folder = os.environ.get("TAGSTREAM_IMAGES")
    if folder:
        page.screenshot(path=Path(folder) / f"report-{width}-{scheme}.png", full_page=True)
    page.close()


# The smallest letters of any plot, as they are on the screen.
SMALLEST = """() => Math.min(...[...document.querySelectorAll("figure svg text")].map(
  (one) => parseFloat(getComputedStyle(one).fontSize) * one.ownerSVGElement.getBoundingClientRect().width
    / one.ownerSVGElement.viewBox.baseVal.width))"""
