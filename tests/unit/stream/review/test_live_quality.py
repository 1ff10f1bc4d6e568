"""From the store to estimates: who is counted, how answers settle, and what a window without answers says."""

import json
from dataclasses import replace
from typing import Any

import pytest

from model_export.bundle.bundle import DEFAULT_BUNDLE
from monitoring.quality.report import Report
from monitoring.quality.sample import NO_ANSWER
from monitoring.vocabulary import LEAST_INCLUSION
from stream.review.live_quality import live_quality, population
from stream.review.store.changes import Answered, Change, Decided
from stream.review.store.facts import Item
from stream.review.store.sampling import LeftOut
from stream.review.store.store import Store
from tests.unit.stream.review.store.making import HOUR_MS, START_MS, answer, audit, item, published, review

LABELS = ("mlops", "other", "computer-vision")
SURE = {"mlops": 0.97, "other": 0.02, "computer-vision": 0.01}
NOW_MS = START_MS + HOUR_MS


BY_RULES = json.dumps({"decider": "rules"}).encode()


def audited(event_id: str, **given: Any) -> Decided:
    """An audit, drawn at 2 %."""
    values = {"probabilities": SURE, "confidence": 0.97, "inclusion_probability": 0.02, **given}
    return audit(event_id, **values)


def said(asked: Decided, tag: str, reviewer: str = "ann", at_ms: int = START_MS, **given: Any) -> Answered:
    """An answer on it."""
    door = "audit" if asked.door == "audit" else "review"
    return answer(asked.item.event_id, at_ms, of=asked.item, tag=tag, reviewer=reviewer, **{"asked_by": door, **given})


def fill(store: Store, *changes: Change) -> None:
    """Add facts to the store."""
    store.fill(changes, {})


def kinds(store: Store) -> list[tuple[Any, ...]]:
    """Each kind of drawn decision: published, predicted, inclusion, first answer, settled one, and how many."""
    found = store.drawn(START_MS - HOUR_MS, NOW_MS).sample
    names = ("published", "predicted", "inclusion", "first", "truth", "count")
    return sorted(zip(*(getattr(found, name).tolist() for name in names), strict=True))


def test_answers_settle_as_people_agree(store: Store) -> None:
    """An audit needs two that agree; on `review` the person decides; the numbers are those of the labels."""
    right, wrong, overturned, waits, unanswered = (audited(f"audit-{number}") for number in range(5))
    asked, off = review("asked"), review("off")
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
    assert store.drawn(START_MS - HOUR_MS, NOW_MS).labels == LABELS
    assert kinds(store) == [
        (False, 0, 1.0, 2, 2, 1),
        (False, 0, 1.0, 3, 3, 1),
        (True, 0, 0.02, NO_ANSWER, NO_ANSWER, 1),
        (True, 0, 0.02, 0, 0, 1),
        (True, 0, 0.02, 1, NO_ANSWER, 1),
        (True, 0, 0.02, 1, 0, 1),
        (True, 0, 0.02, 1, 1, 1),
    ]


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
    assert kinds(store) == [(True, 0, 0.02, NO_ANSWER, NO_ANSWER, 1), (True, 0, 0.02, 0, 0, 1)]


def test_an_answer_counts_where_its_decision_was_read(store: Store) -> None:
    """Whatever an answer carries: without its decision from a topic it is no answer, and how many of these there are is said."""
    real, ghost = audited("real"), item("ghost", probabilities=SURE, tagged_ms=START_MS + 1, inclusion_probability=5e-324)
    forged = replace(real.item, prediction_id="forged", probabilities={"pwned": 1.0}, tagged_ms=START_MS + 1)
    fill(
        store,
        answer("ghost", of=ghost, tag="other", asked_by="audit"),
        answer("real", of=forged, tag="other", asked_by="audit", reviewer="mallory"),
        real,
        said(real, "mlops", at_ms=START_MS + 2, version=2),
    )
    assert kinds(store) == [(True, 0, 0.02, 0, 0, 1)]
    assert store.drawn(START_MS - HOUR_MS, NOW_MS).left_out == LeftOut(strays=2)
    found = store.item("real")
    assert found is not None
    assert found.prediction_id == real.item.prediction_id


def test_an_answer_may_be_about_an_earlier_decision_that_was_read(store: Store) -> None:
    """A newer bundle decided the event meanwhile: the person's word on the event still holds."""
    early = audited("a")
    fill(store, early, said(early, "other"), audited("a", prediction_id="newer", tagged_ms=START_MS + 1))
    assert kinds(store) == [(True, 0, 0.02, 1, NO_ANSWER, 1)]
    assert store.drawn(START_MS - HOUR_MS, NOW_MS).left_out == LeftOut()


@pytest.mark.parametrize(
    "odd",
    [
        {"inclusion_probability": 5e-324},
        {"inclusion_probability": LEAST_INCLUSION / 2},
        {"model_tag": "pwned"},
        {"probabilities": {**SURE, "off_subject": 0.0}},
    ],
)
def test_decisions_that_no_worker_makes_are_left_out(store: Store, odd: dict[str, Any]) -> None:
    """A probability that no draw gives, or a tag that is none of the labels, is counted and not used."""
    strange = audited("odd", tagged_ms=START_MS + 1, **odd)
    fill(store, audited("a"), strange, said(strange, "mlops"))
    found = store.drawn(START_MS - HOUR_MS, NOW_MS)
    assert (len(found.sample), found.labels) == (1, LABELS)
    assert found.left_out.unsound + found.left_out.other == 1
    assert live_quality(store, now_ms=NOW_MS, bundle=DEFAULT_BUNDLE, days=1).report is not None


def test_one_decision_with_other_labels_leaves_nothing_out(store: Store) -> None:
    """The labels are those of most of the newest decisions, not those of the newest one."""
    fill(
        store,
        *(audited(f"audit-{number}") for number in range(40)),
        audited("newest", probabilities={"pwned": 0.97}, model_tag="pwned", tagged_ms=START_MS + 1),
    )
    found = store.drawn(START_MS - HOUR_MS, NOW_MS)
    assert (found.labels, len(found.sample), found.left_out) == (LABELS, 40, LeftOut(other=1))


def test_totals_say_how_much_an_answer_stands_for(store: Store) -> None:
    """The decisions of the stream are counted, also those that nobody was shown; those of other bundles are not."""
    asked = audited("drawn")
    fill(
        store,
        asked,
        *(published(f"event-{number}", number, tag="mlops", model="tiny 1", probabilities=SURE) for number in range(7)),
        published("old", 8, tag="mlops", model="older 1", probabilities=SURE),
    )
    found = population(store.totals(START_MS - HOUR_MS, NOW_MS), store.drawn(START_MS - HOUR_MS, NOW_MS))
    assert found.decisions.tolist() == [[7.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    assert found.probabilities[0, 0].tolist() == pytest.approx([7 * SURE[label] for label in LABELS])


def test_slices_are_source_language_and_length(store: Store) -> None:
    """A source and a language are the event's own words; a text of six words is short."""
    long = "one two three four five six seven"
    fill(
        store,
        audited("french", source="feed", title="Un modèle", language="fr"),
        audited("plain", title=long),
        audited("other", title=long),
        review("not published", source="blog"),
    )
    found = store.drawn(START_MS - HOUR_MS, NOW_MS).slices
    assert {name: {value: len(rows) for value, rows in values.items()} for name, values in found.items()} == {
        "source": {"(none)": 2, "feed": 1},
        "language": {"(none)": 2, "fr": 1},
        "length": {"longer text": 2, "short text": 1},
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
    found = live_quality(store, now_ms=NOW_MS, bundle=DEFAULT_BUNDLE, days=1)
    assert isinstance(found.report, Report)
    assert found.report.published.accuracy.value == pytest.approx(0.9)
    assert found.report.reviewers.second_opinions == 10
    assert found.labels == LABELS
    assert found.queue.answered == 100


def test_the_rules_and_bundles_with_other_labels_are_left_out(store: Store) -> None:
    """Their decisions say nothing of the model of today; how many they are is said."""
    rules: Item = item("rules", before=BY_RULES)
    fill(
        store,
        Decided(item=rules, door="review"),
        audited("old", probabilities={"a": 0.9, "b": 0.1}, model_tag="a", tagged_ms=START_MS - 1),
        audited("new", tagged_ms=START_MS + 1),
        audited("newer", tagged_ms=START_MS + 1),
    )
    found = live_quality(store, now_ms=NOW_MS, bundle=DEFAULT_BUNDLE, days=1)
    assert found.left_out.other == 2
    assert found.report is not None
    assert found.report.published.drawn == 2


def test_an_empty_store_has_no_report(store: Store) -> None:
    """Before anything was drawn there is nothing to estimate, and the queue is empty."""
    found = live_quality(store, now_ms=NOW_MS, bundle=DEFAULT_BUNDLE)
    assert (found.report, found.labels, found.queue.length) == (None, (), 0)
    assert found.since_ms % HOUR_MS == 0
