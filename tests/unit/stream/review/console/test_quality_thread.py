"""Live quality in the console: the page and the metrics of what people answered."""

import re

import msgspec
import pytest

from tagstream.stream.contract.outcome import ModelRef, prediction_id
from tagstream.stream.contract.published import Ask
from tagstream.stream.review.console import quality_thread
from tagstream.stream.review.console.quality_thread import QualityThread
from tagstream.stream.review.store.records import CountedDecision, Door
from tests.console.real_console import ReviewDesk, item
from tests.replacing import replace
from tests.unit.stream.review.console.conftest import Client
from tests.unit.stream.review.store.making import answer, report, vote
from tests.waiting import until


def test_before_the_first_estimate_the_page_says_so(client: Client) -> None:
    """Nothing is invented."""
    assert "The first estimate is being made." in client.get("/quality").text


def test_a_store_without_drawn_decisions_is_said(client: Client, queue: ReviewDesk) -> None:
    """There is nothing to measure, and a next step."""
    queue.measuring.measure()
    assert "nothing can be measured" in client.get("/quality").text


def test_the_page_has_the_tables_of_the_command(client: Client, queue: ReviewDesk) -> None:
    """Headline, labels and the advice on thresholds, from answers of this store."""
    for number in range(3):
        queue.add(item(f"a-{number}", f"Audit {number}", confidence=0.97, reasons=()), Door.AUDIT)
        queue.answer(f"a-{number}", "mlops", "ada")
    queue.measuring.measure()
    text = client.get("/quality").text
    assert queue.measuring.latest is not None
    assert queue.measuring.latest.report is not None
    for said in ("Published without a person", "Too few audits", "computer-vision", "New thresholds are not worth doing yet"):
        assert said in text


def test_what_viewers_said_stands_apart_on_the_page_and_in_the_metrics(client: Client, queue: ReviewDesk) -> None:
    """With its response rate and the reason why no estimate has it; nothing else of the page changes by it."""
    for number in range(3):
        queue.add(item(f"a-{number}", f"Audit {number}", confidence=0.97, reasons=()), Door.AUDIT)
        queue.answer(f"a-{number}", "mlops", "ada")
    queue.measuring.measure()
    before = client.get("/quality").text
    assert "Viewers asked" not in before
    of = item("v", "Asked", confidence=0.97, reasons=())
    asked = replace(of, door="tagged", decision=msgspec.structs.replace(of.decision, ask=Ask(token="A" * 24)))
    said = vote(1, "v", of=of.decision.prediction_id, at_ms=queue.now_ms)
    queue.store.writer.fill([said, CountedDecision(item=asked)], {})
    queue.measuring.measure()
    text = client.get("/quality").text
    for part in ("Viewers asked", "1 (100.0 %)", "0.0 %", "who answers is not drawn"):
        assert part in text
    assert queue.measuring.latest is not None
    assert queue.measuring.latest.report is not None
    assert queue.measuring.latest.report.published.answers == 3
    assert 'tagstream_viewers_votes{answer="wrong"} 1.0' in client.get("/metrics").text


def test_the_page_and_the_metrics_have_what_the_stream_is_worth(client: Client, queue: ReviewDesk) -> None:
    """The tables of `tagstream quality --value` with their sentence; money is NaN without prices."""
    for number in range(8):
        one = item(f"a-{number}", f"Item {number}")
        queue.add(one)
        queue.store.writer.fill([CountedDecision(item=one)], {})
        queue.now_ms += 5000
        queue.answer(f"a-{number}", "mlops", "ada")
    queue.measuring.measure()
    text, metrics = client.get("/quality").text, client.get("/metrics").text
    for said in ("What it is worth", "By bundle", "Of 8 events of these 30 days, 0.0% needed no person.", "Money is not shown"):
        assert said in text
    assert 'tagstream_value_events{door="review"} 8.0' in metrics
    seconds = next(
        line for line in metrics.splitlines() if line.startswith('tagstream_value_people_seconds{bound="value",way="now"}')
    )
    assert float(seconds.split()[1]) == pytest.approx(40, rel=0.01)
    assert 'tagstream_value_cost{bound="value",way="now"} NaN' in metrics


def test_the_page_has_a_column_for_the_audience_of_a_canary(client: Client, queue: ReviewDesk) -> None:
    """What people answered and readers reported of each arm; too few answers say how many are missing."""
    for arm, digest in (("champion", "d" * 64), ("challenger", "e" * 64)):
        one = item(arm, f"Item of the {arm}", source="newsroom" if arm == "challenger" else "web")
        model = ModelRef(name="next", version="2", digest=digest, epoch="3", arm=arm)
        made = msgspec.structs.replace(one.decision, model=model, prediction_id=prediction_id(arm, model.in_epoch))
        one = replace(one, decision=made)
        queue.add(one)
        queue.store.writer.fill([CountedDecision(item=one), report(arm, queue.now_ms)], {})
        queue.now_ms += 5000
        queue.answer(arm, "other", "ada")
    queue.measuring.measure()
    text = " ".join(re.sub("<[^>]+>", " ", client.get("/quality").text).split())
    assert "people&#39;s answers 1 1" in text
    assert "events that readers reported 1 1 of these found wrong by a person 1 1" in text
    assert "accuracy too few: 49 more answers too few: 49 more answers" in text
    assert "1 of 2 decisions in these epochs, all from newsroom." in text


def test_the_metrics_have_what_waits_now(client: Client, queue: ReviewDesk) -> None:
    """A scrape looks at the queue of its moment, and needs no name."""
    queue.add(item("a", "First"))
    assert 'tagstream_queue_open_items{door="review"} 1.0' in client.get("/metrics").text
    queue.answer("a", "other", "ada")
    found = client.get("/metrics")
    assert 'tagstream_queue_open_items{door="review"} 0.0' in found.text
    assert "tagstream_queue_answered_events 1.0" in found.text
    assert found.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_it_estimates_by_itself(queue: ReviewDesk) -> None:
    """The thread makes the first estimate at once, and ends with the console."""
    thread: QualityThread = queue.measuring
    with thread:
        until(lambda: thread.latest is not None, "an estimate is made")


def test_a_failing_estimate_ends_nothing(client: Client, queue: ReviewDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says that the figures are old and why, a counter grows, the last figures stay, and it goes on trying."""
    queue.measuring.measure()
    last = queue.measuring.latest
    monkeypatch.setattr("tagstream.stream.review.console.quality_thread.EVERY_SECONDS", 0.01)
    working = quality_thread.live_quality

    def broken(*_: object, **__: object) -> None:
        float("inf").as_integer_ratio()

    monkeypatch.setattr("tagstream.stream.review.console.quality_thread.live_quality", broken)
    with queue.measuring:
        until(lambda: queue.measuring.failure is not None, "the failure is known")
        said = client.get("/quality").text
        assert "The last estimate failed (OverflowError: cannot convert Infinity to integer ratio)" in said
        assert queue.measuring.latest is last
        assert "tagstream_quality_failures_total 0.0" not in client.get("/metrics").text
        monkeypatch.setattr("tagstream.stream.review.console.quality_thread.live_quality", working)
        until(lambda: queue.measuring.failure is None, "it estimates again")


def test_records_that_are_not_used_are_shown_and_counted(client: Client, queue: ReviewDesk) -> None:
    """An answer on a decision that no topic has is on the page and in the metrics."""
    ghost = item("ghost", "Ghost", confidence=0.97, reasons=())
    ghost = replace(ghost, decision=msgspec.structs.replace(ghost.decision, inclusion_probability=5e-324))
    queue.store.writer.fill([answer("ghost", of=ghost, tag="other", asked_by="audit")], {})
    queue.measuring.measure()
    assert "Left out: 1 answers that follow from no decision which this console has read." in client.get("/quality").text
    assert 'tagstream_quality_unused_records{kind="answers"} 1.0' in client.get("/metrics").text
