"""The records of the store: what the topics say, what a reviewer holds, figures, and where an event stands. No SQL, no Kafka.

Times are Unix milliseconds, except `decided_at` and `reported_at`, which stay the text that is on the topic.
"""

import hashlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Literal

import msgspec

from tagstream.model_export.data import random_half
from tagstream.stream.contract.answers import AnsweredEvent, AskedBy, Before
from tagstream.stream.contract.event import Fields, Record
from tagstream.stream.contract.field_types import Share
from tagstream.stream.contract.published import DecidedEvent, Order, milliseconds, order_of_person
from tagstream.stream.contract.reports import Report

# At most this many words: the slice "short" of `tagstream model evaluate`.
SHORT_WORDS = 6
LINK_FIELDS = ("url", "link")
LINK_STARTS = ("https://", "http://")


def unix_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


def is_short(title: str, description: str | None) -> bool:
    """
    Whether a text has `SHORT_WORDS` words at most.

    >>> is_short("A title", "of six words here"), is_short("A title", "of seven words here now")
    (True, False)
    """
    return len(f"{title} {description or ''}".split()) <= SHORT_WORDS


class Door(StrEnum):
    """Why a person is asked about an item now. The queue serves them in this order; a correction is asked for by its reviewer."""

    AUDIT = "audit"
    SECOND_OPINION = "second_opinion"
    USER_REPORT = "user_report"
    REVIEW = "review"
    CORRECTION = "correction"

    @property
    def blind(self) -> bool:
        """Whether the prediction, its figures and the reason are hidden until the answer. Nor is an earlier answer shown."""
        return self in {Door.AUDIT, Door.SECOND_OPINION}


class KeptBefore(Before, frozen=True, kw_only=True):
    """The `before` of an item, whose labels are as its topic has them: only an answer bounds them."""

    probabilities: dict[str, Share]


# The doors of the queue in their order.
PLACES: dict[Door | None, int] = {Door.AUDIT: 0, Door.SECOND_OPINION: 1, Door.USER_REPORT: 2, Door.REVIEW: 3}
# After a week of waiting an item of which the model was sure comes before a new one between two equal labels.
AGE_MS = 7 * 24 * 3600 * 1000
# Events that are asked by lot have an urgency below 0, so that the queue can take one of them and one of the others in turn.
BY_LOT = -1e6
# Answers that a person gave on the event alone, so that two of them can be compared.
INDEPENDENT = frozenset({"audit", "review"})
ASKED_BY: dict[Door, AskedBy] = {
    Door.AUDIT: "audit",
    Door.USER_REPORT: "user_report",
    Door.REVIEW: "review",
    Door.CORRECTION: "correction",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """
    An answer that was given, as the topic `reviewed` has it.

    Attributes:
        answer_id: Derived from the answer; a correction of it carries this as `supersedes`.
        event_id: The event's id.
        prediction_id: Of the decision that the person looked at.
        model_tag: The decision's tag.
        tag: The person's.
        reviewer: The name of the person.
        decided_at: When, RFC 3339.
        decided_ms: The same, Unix milliseconds.
        version: 1 for the first answer on an event.
        note: The person's, if any.
        supersedes: The answer that it replaces.
        asked_by: `review`, `audit`, `user_report`, `correction` or `import`.
        blind: The prediction was hidden from the person.
        title: The beginning of the event's, for a list.
    """

    answer_id: str
    event_id: str
    prediction_id: str
    model_tag: str
    tag: str
    reviewer: str
    decided_at: str
    decided_ms: int
    version: int
    note: str | None = field(repr=False)
    supersedes: str | None
    asked_by: str
    blind: bool
    title: str = field(repr=False)

    @property
    def order(self) -> Order:
        """Its place among the answers on the event: the greatest holds."""
        return order_of_person(self.version, self.decided_at, self.answer_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """
    An item in the hands of one reviewer. It is given to no other before `until_ms`, and only `token` can save its answer.

    Attributes:
        item: The event, with the newest decision of the model or of the rules on it.
        door: Why it is asked.
        reviewer: The name of the one who holds it.
        token: The page sends it back with the answer.
        until_ms: After this another reviewer may take the item; every `renew` moves it.
        version: The number that the answer will have.
        supersedes: The `answer_id` that the answer will replace.
        reports: Of readers, the newest first; empty where `door` is blind.
        before: The answer that stands, where the reviewer may see it: for a correction and a report.
    """

    item: DecidedEvent
    door: Door
    reviewer: str
    token: str
    until_ms: int
    version: int
    supersedes: str | None
    reports: tuple[Report, ...]
    before: Given | None

    @property
    def asked_by(self) -> AskedBy:
        """The door as the topic names it; a second opinion has that of the first."""
        return ASKED_BY.get(self.door) or ("review" if self.item.decision.reasons else "audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lapsed:
    """
    The token does not hold the item any more, so nothing was saved. The page keeps what was typed and shows `message`.

    Attributes:
        reason: `taken` by another reviewer, `answered` meanwhile, `unknown` to the store, or `saving`: an answer of this reviewer
            is under way, and it is not known yet whether the broker has it.
        message: A sentence for the reviewer, with the next step.
    """

    reason: Literal["taken", "answered", "unknown", "saving"]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """
    An event that people have decided and whose text is like the item's.

    Attributes:
        event_id: Its id.
        title: The beginning of its title.
        tag: The people's.
        likeness: From 0, no word in common, to 1, the same words; rare words count more.
    """

    event_id: str
    title: str = field(repr=False)
    tag: str
    likeness: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """An open event with nearly the same text as the item's: its id, and the beginning of its title."""

    event_id: str
    title: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFigures:
    """
    The queue as a reviewer sees it.

    Attributes:
        open: The number of items that wait for an answer, by door; held ones count too.
        held: How many of them are in someone's hands now.
        oldest_ms: When the oldest of them was published; None where nothing is open.
        answered: Events with an answer.
        unmatched_reports: Reports about events that no topic knows.
    """

    open: Mapping[Door, int]
    held: int
    oldest_ms: int | None
    answered: int
    unmatched_reports: int

    @property
    def length(self) -> int:
        """All open items."""
        return sum(self.open.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewerFigures:
    """
    One reviewer's figures.

    Attributes:
        last_minute: Answers in the last 60 s.
        last_hour: Answers in the last hour.
        total: All answers.
        agrees: Among their newest events that another person answered too: how many got the same tag from both.
        compared: The number of these events.
    """

    last_minute: int
    last_hour: int
    total: int
    agrees: int
    compared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TooMany:
    """
    A report is refused because too many came within the hour.

    Attributes:
        retry_after_seconds: When the next may come.
        message: A sentence for the reader.
    """

    retry_after_seconds: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedDecision:
    """A decision that a person is asked about; that of the door `tagged` was looked up because of a report."""

    item: DecidedEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedDecision:
    """A decision for the totals, of the door `tagged` or `review`; its event's record says where it lies."""

    item: DecidedEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedReport:
    """A reader's report, and the moment that counts for it, Unix milliseconds."""

    report: Report
    reported_ms: int


Fact = AskedDecision | CountedDecision | AnsweredEvent | TimedReport
"""A record of a topic, as the store takes it: any order and any repetition give the same store."""


def timed(report: Report, record: Record, now_ms: int) -> TimedReport:
    """
    A report at the time that it says, or that of its record or now: one of a year to come would outlast every answer on its event.

    Args:
        report: As `record` has it.
        record: Of `reports`.
        now_ms: Unix milliseconds.
    """
    said_ms = milliseconds(report.reported_at)
    return TimedReport(report=report, reported_ms=min(said_ms, record.timestamp_ms or said_ms, now_ms))


def link_of(fields: Fields) -> str | None:
    """The event's `url` or `link` that a page may show: no other scheme than http, which could run a script."""
    links = (text_of(fields, name) for name in LINK_FIELDS)
    return next((link for link in links if link is not None and link.lower().startswith(LINK_STARTS)), None)


def text_of(fields: Fields, name: str) -> str | None:
    """A field of an event; None where it has none of this name, or none that is a string."""
    found = msgspec.json.decode(fields[name]) if name in fields else None
    return found if isinstance(found, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStanding:
    """
    Where an event stands: open or not, by which door, how urgent, and which answer holds.

    Attributes:
        door: Why it is open; None where it is not.
        urgency: Within a door the smallest is served first.
        version: Of the answer that holds; 0 without one.
        answer_id: Of the answer that holds.
        tag: Of the answer that holds.
    """

    door: Door | None
    urgency: float
    version: int = 0
    answer_id: str | None = None
    tag: str | None = None


def standing(
    event_id: str,
    decision: "Known",
    opinions: Sequence[Given],
    reported_ms: Sequence[int],
    second_opinion_rate: float,
) -> EventStanding:
    """
    Where an event stands, from all that is known of it. It depends on the set of facts and not on their order, so that two consoles and
    a rebuilt store agree.

    - Without an answer: an audit before a report before an item of `review`.
    - With one: a report that came after it opens the event again.
    - A second person is asked about an audit whose answer contradicts the model, and about a drawn part of the others.

    Args:
        event_id: Draws the second opinions, and the events that are asked by lot.
        decision: Its newest decision.
        opinions: All answers on it, in any order.
        reported_ms: When it was reported.
        second_opinion_rate: The part of the answers on which a second person is asked, 0 to 1.
    """
    if not opinions:
        return _unanswered(event_id, decision, reported_ms)
    last = max(opinions, key=lambda opinion: opinion.order)
    stands = partial(EventStanding, version=last.version, answer_id=last.answer_id, tag=last.tag)
    later = [at for at in reported_ms if at > last.decided_ms]
    if later:
        return stands(door=Door.USER_REPORT, urgency=min(later))
    if _wants_another(event_id, last, opinions, second_opinion_rate):
        return stands(door=Door.SECOND_OPINION, urgency=last.decided_ms)
    return stands(door=None, urgency=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """
    The part of a decision that says when it is asked.

    Attributes:
        in_audit: It was drawn for an audit.
        in_review: It went to `review`.
        probabilities: By label.
        threshold: The confidence below which a person is asked; above 1 it means always.
        tagged_ms: When it was published.
    """

    in_audit: bool
    in_review: bool
    probabilities: Mapping[str, float]
    threshold: float
    tagged_ms: int


def _unanswered(event_id: str, decision: Known, reported_ms: Sequence[int]) -> EventStanding:
    if decision.in_audit:
        # In the order of the draw: an order by doubt would make the answered part another one than the drawn part.
        return EventStanding(door=Door.AUDIT, urgency=decision.tagged_ms)
    if reported_ms:
        return EventStanding(door=Door.USER_REPORT, urgency=min(reported_ms))
    if decision.in_review:
        age = decision.tagged_ms / AGE_MS
        if decision.threshold > 1 and random_half.is_drawn(event_id):
            # Of a label that nothing certifies: an order by doubt alone would leave nothing to certify it by.
            return EventStanding(door=Door.REVIEW, urgency=random_half.place(event_id) + age + BY_LOT)
        return EventStanding(door=Door.REVIEW, urgency=margin(decision.probabilities) + age)
    return EventStanding(door=None, urgency=0.0)


def margin(probabilities: Mapping[str, float]) -> float:
    """
    How far the first label is before the second, 0 to 1: the smaller, the more an answer teaches.

    >>> round(margin({"a": 0.5, "b": 0.4, "c": 0.1}), 3), margin({"a": 1.0})
    (0.1, 1.0)
    """
    first, second = sorted([*probabilities.values(), 0.0, 0.0], reverse=True)[:2]
    return first - second


def _wants_another(event_id: str, last: Given, opinions: Sequence[Given], rate: float) -> bool:
    independent = [opinion for opinion in opinions if opinion.asked_by in INDEPENDENT]
    if last.asked_by not in INDEPENDENT or len({opinion.reviewer for opinion in independent}) != 1:
        return False
    contradicts = last.asked_by == "audit" and last.tag != last.model_tag
    return contradicts or drawn(event_id, rate)


def drawn(event_id: str, rate: float) -> bool:
    """
    Whether a second person is asked about this event: the same at every call.

    >>> sum(drawn(str(number), 0.05) for number in range(10_000))
    523
    """
    digest = hashlib.blake2b(event_id.encode(), digest_size=8, person=b"second").digest()
    return int.from_bytes(digest, "big") < rate * 2**64


def words_of(opinions: Sequence[Given], known: Collection[str]) -> list[str]:
    """
    The last word of each person, in the order in which they first spoke.

    Args:
        opinions: All answers on an event, in any order.
        known: Labels that can be said: an answer with one of another bundle says nothing.
    """
    last: dict[str, str] = {}
    for opinion in sorted(opinions, key=lambda one: one.order):
        if opinion.tag in known:
            last[opinion.reviewer] = opinion.tag
    return list(last.values())


def settled(predicted: str, said: Sequence[str]) -> str | None:
    """
    The answer that two of the model and its reviewers agree on; None while no two do.

    Opinions are those of different people, in the order in which they were given. A first opinion that agrees with the model
    settles at once, so a second person is asked only where the first one contradicts.

    >>> settled("b", ["b"]), settled("b", ["c"]), settled("b", ["c", "c"]), settled("b", ["c", "b"])
    ('b', None, 'c', 'b')
    >>> settled("b", ["c", "a"]), settled("b", ["c", "a", "c"])
    (None, 'c')
    """
    votes = [predicted]
    for opinion in said:
        if opinion in votes:
            return opinion
        votes.append(opinion)
    return None
