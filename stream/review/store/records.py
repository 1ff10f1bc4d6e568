"""The records of the store: facts from the topics, reviewers' claims, figures, and the state of an event. No SQL, no Kafka.

Times are Unix milliseconds, except `decided_at` and `reported_at`, which are the text on the topic.
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

# The most words of a text in the slice "short" of `tagstream model evaluate`.
SHORT_WORDS = 6
LINK_FIELDS = ("url", "link")
LINK_STARTS = ("https://", "http://")


def unix_ms() -> int:
    """Return the current time in Unix milliseconds."""
    return time.time_ns() // 1_000_000


def is_short(title: str, description: str | None) -> bool:
    """
    Return True if a text has at most `SHORT_WORDS` words.

    >>> is_short("A title", "of six words here"), is_short("A title", "of seven words here now")
    (True, False)
    """
    return len(f"{title} {description or ''}".split()) <= SHORT_WORDS


class Door(StrEnum):
    """The reason why a person is asked about an item. The queue serves items in this order; a reviewer asks for a correction."""

    AUDIT = "audit"
    SECOND_OPINION = "second_opinion"
    USER_REPORT = "user_report"
    REVIEW = "review"
    CORRECTION = "correction"

    @property
    def blind(self) -> bool:
        """True if the prediction, its figures, the reason and an earlier answer are hidden until the person answers."""
        return self in {Door.AUDIT, Door.SECOND_OPINION}


class KeptBefore(Before, frozen=True, kw_only=True):
    """The `before` of an item. Its labels are not bounded as in an answer: they are as the topic has them."""

    probabilities: dict[str, Share]


# The doors of the queue in their order.
PLACES: dict[Door | None, int] = {Door.AUDIT: 0, Door.SECOND_OPINION: 1, Door.USER_REPORT: 2, Door.REVIEW: 3}
# The place before all others, and the number of viewers whose "wrong" about the newest decision on an event puts it there.
HEAD, DENIED_BY = -1, 3
# One week. An item with a margin of 1 that has waited longer than this comes before a new item with a margin of 0.
AGE_MS = 7 * 24 * 3600 * 1000
# Events that are asked by lot get an urgency below 0, so that the queue can tell them apart and serve both kinds in turn.
BY_LOT = -1e6
# The kinds of answers that a person gives on the event alone. Two such answers can be compared.
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
    An answer, as it is on the topic `reviewed`.

    Attributes:
        answer_id: Derived from the answer. A correction of the answer carries this id as `supersedes`.
        event_id: The event's id.
        prediction_id: The id of the decision that the person looked at.
        model_tag: The decision's tag.
        tag: The person's tag.
        reviewer: The name of the person.
        decided_at: The time of the answer, RFC 3339.
        decided_ms: The time of the answer, Unix milliseconds.
        version: 1 for the first answer on an event.
        note: The person's note, if any.
        supersedes: The id of the answer that this answer replaces, if any.
        asked_by: `review`, `audit`, `user_report`, `correction` or `import`.
        blind: True if the prediction was hidden from the person.
        title: The beginning of the event's title, for a list.
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
        """The order among the answers on the event: the greatest answer holds."""
        return order_of_person(self.version, self.decided_at, self.answer_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """
    An item that one reviewer holds. No other reviewer gets the item before `until_ms`, and only `token` can save its answer.

    Attributes:
        item: The event, with the newest decision of the model or of the rules on it.
        door: The reason why the item is asked.
        reviewer: The name of the reviewer who holds the item.
        token: The claim's token; the page sends it back with the answer.
        until_ms: After this time another reviewer may take the item. Every `renew` extends it.
        version: The version that the answer will have.
        supersedes: The `answer_id` that the answer will replace, if any.
        reports: Readers' reports, the newest first; empty if `door` is blind.
        before: The answer that holds, if there is one and the reviewer may see it: for a correction or a report.
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
        """The door's name on the topic. A second opinion has the door of the first opinion."""
        return ASKED_BY.get(self.door) or ("review" if self.item.decision.reasons else "audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lapsed:
    """
    The token does not hold the item any more, so nothing was saved. The page keeps the typed text and shows `message`.

    Attributes:
        reason: `taken` by another reviewer, `answered` meanwhile, `unknown` to the store, or `saving`: an answer to the item is being
            saved, and it is not known yet whether the broker has the answer.
        message: A sentence for the reviewer, with the next step.
    """

    reason: Literal["taken", "answered", "unknown", "saving"]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """
    An event that people have decided, with a text like the item's text.

    Attributes:
        event_id: The event's id.
        title: The beginning of the event's title.
        tag: The people's tag.
        likeness: From 0 (no common word) to 1 (the same words). Rare words count more.
    """

    event_id: str
    title: str = field(repr=False)
    tag: str
    likeness: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """An open event with nearly the same text as the item: the event's id, and the beginning of its title."""

    event_id: str
    title: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFigures:
    """
    The queue as a reviewer sees it.

    Attributes:
        open: The number of items that wait for an answer, by door. Held items count too.
        held: The number of open items that reviewers hold now.
        oldest_ms: When the oldest open item was published, except for second opinions; None if there is no such item.
        answered: The number of events with an answer.
        unmatched_reports: The number of reported events that the store does not know.
    """

    open: Mapping[Door, int]
    held: int
    oldest_ms: int | None
    answered: int
    unmatched_reports: int

    @property
    def length(self) -> int:
        """The number of open items."""
        return sum(self.open.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewerFigures:
    """
    One reviewer's figures.

    Attributes:
        last_minute: The number of answers in the last 60 s.
        last_hour: The number of answers in the last hour.
        total: The number of all answers.
        agrees: The number of compared events that got the same tag from another person.
        compared: The number of the reviewer's newest events that another person answered too.
    """

    last_minute: int
    last_hour: int
    total: int
    agrees: int
    compared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TooMany:
    """
    A report is refused because too many reports came within the hour.

    Attributes:
        retry_after_seconds: The seconds until the next report may come.
        message: A sentence for the reader.
    """

    retry_after_seconds: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedDecision:
    """A decision that a person is asked about. A decision of the door `tagged` was looked up because of a report."""

    item: DecidedEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedDecision:
    """A decision for the totals, of the door `tagged` or `review`. Its event's record has the decision's partition and offset."""

    item: DecidedEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedReport:
    """A reader's report or a viewer's vote, and the time at which it counts, Unix milliseconds."""

    report: Report
    reported_ms: int


Fact = AskedDecision | CountedDecision | AnsweredEvent | TimedReport
"""A record of a topic, as the store takes it. The order and the repetition of facts make no difference to the store."""


def timed(report: Report, record: Record, now_ms: int) -> TimedReport:
    """
    Return a report with the earliest of three times: its own, its record's, and now.

    A report from the future would outlast every answer on its event.

    Args:
        report: The report in `record`.
        record: A record of `reports`.
        now_ms: The current time, Unix milliseconds.
    """
    said_ms = milliseconds(report.reported_at)
    return TimedReport(report=report, reported_ms=min(said_ms, record.timestamp_ms or said_ms, now_ms))


def link_of(fields: Fields) -> str | None:
    """Return the event's `url` or `link` if a page may show it: only http and https, because another scheme could run a script."""
    links = (text_of(fields, name) for name in LINK_FIELDS)
    return next((link for link in links if link is not None and link.lower().startswith(LINK_STARTS)), None)


def text_of(fields: Fields, name: str) -> str | None:
    """Return a field of an event; None if the event has no such field, or if the field is not a string."""
    found = msgspec.json.decode(fields[name]) if name in fields else None
    return found if isinstance(found, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStanding:
    """
    The state of an event: whether it is open, its door and urgency, and the answer that holds.

    Attributes:
        door: The reason why the event is open; None if the event is not open.
        urgency: The order within a door: the smallest urgency is served first.
        version: The version of the answer that holds; 0 without an answer.
        answer_id: The id of the answer that holds; None without an answer.
        tag: The tag of the answer that holds; None without an answer.
        leads: True if the event is served before all others.
    """

    door: Door | None
    urgency: float
    version: int = 0
    answer_id: str | None = None
    tag: str | None = None
    leads: bool = False

    @property
    def place(self) -> int | None:
        """The place of the door in the queue; None if the event is not open."""
        return HEAD if self.leads else PLACES.get(self.door)


def standing(
    event_id: str,
    decision: "Known",
    opinions: Sequence[Given],
    reported_ms: Sequence[int],
    second_opinion_rate: float,
    denied_ms: Sequence[int] = (),
) -> EventStanding:
    """
    Return the state of an event from all facts about it.

    The state does not depend on the order of the facts, so that two consoles and a rebuilt store agree.

    - Without an answer: an audit comes before a report, and a report before an item of `review`.
    - Without an answer: an event that `DENIED_BY` viewers call wrong comes before all others, unless it is an audit. An audit keeps its
      place, because its answer must neither show what others say nor come by choice.
    - With an answer: a later report opens the event again. A viewer's vote does not: it is about the model's decision, which a person has
      judged.
    - A second person is asked about an audit whose answer contradicts the model, and about a drawn share of the other answers.

    Args:
        event_id: The event's id, which draws the second opinions and the events that are asked by lot.
        decision: The newest decision on the event.
        opinions: All answers on the event, in any order.
        reported_ms: The times of the event's reports, Unix milliseconds.
        second_opinion_rate: The share of the answers on which a second person is asked, 0 to 1.
        denied_ms: The times of the votes that call the newest decision wrong, one of each viewer, the earliest first.
    """
    if not opinions:
        return _unanswered(event_id, decision, reported_ms, denied_ms)
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
    The part of a decision that determines whether and when a person is asked.

    Attributes:
        in_audit: True if the decision was drawn for an audit.
        in_review: True if the decision went to `review`.
        probabilities: The probabilities by label.
        threshold: The confidence below which a person is asked. Above 1, a person is always asked.
        tagged_ms: When the decision was published, Unix milliseconds.
    """

    in_audit: bool
    in_review: bool
    probabilities: Mapping[str, float]
    threshold: float
    tagged_ms: int


def _unanswered(event_id: str, decision: Known, reported_ms: Sequence[int], denied_ms: Sequence[int]) -> EventStanding:
    if decision.in_audit:
        # Audits are served by age: an order by doubt would make the answered sample differ from the drawn sample.
        return EventStanding(door=Door.AUDIT, urgency=decision.tagged_ms)
    if len(denied_ms) >= DENIED_BY:
        return EventStanding(door=Door.USER_REPORT, urgency=denied_ms[DENIED_BY - 1], leads=True)
    if reported_ms:
        return EventStanding(door=Door.USER_REPORT, urgency=min(reported_ms))
    if decision.in_review:
        age = decision.tagged_ms / AGE_MS
        if decision.threshold > 1 and random_half.is_drawn(event_id):
            # The label is not certified. An order by doubt alone would give no random sample to certify it by.
            return EventStanding(door=Door.REVIEW, urgency=random_half.place(event_id) + age + BY_LOT)
        return EventStanding(door=Door.REVIEW, urgency=margin(decision.probabilities) + age)
    return EventStanding(door=None, urgency=0.0)


def margin(probabilities: Mapping[str, float]) -> float:
    """
    Return the first label's probability minus the second label's, 0 to 1. The smaller the margin, the more an answer teaches.

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
    Return True if a second person is asked about this event. The result is the same at every call.

    >>> sum(drawn(str(number), 0.05) for number in range(10_000))
    523
    """
    digest = hashlib.blake2b(event_id.encode(), digest_size=8, person=b"second").digest()
    return int.from_bytes(digest, "big") < rate * 2**64


def words_of(opinions: Sequence[Given], known: Collection[str]) -> list[str]:
    """
    Return the last tag of each person, in the order of the persons' first answers.

    Args:
        opinions: All answers on an event, in any order.
        known: The labels that count. An answer with a label of another bundle is ignored.
    """
    last: dict[str, str] = {}
    for opinion in sorted(opinions, key=lambda one: one.order):
        if opinion.tag in known:
            last[opinion.reviewer] = opinion.tag
    return list(last.values())


def settled(predicted: str, said: Sequence[str]) -> str | None:
    """
    Return the first tag that two of the model and the reviewers agree on; None until two agree.

    `said` has the opinions of different people, in the order in which they were given. A first opinion that agrees with the model
    settles at once, so a second person is needed only if the first opinion contradicts the model.

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
