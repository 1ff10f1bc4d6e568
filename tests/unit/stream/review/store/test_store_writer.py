"""The contract of the facts, on SQLite and on PostgreSQL: any order of the topics gives the same store, and each fact counts once."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tagstream.monitoring.quality.sample import NO_ANSWER
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.review.store.queue import LISTED_CHARACTERS, MOST_TWIN_BYTES, MOST_TWINS
from tagstream.stream.review.store.records import AskedDecision, Claim, Door, Fact, Neighbour
from tagstream.stream.review.store.schema import bundles, reports
from tagstream.stream.review.store.store import Store, open_store
from tagstream.stream.review.store.store_writer import MOST_NAMES, OTHERS
from tests.console.real_console import answers_in
from tests.replacing import replace
from tests.unit.stream.review.store.conftest import Open
from tests.unit.stream.review.store.making import (
    HOUR_MS,
    MINUTE_MS,
    START_MS,
    Clock,
    answer,
    answer_to,
    audit,
    claimed,
    decision_of,
    item,
    published,
    report,
    review,
    served,
)

SENTENCE = "a talk about rolling out recommendation models to many users without downtime"


def test_an_answer_may_come_before_its_item(store: Store) -> None:
    """Topics are read side by side: an event with an answer is never shown as open."""
    store.writer.fill([answer("a")], {})
    assert store.queue.claim("ann") is None
    store.writer.fill([review("a")], {})
    assert store.queue.claim("ann") is None
    assert store.queue.figures().answered == 1


def test_a_newer_decision_replaces_the_older_one(store: Store) -> None:
    """What is asked is the newest decision, whichever was read first; both topics of one decision count."""
    newer = review("a", prediction_id="new", tag="other", tagged_ms=START_MS + 1)
    store.writer.fill([newer], {})
    store.writer.fill([review("a", prediction_id="old"), audit("a", prediction_id="old")], {})
    claim = claimed(store)
    assert (claim.item, claim.door) == (newer.item, Door.REVIEW)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("later_ms", [0, 5_000])
def test_of_two_copies_for_an_audit_the_greater_probability_holds(store: Store, backwards: bool, later_ms: int) -> None:
    """One hash draws them, so it is that of being drawn at all; it is one question, and one row of the sample, whichever was read first."""
    copies = [audit("a", inclusion_probability=0.02), audit("a", inclusion_probability=0.5, tagged_ms=START_MS + later_ms)]
    for copy in reversed(copies) if backwards else copies:
        store.writer.fill([copy], {})
    assert store.queue.figures().open == {Door.AUDIT: 1}
    sample = store.samples.drawn(START_MS, START_MS + HOUR_MS).sample
    assert (sample.inclusion.tolist(), len(sample)) == ([0.5], 1)
    assert claimed(store).item.decision.inclusion_probability == 0.5


def test_a_late_decision_of_an_earlier_epoch_undoes_nothing(store: Store) -> None:
    """The model was changed meanwhile: the decision of the later epoch is the one that is asked about, whichever was read first."""
    earlier, later = (
        review(
            "a",
            prediction_id=f"epoch {epoch}",
            model=ModelRef(name="tiny", version="1", digest="d" * 64, epoch=epoch, arm="champion"),
            tagged_ms=at,
        )
        for epoch, at in (("9", START_MS + 5), ("10", START_MS))
    )
    store.writer.fill([later], {})
    store.writer.fill([earlier], {})
    assert decision_of(store, "a") == "epoch 10"


def test_bundles_are_known_as_long_as_their_decisions(store: Store, clock: Clock) -> None:
    """A digest of which nothing is kept any more goes."""
    other = ModelRef(name="tiny", version="2", digest="e" * 64)
    later = START_MS + 3 * HOUR_MS
    store.writer.fill([review("a"), published("b", 1), review("c", model=other, tagged_ms=later)], {})
    clock.pass_ms(4 * HOUR_MS)
    store.writer.prune(2 * HOUR_MS)
    with store.database.reading() as connection:
        assert connection.execute(select(bundles.c.digest)).scalars().all() == ["e" * 64]


def test_the_greatest_answer_holds(store: Store) -> None:
    """By version, then time, then id; a repetition changes nothing."""
    old, new = answer("a", START_MS + 5, tag="other"), answer("a", START_MS + 1, version=2, tag="mlops", asked_by="correction")
    store.writer.fill([new, old, new], {})
    store.writer.fill([old], {})
    assert [given.version for given in answers_in(store)] == [1, 2]
    assert [given.tag for given in store.queue.own("ann")] == ["mlops"]


def test_a_report_after_an_answer_opens_the_event_again(store: Store) -> None:
    """A report from before changes nothing; the reviewer sees the answer and what the reader said."""
    store.writer.fill([review("a"), answer("a", START_MS), report("a", START_MS - 1)], {})
    assert store.queue.claim("ann") is None
    store.writer.fill([report("a", START_MS + 1, note="it is about other things")], {})
    claim = claimed(store)
    assert (claim.door, claim.version) == (Door.USER_REPORT, 2)
    assert claim.before is not None
    assert [complaint.note for complaint in claim.reports] == ["it is about other things", None]
    store.writer.fill([answer_to(claim, START_MS + 2)], {})
    assert store.queue.claim("ann") is None


def test_reports_change_no_tag(store: Store) -> None:
    """A hundred readers who say the same bring the event before one person, and nothing else."""
    store.writer.fill(
        [answer("a", START_MS, tag="mlops"), *(report("a", START_MS + 1, reporter=str(n)) for n in range(100))], {}
    )
    assert store.queue.figures().open == {Door.USER_REPORT: 1}
    assert store.queue.own("ann")[0].tag == "mlops"


def test_an_audit_that_is_reported_stays_blind(store: Store) -> None:
    """What the reader said would tell the reviewer the tag."""
    store.writer.fill([audit("a"), report("a")], {})
    claim = claimed(store)
    assert (claim.door, claim.reports) == (Door.AUDIT, ())


def test_a_contradicted_audit_is_asked_of_another_person(store: Store) -> None:
    """The first reviewer is not asked again; the second one decides, and does not see the first answer."""
    store.writer.fill([audit("a", tag="mlops")], {})
    store.writer.fill([answer_to(claimed(store, "ann"), START_MS, tag="other")], {})
    assert store.queue.figures().open == {Door.SECOND_OPINION: 1}
    assert store.queue.figures().oldest_ms is None
    assert store.queue.claim("ann") is None
    second = claimed(store, "bob")
    assert (second.door, second.before, second.version) == (Door.SECOND_OPINION, None, 2)
    store.writer.fill([answer_to(second, START_MS + 1, tag="mlops")], {})
    assert store.queue.figures().length == 0
    assert (store.queue.pace("ann").compared, store.queue.pace("ann").agrees) == (1, 0)
    assert store.queue.pace("bob") == replace(store.queue.pace("ann"), total=1)


def test_an_audit_that_agrees_is_done(store: Store) -> None:
    """Only a drawn part of these is asked twice."""
    store.writer.fill([audit("a", tag="mlops")], {})
    store.writer.fill([answer_to(claimed(store), START_MS, tag="mlops")], {})
    assert store.queue.figures().length == 0


def test_a_drawn_part_is_asked_twice(opened: Open) -> None:
    """With a rate of 1 every item is; a third opinion is not asked for, and two that agree are counted."""
    store = opened(second_opinion_rate=1.0)
    store.writer.fill([review("a")], {})
    for reviewer in ("ann", "bob"):
        store.writer.fill([answer_to(claimed(store, reviewer), START_MS)], {})
    assert store.queue.figures().length == 0
    assert (store.queue.pace("ann").compared, store.queue.pace("ann").agrees) == (1, 1)


def test_a_corrected_answer_asks_no_second_person(store: Store) -> None:
    """The person has looked twice already."""
    store.writer.fill([audit("a"), answer("a", tag="other", asked_by="audit")], {})
    store.writer.fill([answer("a", START_MS + 1, version=2, tag="other", asked_by="correction")], {})
    assert store.queue.figures().length == 0


FACTS: list[Fact] = [
    review("a"),
    review("a", prediction_id="newer", tagged_ms=START_MS + 9),
    audit("b"),
    review("c"),
    answer("a"),
    answer("b", tag="other", asked_by="audit"),
    answer("b", START_MS + 3, version=2, tag="mlops", reviewer="bob", asked_by="audit"),
    report("c"),
    report("a", START_MS + 1),
    report("b", START_MS + 2),
]


def dump(store: Store) -> list[object]:
    """All that is known, in the order of the queue and of time."""
    found: list[object] = [store.queue.figures(), answers_in(store)]
    with store.database.reading() as connection:
        found += connection.execute(select(reports).order_by(reports.c.report_id)).all()
    while (claim := store.queue.claim("reader")) is not None:
        found.append((claim.item, claim.door, claim.version, claim.supersedes))
        store.queue.skip(claim.item.event.id, claim.token)
    return found


@settings(max_examples=40)
@given(order=st.permutations(FACTS), again=st.lists(st.sampled_from(FACTS)), cut=st.integers(0, len(FACTS)))
def test_any_order_gives_the_same_store(
    order: list[Fact], again: list[Fact], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two consoles that read the topics in other orders, and a store that is made anew, agree."""
    folder = tmp_path_factory.mktemp("stores")
    with filled(folder / "one.db", [FACTS]) as one, filled(folder / "other.db", [order[:cut], order[cut:], again]) as other:
        assert dump(one) == dump(other)


def filled(path: Path, batches: list[list[Fact]]) -> Store:
    """A store with these facts."""
    store = open_store(str(path), clock=Clock(), second_opinion_rate=0.0)
    for batch in batches:
        store.writer.fill(batch, {})
    return store


def test_positions_only_grow(store: Store, opened: Open) -> None:
    """Of two consoles that follow, the one that is behind does not set the other back."""
    store.writer.fill([], {("review", 0): 5, ("review", 1): 1})
    opened().writer.fill([], {("review", 0): 3})
    assert store.writer.positions() == {("review", 0): 5, ("review", 1): 1}


def test_nearly_equal_open_items_are_found(store: Store) -> None:
    """Those that someone holds, that are audits, that have an answer or other labels are left out."""
    store.writer.fill(
        [
            review("a", title=SENTENCE),
            review("copy", title=f"{SENTENCE}!"),
            review("held", title=SENTENCE, tagged_ms=START_MS - 1),
            review("labels", title=SENTENCE, probabilities={"sports": 1.0}),
            review("unlike", title="an essay on fonts"),
            audit("audit", title=SENTENCE),
            review("answered", title=SENTENCE),
            answer("answered"),
        ],
        {},
    )
    assert {claimed(store, "ann").item.event.id, claimed(store, "bob").item.event.id} == {"audit", "held"}
    assert [one.event_id for one in store.queue.duplicates("a")] == ["copy"]


def test_one_answer_settles_a_bounded_number_of_near_duplicates(store: Store) -> None:
    """As many, and of as many bytes, as can be written at once; the title in the list is a beginning."""
    large = "a" * (MOST_TWIN_BYTES // 3)
    store.writer.fill([review(f"small {number:02}", title=SENTENCE) for number in range(MOST_TWINS + 5)], {})
    assert len(store.queue.duplicates("small 00")) == MOST_TWINS
    text = "another text that many people write about in long words " * 10
    store.writer.fill(
        [review(f"large {number}", title=text, body=large, tagged_ms=START_MS + number) for number in range(5)], {}
    )
    found = store.queue.duplicates("large 0")
    assert [one.event_id for one in found] == ["large 1", "large 2"]
    assert {len(one.title) for one in found} == {LISTED_CHARACTERS}


def test_decided_neighbours_are_shown(store: Store) -> None:
    """The most alike first, and none that has not been decided; words that all texts have say nothing."""
    texts = {
        "near": "rolling out recommendation models slowly",
        "far": "a talk about cooking with many friends",
        "open": SENTENCE,
        **{f"filler {number}": f"a talk about subject{number}" for number in range(20)},
    }
    store.writer.fill([review(name, title=title) for name, title in texts.items()], {})
    store.writer.fill([review("a", title=SENTENCE)], {})
    assert list(store.queue.neighbours("a")) == []
    decided = [answer(name, of=item(name, title=title), tag="other") for name, title in texts.items() if name != "open"]
    store.writer.fill(decided, {})
    found = store.queue.neighbours("a")
    assert (found[0].event_id, found[0].tag) == ("near", "other")
    assert all(isinstance(one, Neighbour) and 0 < one.likeness < 1 for one in found)
    assert not any(one.event_id.startswith("filler") for one in found)


def test_a_neighbour_of_other_labels_is_not_shown(store: Store) -> None:
    """Its tag, `off_subject` included, says nothing about an item whose model has other labels."""
    intents = {"tag": "login", "confidence": 0.5, "probabilities": {"billing": 0.4, "login": 0.5, "other": 0.1}}
    store.writer.fill([review("a", title=SENTENCE), review("near", title=SENTENCE, **intents)], {})
    store.writer.fill([answer("near", of=item("near", title=SENTENCE, **intents), tag="other")], {})
    assert list(store.queue.neighbours("a")) == []
    store.writer.fill([review("b", title=SENTENCE, **intents)], {})
    assert [one.event_id for one in store.queue.neighbours("b")] == ["near"]


def test_each_published_decision_is_counted_once(store: Store) -> None:
    """A redelivery is known; another hour, tag, source or model has a total of its own; a new decision on the event counts again."""
    store.writer.fill([published("a"), published("b", confidence=0.7), published("a", 7)], {})
    store.writer.fill(
        [
            published("a", 9),
            published("a", 11, prediction_id="new model", model=ModelRef(name="tiny", version="2", digest="e" * 64)),
        ],
        {},
    )
    store.writer.fill([published("c", tagged_ms=START_MS + HOUR_MS, source="blog")], {})
    first, *rest = store.samples.totals(START_MS - HOUR_MS, START_MS + 2 * HOUR_MS)
    assert (first.decisions, first.confidence_sum, first.short) == (2, 1.2, True)
    assert first.probability_sums["mlops"] == 1.0
    assert sorted((total.model, total.source, total.decisions) for total in rest) == [("tiny 1", "blog", 1), ("tiny 2", "", 1)]
    assert len(list(store.samples.totals(START_MS - HOUR_MS, START_MS + 1))) == 2


def test_a_producer_cannot_make_totals_without_end(store: Store) -> None:
    """After fifty names of sources the rest are one."""
    store.writer.fill([published(str(number), number, source=f"source {number}") for number in range(120)], {})
    totals = list(store.samples.totals(0, START_MS + HOUR_MS))
    assert len(totals) == MOST_NAMES + 1
    assert {total.source: total.decisions for total in totals}[OTHERS] == 70


def test_a_report_on_a_tagged_event_says_where_its_decision_lies(store: Store) -> None:
    """An event in `review` needs no look, and a place that was wrong is not looked at again."""
    store.writer.fill([published("a", 4), published("b", 5, door="review"), report("a"), report("b"), report("unknown")], {})
    assert store.writer.unmatched() == [("a", 0, 4)]
    assert store.queue.figures().unmatched_reports == 3
    store.writer.forget_place("a")
    assert store.writer.unmatched() == []


def test_what_was_drawn_is_counted_with_its_answers(store: Store, clock: Clock) -> None:
    """Answered or not: quality is estimated from both; slices are of what was published."""
    store.writer.fill([audit("a", tagged_ms=START_MS), review("b", tagged_ms=START_MS + 1), answer("a", asked_by="audit")], {})
    store.writer.fill([review("c"), review("later", tagged_ms=START_MS + HOUR_MS), published("d")], {})
    found = store.samples.drawn(START_MS, START_MS + HOUR_MS)
    assert sorted(zip(found.sample.published, found.sample.truth, found.sample.count, found.movable, strict=True)) == [
        (False, NO_ANSWER, 2, True),
        (True, 0, 1, False),
    ]
    assert {name: sum(map(len, values.values())) for name, values in found.slices.items()} == {
        "source": 1,
        "language": 1,
        "length": 1,
    }
    clock.pass_ms(2 * HOUR_MS)
    store.writer.prune(HOUR_MS - 2)
    assert len(store.samples.drawn(START_MS, START_MS + HOUR_MS).sample) == 0


def test_what_an_answer_carries_does_not_replace_what_was_read(store: Store) -> None:
    """A forged answer with a newer decision of other labels leaves the item as its topic has it, in any order."""
    forged = answer("a", of=item("a", prediction_id="forged", probabilities={"pwned": 1.0}, tagged_ms=START_MS + 9))
    store.writer.fill([forged, review("a")], {})
    store.writer.fill([forged], {})
    assert decision_of(store, "a") == item("a").decision.prediction_id
    assert store.samples.drawn(START_MS, START_MS + HOUR_MS).left_out.strays == 1


def test_what_is_old_is_forgotten(store: Store, clock: Clock) -> None:
    """Answers stay: they are the only thing that people made. A clock that runs years ahead of the newest decision forgets no more."""
    store.writer.fill([review("old"), answer("answered"), published("old"), report("unknown", START_MS)], {})
    store.writer.fill([review("new", tagged_ms=START_MS + HOUR_MS)], {})
    clock.pass_ms(10 * 365 * 24 * HOUR_MS)
    assert store.writer.prune(HOUR_MS - MINUTE_MS) == 2
    assert served(store) == ["new"]
    assert [given.event_id for given in answers_in(store)] == ["answered"]
    assert store.queue.figures().unmatched_reports == 0


def test_the_figures_of_queue_and_reviewer(store: Store, clock: Clock) -> None:
    """Open by door, held now, the oldest, and the answers of the last minute and hour."""
    store.writer.fill([review("a", tagged_ms=START_MS - 5), review("b"), audit("c"), answer("d", START_MS)], {})
    claim = claimed(store)
    queue = store.queue.figures()
    assert (queue.open, queue.length, queue.held) == ({Door.AUDIT: 1, Door.REVIEW: 2}, 3, 1)
    assert (queue.oldest_ms, queue.answered) == (START_MS - 5, 1)
    clock.pass_ms(MINUTE_MS)
    store.writer.fill([answer_to(claim, clock.now_ms)], {})
    pace = store.queue.pace("ann")
    assert (pace.last_minute, pace.last_hour, pace.total, pace.compared) == (1, 2, 2, 0)


def test_reports_of_one_event_are_bounded(store: Store, clock: Clock) -> None:
    """Many callers cannot push one event; after the hour it may be reported again."""
    assert [store.queue.admit_report(str(caller), "a") is None for caller in range(7)] == [True] * 5 + [False] * 2
    assert store.queue.admit_report("0", "b") is None
    clock.pass_ms(HOUR_MS)
    assert store.queue.admit_report("9", "a") is None


def test_the_claim_says_what_the_topic_has(store: Store) -> None:
    """Key, headers and the event's own bytes come back as they were."""
    odd = item("a", description="d\u00e9j\u00e0 vu \U0001f600", source="s", link="https://x.y/")
    record = replace(odd.event.record, key=None, headers=(("h", b"\x00\xff"), ("h", b"")))
    event = replace(odd.event, record=record, fields=odd.event.fields | {"n": msgspec.Raw(b"1e400")})
    odd = replace(odd, event=event)
    store.writer.fill([AskedDecision(item=odd)], {})
    assert claimed(store).item == odd
    assert isinstance(store.queue.renew("a", claimed(store).token), Claim)


@pytest.mark.parametrize("labels", [{}, {"": 1.0}])
def test_a_decision_with_labels_that_no_answer_may_have_stops_nothing(store: Store, labels: dict[str, float]) -> None:
    """Anyone may write to `review`: such an item is kept and shown, and the others with it."""
    store.writer.fill([review("odd", probabilities=labels), review("a", tagged_ms=START_MS + 1)], {})
    assert sorted(served(store)) == ["a", "odd"]
