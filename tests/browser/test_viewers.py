"""
A viewer's click in a real browser, from the lines of docs/viewers.md as they stand, through a worker, `serve` and a broker to the console.

It prints how long a click takes to the topic and to the console's store.
"""

import contextlib
import http.server
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, Page

from tagstream.stream.contract.asking import AskKeys
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.reports import Report, read_report
from tagstream.stream.kafka.producer import verbatim_sender
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.review.follower import StoreFollower
from tagstream.stream.review.store.records import Door
from tagstream.stream.review.store.store import Store, open_store
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.secret_files import ask_keys
from tagstream.stream.settings.settings import Settings
from tests.faults.worker.stub import THRESHOLD, decide
from tests.integration.conftest import (  # noqa: F401 - fixtures of a broker
    broker_of_all,
    environ,
    kafka,
    processes,
    settings,
    start,
)
from tests.integration.running import Start
from tests.serving.running import service
from tests.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.broker]

PAGE = Path(__file__).parents[2] / "docs" / "viewers.md"
# Ten times what is seen, and more: no test is decided by speed.
SECONDS = 60
BARE = """
Object.defineProperty(window, "localStorage", {get() { throw new DOMException("no storage", "SecurityError") }})
delete Crypto.prototype.randomUUID
"""


def lines() -> str:
    """The lines of HTML on the page, unchanged."""
    [found] = re.findall(r"```html\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


@contextlib.contextmanager
def site(folder: Path) -> Iterator[str]:
    """A web site that serves the pages in a folder; yields its origin."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given, directory=str(folder))

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(SECONDS)


def tagged(given: Settings) -> dict[str, dict[str, Any]]:
    """The decisions on `tagged`, by event."""
    with log_of(given, given.topics.tagged) as log:
        values = [msgspec.json.decode(record.value or b"{}") for record in log.read()]
    return {value["id"]: value for value in values}


def decided(given: Settings) -> dict[str, Any]:
    """The decision of the worker on an event that is sent now."""
    title = next(text for n in range(1000) if decide(text := f"deployment {n}", "").confidence >= THRESHOLD)
    with verbatim_sender(given, idempotent=True) as sender:
        value = msgspec.json.encode({"id": "news </script> <1>", "title": title})
        assert sender.deliver([Record(topic=given.topics.content, key=None, value=value)]) == [None]
    record = until(lambda: tagged(given).get("news </script> <1>"), "the decision is on tagged")
    assert record is not None
    assert list(record)[-2:] == ["ask", "tagged_at"]
    return record


def votes(given: Settings) -> list[Report]:
    """What is on `reports`."""
    with log_of(given, given.topics.reports) as log:
        found = [read_report(record) for record in log.read()]
    return [one for one in found if isinstance(one, Report)]


def page_of(folder: Path, name: str, serve: str, record: dict[str, Any]) -> None:
    """A page of the site: the record as docs/viewers.md says it, and then its lines."""
    given = {
        "serve": serve,
        "record": {k: v for k, v in record.items() if k in {"id", "tag", "probabilities", "prediction_id", "ask"}},
    }
    values = msgspec.json.encode(given).decode().replace("<", "\\u003c")
    text = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>News</title><script>const tagstream = {values}</script>{lines()}'
    (folder / name).write_text(text, encoding="utf-8")


def said(page: Page, sentence: str) -> None:
    """Wait until the page shows this."""
    page.wait_for_function(
        "part => document.querySelector('output').value.includes(part)", arg=sentence, timeout=1000 * SECONDS
    )


def counted(store: Store) -> tuple[int, int, int]:
    """Of the store: the answered decisions, the votes, and those that say right."""
    found = store.votes.of(0, 2**50).values()
    return sum(one.answered for one in found), sum(one.votes for one in found), sum(one.right for one in found)


def test_the_page_has_about_twenty_lines() -> None:
    """A page takes them over by copying."""
    assert len(lines().splitlines()) <= 22


def test_a_click_is_on_reports_and_in_the_console_and_a_forged_or_repeated_one_is_not(  # noqa: PLR0915 - one broker for one story
    browser: Browser,
    environ: dict[str, str],  # noqa: F811
    start: Start,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Three viewers who say wrong, one with another tag, bring the decision before a reviewer; what each sees is a sentence."""
    keys = tmp_path / "ask-keys"
    keys.write_text("k" * 64, encoding="ascii")
    keys.chmod(0o600)
    asking = environ | {"TAGSTREAM_SECURITY__ASK_KEYS_FILE": str(keys), "TAGSTREAM_ASK_RATE": "1"}
    given = load(asking, folder=tmp_path).settings
    start(**asking).until_ready()
    record = decided(given)
    pages = tmp_path / "pages"
    pages.mkdir()
    with (
        open_store(f"sqlite:///{tmp_path}/store.db", second_opinion_rate=0) as store,
        StoreFollower(store, given),
        site(pages) as origin,
        service(tmp_path, "--feedback-origin", origin, **asking) as running,
    ):
        page_of(pages, "news.html", running.url, record)
        page_of(pages, "forged.html", running.url, record | {"id": "another event"})
        page_of(pages, "plain.html", running.url, {name: value for name, value in record.items() if name != "ask"})
        token = AskKeys(ask_keys(given.security)).token(record["id"], record["prediction_id"], 20_000)
        page_of(pages, "stale.html", running.url, record | {"ask": {"token": token}})
        took = []
        for number in range(3):
            viewer = browser.new_page()
            if number == 0:
                # As in a private window, and on a site without https.
                viewer.add_init_script(BARE)
            viewer.goto(f"{origin}/news.html")
            began = time.monotonic()
            if number == 2:
                other = next(tag for tag in record["probabilities"] if tag != record["tag"])
                viewer.select_option("select", other)
            else:
                viewer.click("button[value=no]")
            said(viewer, "The answer is taken.")
            on_topic = time.monotonic()
            until(lambda wanted=number + 1: counted(store) == (1, wanted, 0), "the console has counted it")  # type: ignore[misc]
            took.append((on_topic - began, time.monotonic() - began))
            viewer.click(f"button[value={'yes' if number == 2 else 'no'}]")
            # The third viewer changes the answer, and back.
            said(viewer, "The answer is taken." if number == 2 else "taken already")
            if number == 2:
                viewer.reload()
                viewer.select_option("select", other)
                said(viewer, "The answer is taken.")
            viewer.goto(f"{origin}/forged.html")
            viewer.click("button[value=no]")
            said(viewer, "This token was not made for this event")
            viewer.goto(f"{origin}/plain.html")
            assert not viewer.is_visible("#ask")
            viewer.goto(f"{origin}/stale.html")
            viewer.click("button[value=no]")
            viewer.wait_for_selector("#ask", state="hidden", timeout=1000 * SECONDS)
            viewer.close()
        assert [one.answer for one in votes(given)] == ["no", "no", "no", "yes", "no"]
        assert {one.event_id for one in votes(given)} == {record["id"]}
        claim = until(lambda: store.queue.claim("ann"), "a reviewer gets it")
        assert claim is not None
        assert (claim.item.event.id, claim.door, len(claim.reports)) == (record["id"], Door.USER_REPORT, 3)
        assert counted(store) == (1, 3, 0)
    assert max(console for _, console in took) < SECONDS
    with capsys.disabled():
        print(f"\nfrom the click to reports and to the console, in s: {[(f'{a:.3f}', f'{b:.3f}') for a, b in took]}")  # noqa: T201
