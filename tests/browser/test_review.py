"""The review console in a real browser: by keys, by two people at once, without script, by keyboard alone, and legible.

TAGSTREAM_IMAGES=FOLDER keeps the screenshots that the documentation shows.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Locator, Page

from tagstream.stream.contract.reports import Report
from tagstream.stream.kafka.producer import TooLateError
from tagstream.stream.review.console import guidelines
from tagstream.stream.review.console.access import COOKIE, Remembered, quoted
from tagstream.stream.review.console.app import application
from tagstream.stream.review.console.pages import ReviewConsole
from tagstream.stream.review.store.queue import LEASE_MS
from tagstream.stream.review.store.records import Door
from tests.console.real_console import LABELS, START_MS, ReviewDesk, item
from tests.foreign.labels import MANY
from tests.hostile.markup import FOREIGN, HOSTILE
from tests.legibility import CONTRASTS, LEAST_CONTRAST, SCHEMES, SIZES
from tests.waiting import until

pytestmark = pytest.mark.browser

# Most that anything may take: the machine may be busy.
SECONDS = 600
# A desktop of 1440 pixels at a zoom of 200 % has this width; 320 is where WCAG asks that nothing has to be scrolled sideways.
ZOOMED = (720, 320)
PAGES = ("/", "/answers", "/quality", "/help", "/name", "/again", "/nothing")


# A refusal that a test provokes; and a person, as a test on a busy machine, who goes to a field before the page has put the focus on its title.
EXPECTED = ("the server responded with a status", "Autofocus processing was blocked")


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[ReviewDesk]:
    """An empty queue."""
    made = ReviewDesk(tmp_path)
    yield made
    made.close()


@pytest.fixture
def address(queue: ReviewDesk) -> Iterator[str]:
    """Where the console serves."""
    app = application(
        ReviewConsole(
            store=queue.store,
            saving=queue.saving,
            access=Remembered(name="ada"),
            measuring=queue.measuring,
            filled=lambda: True,
            not_ready=lambda: None,
            now_ms=queue.clock,
            guidelines=guidelines.Guidelines(
                text=guidelines.rendered(
                    "# Labels\n\n| label | content |\n|---|--:|\n| `card-arrival` | A card that has not come. |"
                )
            ),
        )
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started, "the console serves", seconds=SECONDS)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(SECONDS)


Open = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser, address: str) -> Iterator[Open]:
    """Opens a browser of one person; at the end no console has a word, and every request went to the console."""
    said: list[str] = []
    asked: list[str] = []
    contexts: list[BrowserContext] = []

    def open_(name: str = "ada", **options: Any) -> Page:
        options = {"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce"} | options
        context = browser.new_context(base_url=address, **options)
        context.set_default_timeout(SECONDS * 1000)
        context.add_cookies([{"name": COOKIE, "value": quoted(name), "url": address}])
        contexts.append(context)
        page = context.new_page()
        # A page that is refused on purpose is reported by Chromium itself.
        page.on(
            "console",
            lambda message: None if any(words in message.text for words in EXPECTED) else said.append(message.text),
        )
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        return page

    yield open_
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith((address, "data:"))] == []


def press(page: Page, key: str) -> None:
    """Press a key that leads to another page, and wait for that page."""
    with page.expect_navigation():
        page.keyboard.press(key)


def click(page: Page, selector: str) -> None:
    """Click what leads to another page, and wait for that page."""
    with page.expect_navigation():
        page.click(selector)


def title(page: Page) -> str:
    """The title of the item on the page."""
    return page.inner_text("h1")


def focused(page: Page) -> Locator:
    """The element that has the focus."""
    return page.locator(":focus")


@pytest.mark.parametrize("width", [1440, pytest.param(320, marks=pytest.mark.slow)])
def test_a_strangers_text_is_text_on_every_page(opened: Open, queue: ReviewDesk, width: int) -> None:
    """Markup in titles, descriptions, sources, links, ids, labels, notes, names and reports: no script runs, nothing is asked for, all fits."""
    labels = HOSTILE[:6]
    # The contract refuses an answer on a text with this character.
    everything = " ".join(one for one in HOSTILE if "\x00" not in one)
    for number, hostile in enumerate(HOSTILE):
        given = {"tag": labels[0], "labels": labels, "source": hostile, "link": f"https://blog.example/{hostile}"}
        event_id = f"{number} {hostile}"[:200]
        queue.add(
            item(event_id, f"{hostile} {everything}", everything * 10, **given), Door.AUDIT if number == 1 else Door.REVIEW
        )
        said = {"suggested_tag": hostile[:200], "note": everything[:2_000], "reported_at": "2026-11-27T10:00:00.000Z"}
        complaint = Report(event_id=f"reported {event_id}", reporter=hostile[:200], **said)
        queue.add(item(f"reported {event_id}", hostile, None, **given | {"reasons": ()}), report=complaint)
    page = opened(viewport={"width": width, "height": 900})
    for _ in range(6):
        page.goto("/")
        harmless(page, width)
        if page.locator("details.rest").count():
            page.click("details.rest summary")
            harmless(page, width)
        page.fill("#note", everything[:1_900])
        page.locator("h1").focus()
        press(page, "1")
    queue.measuring.measure()
    assert queue.saved
    for path in PAGES:
        page.goto(path)
        harmless(page, width)
    page.goto("/answers")
    click(page, ".act button >> nth=0")
    harmless(page, width)
    page.fill("#note", everything[:1_900])
    queue.store.queue.release(*(page.input_value(f"#answer [name={name}]") for name in ("event", "token")))
    page.locator("h1").focus()
    press(page, "1")
    assert title(page) == "Your answer is not saved"
    harmless(page, width)


def harmless(page: Page, width: int) -> None:
    """The page has no element of a stranger's, shows no character that hides or reorders, and is not wider than the window."""
    assert page.evaluate(FOREIGN) == []
    assert set("\u202e\u2066\u200b\x00") & set(page.title() + page.inner_text("body")) == set()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def fill(queue: ReviewDesk, items: int) -> None:
    """Items whose title says which answer they want."""
    for number in range(items):
        queue.add(item(f"e-{number}", f"{LABELS[number % len(LABELS)]}, number {number}", "Text."))


def test_thirty_items_take_thirty_keys(opened: Open, queue: ReviewDesk) -> None:
    """One press an item, and each item has the answer that was meant for it."""
    fill(queue, 30)
    page = opened()
    page.goto("/")
    for _ in range(30):
        label = title(page).partition(",")[0]
        press(page, str(LABELS.index(label) + 1))
    assert title(page) == "Nothing waits for you"
    assert page.inner_text("#total") == "30"
    assert {given.tag for given in queue.saved.values() if not given.title.startswith(given.tag)} == set()
    assert len(queue.saved) == 30


@pytest.mark.slow
def test_a_held_key_answers_one_item(opened: Open, queue: ReviewDesk) -> None:
    """The repetitions of a key that stays down would answer items that nobody has read."""
    fill(queue, 5)
    page = opened()
    page.goto("/")
    with page.expect_navigation():
        page.keyboard.down("1")
    for _ in range(5):
        page.keyboard.down("1")
    page.keyboard.up("1")
    page.goto("/")
    assert queue.saved.keys() == {"e-0"}


def test_two_people_never_have_the_same_item(opened: Open, queue: ReviewDesk) -> None:
    """Two browsers race for each item; it is answered once, and by who had it on the screen."""
    fill(queue, 20)
    pages = {name: opened(name) for name in ("ada", "grace")}
    for page in pages.values():
        page.goto("/")
    shown: dict[str, list[str]] = {name: [] for name in pages}
    while any(title(page) != "Nothing waits for you" for page in pages.values()):
        titles = [title(page) for page in pages.values()]
        assert len(set(titles)) == 2 or titles == ["Nothing waits for you"] * 2
        busy = {name: page for name, page in pages.items() if title(page) != "Nothing waits for you"}
        for name, page in busy.items():
            shown[name].append(title(page))
        with contextlib.ExitStack() as both:
            for page in busy.values():
                both.enter_context(page.expect_navigation())
            # The second key falls before the first page has its answer: both ask for the next item at once.
            for page in busy.values():
                page.keyboard.press("4")
    by = {name: sorted(given.title for given in queue.saved.values() if given.reviewer == name) for name in pages}
    assert by == {name: sorted(titles) for name, titles in shown.items()}
    assert len(queue.saved) == 20


def test_what_is_typed_outlives_a_reload_and_the_button_back(opened: Open, queue: ReviewDesk) -> None:
    """The note is there again, and gone once it is saved."""
    fill(queue, 2)
    page = opened()
    page.goto("/")
    page.keyboard.press("n")
    page.keyboard.type("3 thoughts? yes")
    assert queue.saved == {}, "keys answer nothing while a person types"
    page.reload()
    assert page.input_value("#note") == "3 thoughts? yes"
    page.goto("/help")
    page.go_back()
    until(lambda: page.input_value("#note") == "3 thoughts? yes", "the note is back", seconds=SECONDS)
    page.keyboard.press("n")
    page.keyboard.press("Escape")
    press(page, "4")
    assert queue.saved["e-0"].note == "3 thoughts? yes"
    assert page.input_value("#note") == ""


@pytest.mark.slow
def test_back_after_an_answer_shows_the_item_of_now(opened: Open, queue: ReviewDesk) -> None:
    """The answered item does not come back as if it were open."""
    fill(queue, 3)
    page = opened()
    page.goto("/help")
    page.goto("/")
    first = title(page)
    press(page, "1")
    second = title(page)
    page.go_back()
    until(lambda: title(page) in {second, "How to answer"}, "the page has asked again", seconds=SECONDS)
    page.goto("/")
    assert (title(page), first) == (second, queue.saved["e-0"].title)


def test_a_lapsed_lease_keeps_what_was_typed(opened: Open, queue: ReviewDesk) -> None:
    """The item went to somebody else: nothing is saved, and the note is on the page."""
    fill(queue, 1)
    page = opened()
    page.goto("/")
    page.fill("#note", "long thought")
    queue.now_ms += LEASE_MS + 1
    assert queue.claim("grace").item.event.id == "e-0"
    page.locator("h1").focus()
    press(page, "1")
    assert title(page) == "Your answer is not saved"
    assert page.input_value("#kept") == "long thought"
    assert queue.saved == {}


def test_a_broker_that_is_away_keeps_the_form(opened: Open, queue: ReviewDesk) -> None:
    """The same item with the same note, a sentence on why, and the answer goes through once the broker is back."""
    fill(queue, 1)
    queue.away = TooLateError("no broker answers")
    page = opened()
    page.goto("/")
    page.fill("#note", "kept")
    page.locator("h1").focus()
    press(page, "2")
    assert "no broker answers" in page.inner_text("[role=alert]:not(:empty)")
    assert page.input_value("#note") == "kept"
    queue.away = None
    press(page, "2")
    assert (queue.saved["e-0"].tag, queue.saved["e-0"].note) == ("mlops", "kept")


def test_undo_and_skip_by_keys(opened: Open, queue: ReviewDesk) -> None:
    """U opens the last answer, S leaves it as it is; on an open item S gives it to others."""
    fill(queue, 3)
    page = opened()
    page.goto("/")
    press(page, "1")
    press(page, "u")
    assert "You answered computer-vision." in page.inner_text(".notice")
    press(page, "s")
    assert queue.saved["e-0"].version == 1
    press(page, "u")
    press(page, "0")
    assert (queue.saved["e-0"].tag, queue.saved["e-0"].version) == ("off_subject", 2)
    skipped = title(page)
    press(page, "s")
    assert title(page) != skipped
    assert queue.saved.keys() == {"e-0"}


def test_an_item_that_comes_is_shown_by_itself(opened: Open, queue: ReviewDesk) -> None:
    """The page on which nothing waits asks again."""
    page = opened()
    page.goto("/")
    assert title(page) == "Nothing waits for you"
    queue.add(item("late", "A late item"))
    page.get_by_text("A late item").wait_for()


def test_all_of_it_works_without_script(opened: Open, queue: ReviewDesk) -> None:
    """Answer, note, skip, undo, near-duplicates and help are forms and links."""
    for number in range(4):
        words = "Ten words of a title that two feeds carry," if number in {0, 3} else f"Something else {number}:"
        queue.add(item(f"e-{number}", f"{words} number {number}"))
    page = opened(java_script_enabled=False)
    page.goto("/")
    page.fill("#note", "by hand")
    page.check("[name=twin]")
    click(page, "button[value=mlops]")
    assert {name: (given.tag, given.note) for name, given in queue.saved.items()} == {
        "e-0": ("mlops", "by hand"),
        "e-3": ("mlops", "by hand"),
    }
    click(page, "button[data-key=u]")
    click(page, "button[value=other]")
    # Undo opens the newest answer, here that on the near-duplicate.
    assert [queue.saved[name].version for name in ("e-0", "e-3")] == [1, 2]
    click(page, "button[value=skip]")
    assert title(page).endswith("number 2")
    click(page, "#help")
    assert title(page) == "How to answer"


def test_by_keyboard_alone(opened: Open, queue: ReviewDesk) -> None:
    """The heading has the focus; Tab reaches every control in the order of reading, and each shows that it has the focus."""
    queue.add(item("a", "First", "Text.", link="https://blog.example/post"))
    queue.add(item("b", "Second"))
    page = opened()
    page.goto("/")
    assert focused(page).inner_text() == "First"
    seen = []
    for _ in range(9):
        page.keyboard.press("Tab")
        seen.append(focused(page).evaluate("one => one.id || one.value || one.textContent"))
        assert focused(page).evaluate("one => getComputedStyle(one).outlineStyle") != "none"
    assert seen == ["link", *LABELS, "off_subject", "Guidelines G", "note", "skip"]
    page.locator("button[value=other]").focus()
    press(page, "Enter")
    assert queue.saved["a"].tag == "other"
    assert focused(page).inner_text() == "Second"


@pytest.mark.slow
def test_arabic_runs_from_right_to_left_on_a_page_that_does_not(opened: Open, queue: ReviewDesk) -> None:
    """Title and text stand at the right edge in their own direction; the buttons keep their places."""
    queue.add(
        item(
            "a",
            "\u062f\u0641\u0639\u062a \u0627\u0644\u0641\u0627\u062a\u0648\u0631\u0629 \u0645\u0631\u062a\u064a\u0646 (PDF 12)",
            "\u0623\u0631\u064a\u062f \u0627\u0633\u062a\u0631\u062f\u0627\u062f\u0627.",
        )
    )
    page = opened()
    page.goto("/")
    for selector, runs in (("#title", "rtl"), (".text", "rtl"), ("#question", "ltr"), (".choice", "ltr")):
        assert page.locator(selector).first.evaluate("one => getComputedStyle(one).direction") == runs
    check(page, 1440)


@pytest.mark.slow
def test_the_list_of_keys_opens_and_gives_the_focus_back(opened: Open, queue: ReviewDesk) -> None:
    """While it is open no key answers; Escape closes it."""
    fill(queue, 1)
    page = opened()
    page.goto("/")
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("1")
    assert queue.saved == {}
    page.keyboard.press("Escape")
    assert page.locator("#keys").is_hidden()
    assert focused(page).evaluate("one => one.tagName") == "H1"


def busy(queue: ReviewDesk) -> None:
    """A queue with one of each kind, long texts and long names included."""
    for number, title in enumerate(("Continuous batching of prompts, explained", "Tail latency of language models")):
        queue.add(item(f"near-{number}", title, "Models behind one gateway, and their scheduling."))
        queue.answer(f"near-{number}", "mlops", "grace")
    text = (
        "We run a dozen open models behind one gateway. This post is about scheduling: continuous batching, paged attention, and how we "
        "keep the tail latency flat while prompts differ in length by three orders of magnitude.\n\nThe code is on the project's page, "
        "with the traces that we measured."
    )
    first = item(
        "blog-2291",
        "Serving language models with continuous batching: a year of it",
        text,
        source="engineering blogs",
        link="https://blog.example/2026/11/continuous-batching",
        text_flags=("invisible_characters",),
        reasons=("low_confidence", "text_flags"),
        now_ms=START_MS - 4 * 3_600_000,
    )
    queue.add(first)
    queue.add(item("blog-2290", "Serving language models with continuous batching: one year of it", text))
    queue.add(item("paper-77", "Att\u200bention over time series", "W" * 400, tag="other", confidence=0.97), Door.AUDIT)
    said = {"suggested_tag": "other", "note": "A list of links, not a paper.", "reported_at": "2026-11-27T10:00:00.000Z"}
    survey = item("paper-78", "A survey of segmentation losses", tag="computer-vision", confidence=0.98, reasons=())
    queue.add(survey, report=Report(event_id="paper-78", reporter=None, **said))
    fill(queue, 40)


def faults(page: Page) -> list[str]:
    """The findings of axe, each with the element."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("scheme", [SCHEMES[0], pytest.param(SCHEMES[1], marks=pytest.mark.slow)])
@pytest.mark.parametrize("size", SIZES)
def test_every_page_fits_and_is_legible(opened: Open, queue: ReviewDesk, size: str, scheme: Any) -> None:
    """At the widths of a phone and a desktop, light and dark: no sideways scrolling, enough contrast, axe finds nothing."""
    busy(queue)
    width, height = SIZES[size]
    page = opened(viewport={"width": width, "height": height}, color_scheme=scheme)
    for kind in ("blind", "reported", "item"):
        page.goto("/")
        check(page, width, f"review-{kind}-{width}-{scheme}")
        press(page, "3")
    for path in PAGES:
        page.goto(path)
        check(page, width)


def check(page: Page, width: int, picture: str = "") -> None:
    """The page that is open fits, can be read, and has no fault that axe knows."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [found for found in page.evaluate(CONTRASTS) if found[1] < LEAST_CONTRAST] == []
    assert faults(page) == []
    folder = os.environ.get("TAGSTREAM_IMAGES")
    if folder and picture:
        page.screenshot(path=Path(folder) / f"{picture}.png")


@pytest.mark.slow
@pytest.mark.parametrize("width", ZOOMED)
def test_at_a_zoom_of_200_percent_nothing_is_cut(opened: Open, queue: ReviewDesk, width: int) -> None:
    """No page has to be scrolled sideways, and every button is within it."""
    busy(queue)
    page = opened(viewport={"width": width, "height": 450}, device_scale_factor=2)
    for path in PAGES:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        cut = "(width) => [...document.querySelectorAll('button, a')].filter((one) => one.getBoundingClientRect().right > width).length"
        assert page.evaluate(cut, width) == 0


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
def test_77_labels_and_their_guidelines_fit(opened: Open, queue: ReviewDesk, width: int) -> None:
    """The buttons are in a window of their own, the key G opens the guidelines, and axe finds nothing with them open."""
    queue.add(item("T-1", "Where is my new card?", "I ordered it two weeks ago.", tag="card-arrival", labels=MANY))
    page = opened(viewport={"width": width, "height": 900})
    page.goto("/")
    assert page.locator("button.choice").count() == len(MANY) + 1
    window = page.locator(".choices").bounding_box()
    assert window is not None
    assert window["height"] < 900
    page.keyboard.press("g")
    assert page.is_visible(".guidelines table")
    check(page, width, f"review-77-{width}")
    page.keyboard.press("g")
    press(page, "1")
    assert queue.saved["T-1"].tag == "card-arrival", "the likeliest is the first"
