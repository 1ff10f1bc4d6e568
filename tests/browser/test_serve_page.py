"""The page of `tagstream serve` in a real browser: its own figures and alarms, and nothing of a stream.

TAGSTREAM_IMAGES=FOLDER keeps the screenshots.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.legibility import SIZES
from tests.serving.running import Service, service
from tests.waiting import HANG_SECONDS, until

pytestmark = pytest.mark.browser

IMAGES = os.environ.get("TAGSTREAM_IMAGES")
SMALL = {"TAGSTREAM_DRIFT_WINDOW_EVENTS": "100", "TAGSTREAM_DRIFT_LEARNING_SECONDS": "0"}


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A process with small windows and no broker."""
    # It is no setting of the service.
    monkeypatch.delenv("TAGSTREAM_IMAGES", raising=False)
    with service(tmp_path, **SMALL) as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page whose console must stay empty."""
    opened = browser.new_page(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    opened.set_default_timeout(HANG_SECONDS * 1000)
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    yield opened
    opened.close()
    assert said == []


def ask(running: Service, events: int, word: str = "", source: str = "app") -> None:
    """Send so many requests of a source, each with this word."""
    rows = [{"title": f"Deploying model {at} {word}", "source": source} for at in range(events)]
    httpx.post(f"{running.url}/classify", content=json.dumps(rows).encode(), timeout=HANG_SECONDS).raise_for_status()


def test_a_flood_of_one_source_is_an_alarm_on_the_page(page: Page, running: Service) -> None:
    """Calm while it learns; then confidence, tags and drift are drawn, and the alarm says that one source floods the service."""
    page.goto(f"{running.url}/watch")
    page.wait_for_selector("main[aria-busy=false]")
    assert page.url == f"{running.url}/watch/"
    assert page.inner_text("#of") == "tagstream serve"
    ask(running, 700)
    until(lambda: "drift_reference_learned" in running.log(), "the reference is learned")
    ask(running, 100, "quantabyte", "crawler")
    page.wait_for_selector(".alarm.ticket")
    assert "a flood of one source, 100% of the events" in page.inner_text("#alarms")
    assert page.locator("#confidence rect.live").count() > 0
    assert page.locator("#labels tbody tr").count() > 0
    assert page.locator("#distances tbody tr").count() == 4
    assert page.locator("#shares tbody tr").count() > 0
    assert page.locator("#numbers div").count() == 1
    for hidden in ("#flow", "#latency", "#totals", "nav"):
        assert not page.locator(hidden).is_visible()
    for name, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if IMAGES is not None:
            page.wait_for_timeout(500)
            page.screenshot(path=Path(IMAGES) / f"serve-{name}.png", full_page=True)
