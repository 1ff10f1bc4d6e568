"""The order of what the search of the site finds: docs/site/search.js, in a real browser."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

SCRIPT = (Path(__file__).parents[2] / "docs" / "site" / "search.js").read_text(encoding="utf-8")
# What Sphinx's search gives to the script: page, heading, and the score of the best word alone.
FOUND = [
    ["docs/decisions/0042-a-library", "42. The library is the pipeline, and hands records back", "", None, 15],
    ["docs/library", "As a Python library", "", None, 15],
    ["docs/decisions/0033-one-record-of-an-alarm", "33. One record of an alarm", "", None, 15],
    ["docs/monitoring", "Monitoring, and which alarms matter", "", None, 5],
    ["docs/install", "Installing", "", None, 15],
]


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("python library", "docs/library"),
        ("Which alarms matter?", "docs/monitoring"),
        ("alarm", "docs/monitoring"),
        ("how do I install it", "docs/install"),
    ],
)
def test_the_page_to_do_it_by_comes_first(browser: Browser, asked: str, first: str) -> None:
    """The words of the question that a heading has count, and a decision that has as many stands below."""
    page = browser.new_page()
    page.route("**/*", lambda route: route.fulfill(body=f"<script>{SCRIPT}</script>", content_type="text/html"))
    page.goto(f"http://127.0.0.1/search.html?q={asked}")
    scores = page.evaluate("(found) => found.map((one) => Scorer.score(one))", FOUND)
    best = max(range(len(FOUND)), key=scores.__getitem__)
    assert FOUND[best][0] == first, dict(zip((one[0] for one in FOUND), scores, strict=True))
