"""From the store to estimates: who is counted, how answers settle, and what a window without answers says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monitoring.quality.report import Report
from monitoring.quality.sample import NO_ANSWER
from stream.review.live_quality import live_quality, window
from stream.review.store.changes import Answered, Change, Decided
from stream.review.store.facts import Item
from stream.review.store.store import Store, open_store
from tests.unit.stream.review.store.making import HOUR_MS, START_MS, Clock, answer, audit, item, published, review

LABELS = ("mlops", "other", "computer-vision")
SURE = {"mlops": 0.97, "other": 0.02, "computer-vision": 0.01}
NOW_MS = START_MS + HOUR_MS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store in a file of SQLite."""
    with open_store(f"sqlite:///{tmp_path}/store.db", clock=Clock()) as opened:
        yield opened


def before(rate: float, decider: str = "model") -> bytes:
    """What a decision carried beside its tag."""
    return json.dumps({"decider": decider, "inclusion_probability": rate}).encode()


def audited(event_id: str, **given: Any) -> Decided:
    """An audit, drawn at 2 %."""
    values = {"probabilities": SURE, "confidence": 0.97, "before": before(0.02), **given}
    return audit(event_id, **values)


def said(asked: Decided, tag: str, reviewer: str = "ann", at_ms: int = START_MS, **given: Any) -> Answered:
    """An answer on it."""
    door = "audit" if asked.door == "audit" else "review"
    return answer(asked.item.event_id, at_ms, of=asked.item, tag=tag, reviewer=reviewer, **{"asked_by": door, **given})


def fill(store: Store, *changes: Change) -> None:
    """Add facts to the store."""
    store.fill(changes, {})


def columns(store: Store) -> dict[str, list[Any]]:
    """The columns of the sample, by event."""
    drawn = store.drawn(START_MS - HOUR_MS, NOW_MS)
    sample = window(drawn, (), LABELS).sample
    names = ("published", "predicted", "inclusion", "first", "truth")
    return {one.item.event_id: [getattr(sample, name)[place].item() for name in names] for place, one in enumerate(drawn)}


def test_answers_settle_as_people_agree(store: Store) -> None:
    """An audit needs two that agree; on `review` the person decides; the numbers are those of the labels."""
    right, wrong, overturned, waits, unanswered = (audited(f"audit-{number}") for number in range(5))
    asked, off = review("asked", before=before(1.0)), review("off", before=before(1.0))
    fill(
        store,
        *(right, wrong, overturned, waits, unanswered, asked, off),
        said(right, "mlops"),
        said(wrong, "other"),
        said(wrong, "other", "bob", START_MS + 1, version=2),
        said(overturned, "other"),
        said(overturned, "mlops", "bob", START_MS + 1, version=2),
        said(waits, "other"),
        said(asked, "computer-vision"),
        said(off, "off_subject"),
    )
    assert columns(store) == {
        "audit-0": [True, 0, 0.02, 0, 0],
        "audit-1": [True, 0, 0.02, 1, 1],
        "audit-2": [True, 0, 0.02, 1, 0],
        "audit-3": [True, 0, 0.02, 1, NO_ANSWER],
        "audit-4": [True, 0, 0.02, NO_ANSWER, NO_ANSWER],
        "asked": [False, 0, 1.0, 2, 2],
        "off": [False, 0, 1.0, 3, 3],
    }


def test_the_last_word_of_a_person_counts_and_an_unknown_label_does_not(store: Store) -> None:
    """An undo is not a second opinion; a label of another bundle is no opinion at all."""
    undone, foreign = audited("undone"), audited("foreign")
    fill(
        store,
        undone,
        foreign,
        said(undone, "other"),
        said(undone, "mlops", at_ms=START_MS + 1, version=2, asked_by="correction"),
        said(foreign, "a-label-of-old"),
    )
    assert columns(store) == {"undone": [True, 0, 0.02, 0, 0], "foreign": [True, 0, 0.02, NO_ANSWER, NO_ANSWER]}


def test_totals_say_how_much_an_answer_stands_for(store: Store) -> None:
    """The decisions of the stream are counted, also those that nobody was shown; those of other bundles are not."""
    asked = audited("drawn")
    fill(
        store,
        asked,
        *(published(f"event-{number}", number, tag="mlops", model="tiny 1", probabilities=SURE) for number in range(7)),
        published("old", 8, tag="mlops", model="older 1", probabilities=SURE),
    )
    totals = store.totals(START_MS - HOUR_MS, NOW_MS)
    found = window(store.drawn(START_MS - HOUR_MS, NOW_MS), totals, LABELS).populations
    assert found is not None
    assert found.tolist() == [[7.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def test_slices_are_source_language_and_length(store: Store) -> None:
    """A source and a language are the event's own words; a text of six words is short."""
    event = {"id": "french", "title": "Un modèle", "language": "fr"}
    long = "one two three four five six seven"
    fill(
        store,
        audited("french", source="feed", title="Un modèle", fields=json.dumps(event).encode()),
        audited("plain", title=long, fields=json.dumps({"id": "plain", "title": long, "language": 7}).encode()),
    )
    drawn = store.drawn(START_MS - HOUR_MS, NOW_MS)
    found = {
        name: dict(zip((one.item.event_id for one in drawn), values, strict=True))
        for name, values in window(drawn, (), LABELS).slices.items()
    }
    assert found == {
        "source": {"french": "feed", "plain": "(none)"},
        "language": {"french": "fr", "plain": "(none)"},
        "length": {"french": "short text", "plain": "longer text"},
    }


def test_live_quality_measures_the_window(store: Store) -> None:
    """A hundred audits of which ninety agree and ten are twice contradicted are an accuracy of 90 %."""
    asked = [audited(f"audit-{number:03}") for number in range(100)]
    wrong = asked[:10]
    fill(
        store,
        *asked,
        *(said(one, "other" if one in wrong else "mlops") for one in asked),
        *(said(one, "other", "bob", START_MS + 1, version=2) for one in wrong),
    )
    found = live_quality(store, now_ms=NOW_MS, days=1)
    assert isinstance(found.report, Report)
    assert found.report.published.accuracy.value == pytest.approx(0.9)
    assert found.report.reviewers.second_opinions == 10
    assert found.labels == LABELS
    assert found.queue.answered == 100


def test_the_rules_and_bundles_with_other_labels_are_left_out(store: Store) -> None:
    """Their decisions say nothing of the model of today; how many they are is said."""
    rules: Item = item("rules", before=before(1.0, "rules"))
    fill(
        store,
        Decided(item=rules, door="review"),
        audited("old", probabilities={"a": 0.9, "b": 0.1}, model_tag="a", tagged_ms=START_MS - 1),
        audited("new", tagged_ms=START_MS + 1),
    )
    found = live_quality(store, now_ms=NOW_MS, days=1)
    assert found.left_out == 2
    assert found.report is not None
    assert found.report.published.drawn == 1


def test_an_empty_store_has_no_report(store: Store) -> None:
    """Before anything was drawn there is nothing to estimate, and the queue is empty."""
    found = live_quality(store, now_ms=NOW_MS)
    assert (found.report, found.labels, found.queue.length) == (None, (), 0)
    assert found.since_ms % HOUR_MS == 0
