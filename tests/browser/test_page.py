"""The page in a real browser: its charts draw, it says its state, and it sends requests to the worker alone.

TAGSTREAM_IMAGES=FOLDER keeps the screenshots that the documentation shows.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tagstream.monitoring.health import HealthVerdict
from tagstream.monitoring.server.server import serve
from tests.foreign.labels import MANY
from tests.hostile.markup import FOREIGN, HOSTILE
from tests.legibility import CONTRASTS, LEAST_CONTRAST, SCHEMES, SIZES
from tests.observations import DIGEST, LABELS, Stream, reference
from tests.waiting import until
from tests.worker_page import application

pytestmark = pytest.mark.browser

READY = HealthVerdict(ready=True, why="6 partitions, 0 events wait")
POLL_MS = 2000
# Most that anything may take: the machine may be busy.
SECONDS = 600
DASH = "\N{EN DASH}"
CHARTS = ("flow", "latency", "confidence")


class Worker:
    """
    The stream behind the page: its clock moves with every look, so that ten minutes pass in a few seconds.

    Attributes:
        stream: Its events.
        verdict: The answer of `/readyz`.
        drift: The share of events of another kind from now on.
        seconds: The time from one look to the next.
        rate: Events a second.
    """

    def __init__(self, labels: Sequence[str] = LABELS) -> None:
        """Ready, calm."""
        self.stream = Stream(labels=labels)
        self.verdict = READY
        self.drift = 0.0
        self.seconds = 15.0
        self.rate = 20.0

    def now(self) -> float:
        """The stream's clock, after some seconds of events."""
        self.stream.run(self.seconds, rate=self.rate, drift=self.drift)
        return self.stream.now


@pytest.fixture
def worker(request: pytest.FixtureRequest) -> Worker:
    """A worker that has just started; a test may ask for other labels."""
    return Worker(getattr(request, "param", LABELS))


@pytest.fixture
def address(worker: Worker) -> Iterator[str]:
    """Where the worker serves."""
    with serve(application(worker.stream.registry, lambda: worker.verdict, now=worker.now), host="127.0.0.1", port=0) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page with a paused clock; at the end its console must be empty and all requests must have gone to the worker."""
    opened = browser.new_page(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    opened.set_default_timeout(SECONDS * 1000)
    said: list[str] = []
    asked: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    opened.on("request", lambda request: asked.append(request.url))
    # From here on time passes only where a test says so: no look comes that it does not wait for.
    opened.clock.install(time=0)
    opened.clock.pause_at(1000)
    yield opened
    opened.close()
    # Chromium itself reports a worker that was taken away on purpose.
    assert [text for text in said if "ERR_CONNECTION_REFUSED" not in text] == []
    assert [url for url in asked if not url.startswith((address, "data:"))] == []


def look(page: Page, address: str) -> None:
    """Open the page and wait for its first figures."""
    with page.expect_response("**/snapshot.json"):
        page.goto(address)
    page.wait_for_selector("main[aria-busy=false]")


def polls(page: Page, times: int) -> None:
    """Let the page ask this many more times."""
    for _ in range(times):
        with page.expect_response("**/snapshot.json"):
            page.clock.run_for(POLL_MS)
        settled(page)


def settled(page: Page) -> None:
    """The answer is drawn. Asked from here, since the page's policy forbids later evaluation within it."""
    until(lambda: not page.evaluate("asking"), "the page has its answer", seconds=SECONDS)


def text(page: Page, selector: str) -> str:
    """The text of an element."""
    return page.inner_text(selector)


def number(page: Page, name: str) -> str:
    """One of the numbers of the moment, by its name."""
    return page.locator("#numbers div", has_text=name).locator("dd").inner_text()


def test_all_charts_draw_and_say_what_they_show(page: Page, address: str) -> None:
    """All charts are drawn, each with a text for screen readers."""
    look(page, address)
    polls(page, 5)
    for name in CHARTS:
        chart = page.locator(f"#{name} svg[role=img]")
        assert chart.count() == 1
        assert chart.get_attribute("aria-label")
    assert page.locator("#flow path.tagged[d*=L]").count() >= 1
    assert page.locator("#latency path.p99[d*=L]").count() >= 1
    assert page.locator("#confidence rect.live").count() > 8
    assert page.locator("#confidence line.reference").count() > 8
    assert page.locator("#labels tbody tr").count() == 4
    assert page.locator("#distances tbody tr").count() == 4
    assert page.locator("#shares tbody tr").count() == 7
    assert float(number(page, "tagged/s")) + float(number(page, "review/s")) + float(number(page, "dead/s")) == 20.0
    assert number(page, "p99").endswith(" ms")
    assert text(page, "#state") == "Ready"
    assert text(page, "#alarms") == "No alarm."
    assert "tagstream-default 1.2.0" in text(page, "#model")


def test_a_drift_becomes_alarms_that_say_what_moved(page: Page, address: str, worker: Worker) -> None:
    """Drift appears as one alarm that names the alerts of its cause; before it there is none."""
    look(page, address)
    polls(page, 4)
    assert text(page, "#alarms") == "No alarm."
    worker.drift = 1.0
    polls(page, 6)
    page.wait_for_selector(".alarm.ticket")
    assert page.locator(".alarm").count() == 1
    assert "The language or the format of the texts has changed" in text(page, "#alarms")
    assert "Also: " in text(page, "#alarms")
    assert "PredictionDrift" in text(page, "#alarms")
    assert page.locator("#distances tr.over").count() == 4


def test_a_group_that_learns_says_so(page: Page, address: str, worker: Worker) -> None:
    """Until the stream is learned, the page says how far it is, and that no drift is judged."""
    worker.stream.metrics.drift_reference({})
    worker.stream.metrics.drift_learned(0.42)
    look(page, address)
    polls(page, 4)
    assert "Learning what is ordinary in this stream (42%)" in text(page, "#alarms")
    assert "No alarm." in text(page, "#alarms")


def test_a_worker_without_events_says_so(page: Page, address: str, worker: Worker) -> None:
    """An idle worker is shown with dashes and the next step."""
    worker.rate = 0
    look(page, address)
    polls(page, 2)
    assert "No event has come yet" in text(page, "#notice")
    assert number(page, "confidence") == DASH
    assert "500 decisions" in text(page, "#alarms")


def test_a_worker_that_is_not_ready_says_why(page: Page, address: str, worker: Worker) -> None:
    """A worker that is not ready is shown with its own reason."""
    worker.verdict = HealthVerdict(ready=False, why="the group has not given this worker its partitions yet")
    look(page, address)
    assert text(page, "#state") == "Not ready"
    assert "is not ready, which is no alarm: the group has not given this worker" in text(page, "#alarms")
    assert "Stalled" not in text(page, "#alarms")


def test_a_long_path_stays_within_its_alarm(page: Page, address: str, worker: Worker) -> None:
    """A long path wraps within its alarm, also on a phone."""
    width, height = SIZES["narrow"]
    page.set_viewport_size({"width": width, "height": height})
    worker.verdict = HealthVerdict(
        ready=False, why=f"the breaker is open: remove /var/lib/{'tagstream_state' * 6}/breaker.json"
    )
    look(page, address)
    assert "breaker.json" in text(page, "#alarms")
    assert page.evaluate("[...document.querySelectorAll('.alarm')].map((one) => one.scrollWidth - one.clientWidth)") == [0]
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_lost_worker_leaves_its_last_figures_greyed(page: Page, address: str) -> None:
    """The last figures of a lost worker stay, greyed, until it answers again."""
    look(page, address)
    polls(page, 3)
    before = text(page, "#totals")
    page.route("**/snapshot.json", lambda route: route.abort("connectionrefused"))
    page.clock.run_for(3 * POLL_MS)
    page.wait_for_selector("body.lost")
    assert text(page, "#state").startswith("Connection lost")
    assert "The figures are from the last answer" in text(page, "#notice")
    assert "WorkerAbsent" in text(page, "#alarms")
    assert text(page, "#totals") == before
    page.unroute("**/snapshot.json")
    polls(page, 2)
    page.wait_for_selector("body:not(.lost)")
    assert text(page, "#state") == "Ready"
    assert text(page, "#alarms") == "No alarm."


def test_before_the_first_answer_it_says_that_it_asks(page: Page, address: str) -> None:
    """Before the first answer there is no figure, and so none that is zero."""
    page.route("**/snapshot.json", lambda _: None)
    page.goto(address)
    assert text(page, "#state") == "Asking…"
    assert text(page, "#numbers") == ""


def test_it_can_be_paused_by_keyboard(page: Page, address: str) -> None:
    """The first element reached by Tab pauses and resumes the page."""
    look(page, address)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.get_attribute("#pause", "aria-pressed") == "true"
    before = text(page, "#totals")
    page.clock.run_for(5 * POLL_MS)
    assert text(page, "#totals") == before
    page.keyboard.press("Enter")
    polls(page, 2)
    assert text(page, "#totals") != before


@pytest.mark.parametrize("scheme", [SCHEMES[0], pytest.param(SCHEMES[1], marks=pytest.mark.slow)])
@pytest.mark.parametrize("size", SIZES)
def test_it_fits_and_can_be_read(page: Page, address: str, worker: Worker, size: str, scheme: Any) -> None:
    """At the widths of a phone and a desktop, light and dark, the page fits and its text has enough contrast."""
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    look(page, address)
    polls(page, 26)
    worker.drift = 0.4
    polls(page, 14)
    page.wait_for_selector(".alarm")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 50
    assert [found for found in contrasts if found[1] < LEAST_CONTRAST] == []
    folder = os.environ.get("TAGSTREAM_IMAGES")
    if folder:
        page.screenshot(path=Path(folder) / f"page-{width}-{scheme}.png")


def test_no_text_of_a_chart_is_cut_on_a_phone(page: Page, address: str, worker: Worker) -> None:
    """Thresholds by tag and tags that always go to a person make a long text, which wraps below the chart."""
    thresholds = dict(zip(LABELS, (0.9, 0.95, 0.98, 1.01), strict=True))
    worker.stream.metrics.model_loaded(
        name="tagstream-default",
        version="1.2.0",
        digest=DIGEST,
        now=worker.stream.now,
        thresholds=thresholds,
        reference=reference(),
    )
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(address)
    page.get_by_text("a person below 0.9 to 0.98, always: other").wait_for()
    outside = """() => [...document.querySelectorAll("figure text, figcaption span")].filter((text) => {
      const own = text.getBoundingClientRect(), card = text.closest(".card").getBoundingClientRect();
      return own.left < card.left || own.right > card.right;
    }).map((text) => text.textContent)"""
    assert page.evaluate(outside) == []


@pytest.mark.parametrize("worker", [[one[:256] for one in HOSTILE]], indirect=True, ids=["hostile"])
@pytest.mark.parametrize("width", [1440, pytest.param(320, marks=pytest.mark.slow)])
def test_a_strangers_text_is_text(page: Page, address: str, worker: Worker, width: int) -> None:
    """Markup in labels, in the model's name and in the reason why a worker is not ready: no script runs, nothing is asked for, all fits."""
    everything = " ".join(HOSTILE)
    labels = [one[:256] for one in HOSTILE]
    worker.verdict = HealthVerdict(ready=False, why=everything)
    worker.stream.metrics.model_loaded(
        name=everything,
        version=HOSTILE[0],
        digest=HOSTILE[1],
        now=worker.stream.now,
        thresholds=dict.fromkeys(labels, 1.01),
        reference=reference(labels),
    )
    page.set_viewport_size({"width": width, "height": 900})
    look(page, address)
    polls(page, 4)
    worker.stream.metrics.position(partitions=6, lag=None, inflight=0, last_commit=None)
    polls(page, 4)
    page.click("#every")
    assert HOSTILE[0] in text(page, "#labels")
    # The page's own style and script are within it.
    assert [found.partition(">")[0] for found in page.evaluate(FOREIGN)] == ["<style", "<script"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_an_unknown_lag_is_a_dash(page: Page, address: str, worker: Worker) -> None:
    """While the brokers do not answer, the number of waiting events is neither 0 nor the last known one."""
    # Without new events, which would bring a known position.
    worker.seconds = 0.0
    worker.stream.metrics.position(partitions=6, lag=None, inflight=0, last_commit=None)
    worker.stream.run = lambda *_, **__: None  # type: ignore[method-assign]
    page.goto(address)
    page.locator("#numbers div", has_text="waiting").get_by_text(DASH).wait_for()


@pytest.mark.slow
@pytest.mark.parametrize("worker", [MANY], indirect=True, ids=["77"])
@pytest.mark.parametrize("width", [1440, 390])
def test_of_77_tags_ten_are_shown_until_someone_asks_for_all(page: Page, address: str, width: int) -> None:
    """Ten bars and one for the others; a button shows all of them, and the page is not wider than the window either way."""
    page.set_viewport_size({"width": width, "height": 900})
    look(page, address)
    polls(page, 2)
    assert page.locator("#labels tbody tr").count() == 11
    assert text(page, "#labels tbody tr:last-child th") == "67 more"
    folder = os.environ.get("TAGSTREAM_IMAGES")
    if folder:
        page.screenshot(path=Path(folder) / f"page-77-{width}.png", full_page=True)
    page.click("#every")
    assert page.locator("#labels tbody tr").count() == len(MANY)
    polls(page, 1)
    assert page.locator("#labels tbody tr").count() == len(MANY), "the next figures leave the choice as it is"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click("#every")
    assert page.locator("#labels tbody tr").count() == 11
