"""What a stream is worth, from records of the topics: each printed figure is what a person computes from the same records by hand."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

import pytest

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE
from tagstream.monitoring.quality.costs import Costs
from tagstream.monitoring.quality.value import ValueReport
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.review.bundles import Bundles
from tagstream.stream.review.follower import StoreFollower
from tagstream.stream.review.live_quality import live_quality
from tagstream.stream.review.live_value import live_value
from tagstream.stream.review.store.store import Store
from tagstream.stream.settings.settings import Settings
from tests.answering import MODEL, answer, audited, decided, reviewed
from tests.replacing import replace
from tests.unit.stream.review.store.making import START_MS

DAY_MS = 24 * 3_600_000
# Noon in UTC of the first of two days.
NOON_MS = START_MS // DAY_MS * DAY_MS + DAY_MS // 2
NOW_MS = NOON_MS + 2 * DAY_MS
NEXT = ModelRef(name="tiny", version="2", digest="e" * 64)
PRICES = {"natural-language-processing": 1.0, "computer-vision": 7.0, "mlops": 3.0, "other": 2.0}
COSTS = Costs(source="costs.toml", currency="EUR", person_minute=0.5, wrong_publication=PRICES)
KINDS = ("deployment", "image", "translation")


class Recorded:
    """Writes the topics of a stream of two days: two bundles, audits of all that is published, and two reviewers."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._clock = {"ann": NOON_MS, "bob": NOON_MS}

    def day(self, day: int, by: ModelRef, events: int) -> None:
        """A day of a bundle. A quarter of the events goes to people, and every eighth published decision is wrong."""
        at_ms = NOON_MS + day * DAY_MS
        self._clock = dict.fromkeys(self._clock, at_ms)
        for number in range(events):
            doubt = "maybe " if number % 4 == 0 else ""
            text = f'{{"id":"{day}-{number}","title":"{doubt}{KINDS[number % 3]} of {number} things"}}'
            made = decided(text.encode(), now_ms=at_ms, by=by)
            asked = made if doubt else audited(made, 1.0)
            self.records += [made] if doubt else [made, asked]
            if number % 5 == 0:
                # Nobody has come to it yet.
                continue
            wrong = not doubt and number % 8 == 1
            for reviewer in ("ann", "bob") if wrong else ("ann",):
                self._answer(asked, reviewer, "other" if wrong else json.loads(made.value or b"")["tag"], number)

    def _answer(self, asked: Record, reviewer: str, tag: str, number: int) -> None:
        # Between three and thirty seconds; after each twentieth item there is a break of an hour.
        self._clock[reviewer] += 3_600_000 if number % 20 == 19 else 3000 + 97 * (number * 37 % 283)
        given = answer(
            asked,
            tag,
            now_ms=self._clock[reviewer],
            reviewer=reviewer,
            asked_by="review" if asked.topic == "review" else "audit",
        )
        self.records.append(reviewed(asked, given))


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """The records of all topics, in the order of their making."""
    made = Recorded()
    made.day(0, MODEL, 120)
    made.day(1, NEXT, 200)
    return [replace(record, offset=offset) for offset, record in enumerate(made.records)]


@pytest.fixture
def found(store: Store, records: Sequence[Record]) -> ValueReport:
    """What the console says of these records."""
    return of(store, records, COSTS)


def of(store: Store, records: Sequence[Record], costs: Costs | None) -> ValueReport:
    """Read records as the console's follower does, and measure thirty days."""
    StoreFollower(store, Settings(), clock=lambda: NOW_MS).take(list(records), {})
    return live_value(store, live_quality(store, now_ms=NOW_MS, bundles=Bundles(DEFAULT_BUNDLE)), costs)


def on(topic: str, records: Sequence[Record]) -> Iterator[dict[str, Any]]:
    """The values on a topic."""
    for record in records:
        if record.topic == topic:
            yield json.loads(record.value or b"")


def by_hand(records: Sequence[Record], day: str | None = None) -> dict[str, float]:
    """Events, items, minutes, mistakes and money, with no code of the project."""
    decisions = [
        (topic, one) for topic in ("tagged", "review") for one in on(topic, records) if day in {None, one["tagged_at"][:10]}
    ]
    ids = {one["prediction_id"] for _, one in decisions}
    answered = [one for one in on("reviewed", records) if one["prediction_id"] in ids]
    minutes = []
    for reviewer in ("ann", "bob"):
        times = sorted(
            datetime.fromisoformat(one["decided_at"]) for one in on("reviewed", records) if one["reviewer"] == reviewer
        )
        pauses = [(after - before) for before, after in pairwise(times)]
        minutes += [pause / timedelta(minutes=1) for pause in pauses if pause <= timedelta(minutes=10)]
    truths: dict[str, list[bool]] = defaultdict(list)
    for one in {one["event_id"]: one for one in answered if one["asked_by"] == "audit"}.values():
        truths[one["model_tag"]].append(one["tag"] == one["model_tag"])
    published = [one["tag"] for topic, one in decisions if topic == "tagged"]
    wrong = {tag: published.count(tag) * said.count(False) / len(said) for tag, said in truths.items()}
    asked = {one["id"] for topic in ("review", "audit") for one in on(topic, records) if one["prediction_id"] in ids}
    waiting = len(asked - {one["event_id"] for one in answered})
    spent = len(answered) * median(minutes)
    items = len(answered) + waiting
    return {
        "events": len(decisions),
        "published": len(published),
        "answers": len(answered),
        "waiting": waiting,
        "minute": median(minutes),
        "spent": spent,
        "saved": (len(decisions) - items) * median(minutes),
        "wrong": sum(wrong.values()),
        "cost": items * median(minutes) * 0.5 + sum(PRICES[tag] * count for tag, count in wrong.items()),
        "everything": len(decisions) * median(minutes) * 0.5,
    }


def test_figures_are_those_that_a_person_computes_from_the_topics(found: ValueReport, records: Sequence[Record]) -> None:
    """Events, answers, minutes, mistakes and money of the whole window, from nothing but the records."""
    hand = by_hand(records)
    now, everything, nothing = found.ways
    assert found.seconds is not None
    assert found.seconds.value == pytest.approx(60 * hand["minute"])
    whole = found.whole
    assert (whole.events, whole.published, whole.answers, whole.waiting) == tuple(
        hand[name] for name in ("events", "published", "answers", "waiting")
    )
    assert hand["waiting"] > 0
    assert values(whole.minutes, whole.saved_minutes, now.wrong) == pytest.approx([hand["spent"], hand["saved"], hand["wrong"]])
    assert values(now.cost, everything.cost) == pytest.approx([hand["cost"], hand["everything"]])
    assert values(everything.more_cost, nothing.minutes) == pytest.approx([hand["everything"] - hand["cost"], 0])
    assert found.unmeasured == 0


def test_each_day_and_each_bundle_has_its_own_line(found: ValueReport, records: Sequence[Record]) -> None:
    """The newest first; a day and a bundle coincide here, and so do their figures."""
    hands = [by_hand(records, line.name) for line in found.days]
    assert [line.events for line in found.days] == [200, 120]
    assert [line.name for line in found.bundles] == [f"tiny 2 {'e' * 12}", f"tiny 1 {'d' * 12}"]
    for lines in (found.days, found.bundles):
        assert [(line.events, line.published, line.answers, line.waiting) for line in lines] == [
            tuple(hand[name] for name in ("events", "published", "answers", "waiting")) for hand in hands
        ]
        assert [value for line in lines for value in values(line.minutes, line.saved_minutes, line.cost)] == pytest.approx(
            [hand[name] for hand in hands for name in ("spent", "saved", "cost")]
        )
        assert [line.right.value for line in lines] == pytest.approx([1 - hand["wrong"] / hand["published"] for hand in hands])


def test_every_interval_holds_its_estimate(found: ValueReport) -> None:
    """Where something is uncertain the ends differ; where nothing is, they do not."""
    amounts = [one for way in found.ways for one in (way.minutes, way.wrong, way.cost, way.more_cost) if one is not None]
    assert len(amounts) == 11
    assert all(one.low <= one.value <= one.high for one in amounts)
    assert [one for one in amounts if one.value and one.low == one.high] == []


def test_records_that_come_again_count_once(store: Store, records: Sequence[Record], found: ValueReport) -> None:
    """A redelivery changes no figure."""
    assert of(store, records, COSTS) == found


def test_without_prices_there_is_no_money_and_all_else(store: Store, records: Sequence[Record]) -> None:
    """The reason is said once."""
    found = of(store, records, None)
    assert not found.priced
    assert "no costs.toml" in found.unpriced
    assert [way.cost for way in found.ways] == [None] * 3
    assert found.whole.minutes is not None


def test_a_label_without_a_price_is_named(store: Store, records: Sequence[Record]) -> None:
    """There is no money by half of the prices; the next step is said."""
    some = {label: price for label, price in PRICES.items() if label != "mlops"}
    found = of(store, records, replace(COSTS, wrong_publication=some | {"mlop": 1.0}))
    assert not found.priced
    assert "no price of a wrong publication of mlops; mlop is no label of the stream. Next: " in found.unpriced


def test_a_stream_that_nobody_looked_at_has_events_alone(store: Store) -> None:
    """How right it is and how long people take is not known, and neither is a cost."""
    made = replace(decided(now_ms=NOON_MS), offset=0)
    found = of(store, [made], COSTS)
    assert (found.whole.events, found.whole.published, found.unmeasured) == (1, 1, 1)
    assert (found.seconds, found.whole.minutes, found.whole.cost) == (None, None, None)
    assert [way.wrong is None for way in found.ways] == [True, False, True]


def values(*amounts: Any) -> list[float]:
    """The estimates."""
    return [one.value for one in amounts]
