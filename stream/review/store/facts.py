"""The records that the store gives to the console, to live quality and to the commands. No SQL, no Kafka.

Times are Unix milliseconds, except `decided_at` and `reported_at`, which stay the text that is on the topic.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from stream.contract.record import Headers

# At most this many words: the slice "short" of `tagstream model evaluate`.
SHORT_WORDS = 6


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """
    An event that a person is asked about, with the newest decision of the model or of the rules on it.

    Attributes:
        event_id: The event's id.
        key: Of the decision's record; an answer on the topic `reviewed` has the same one.
        fields: The event's own fields, one JSON object, byte for byte.
        before: The decision's remaining fields, one JSON object: `before` of an answer.
        title: Of the event.
        description: Of the event.
        source: Of the event.
        link: The event's `url` or `link`, if it is one of http or https.
        prediction_id: Of the decision.
        model_tag: The decision's tag.
        confidence: The decision's.
        probabilities: By label, all labels of the bundle in its order.
        reasons: Why the decision went to `review`; empty for a tagged one.
        model: Name and version of the bundle.
        tagged_ms: When the decision was published.
        inclusion_probability: The probability that a person is asked about such an event; None where no draw was made.
        language: The event's field `language`, if it has one.
        headers: Of the decision's record; an answer has the same ones.
    """

    event_id: str
    key: bytes | None = field(repr=False)
    fields: bytes = field(repr=False)
    before: bytes = field(repr=False)
    title: str = field(repr=False)
    description: str | None = field(repr=False)
    source: str | None
    link: str | None
    prediction_id: str
    model_tag: str
    confidence: float
    probabilities: Mapping[str, float]
    reasons: tuple[str, ...]
    model: str
    tagged_ms: int
    inclusion_probability: float | None = None
    language: str | None = None
    headers: Headers = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """A report of a reader about an event."""

    event_id: str
    reporter: str | None
    suggested_tag: str | None
    note: str | None = field(repr=False)
    reported_at: str


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
        reviewer: Who gave it.
        decided_at: When, RFC 3339.
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
    version: int
    note: str | None = field(repr=False)
    supersedes: str | None
    asked_by: str
    blind: bool
    title: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """
    An item in the hands of one reviewer. Nobody else is given it before `until_ms`, and no one can save over `token`.

    Attributes:
        item: The event and its decision.
        door: Why it is asked.
        reviewer: Who holds it.
        token: The page sends it back with the answer.
        until_ms: After this another reviewer may take the item; every `renew` moves it.
        version: The number that the answer will have.
        supersedes: The `answer_id` that the answer will replace.
        reports: What readers said, the newest first; empty where `door` is blind.
        before: The answer that stands, where the reviewer may see it: for a correction and a report.
    """

    item: Item
    door: Door
    reviewer: str
    token: str
    until_ms: int
    version: int
    supersedes: str | None
    reports: tuple[Complaint, ...]
    before: Given | None


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
class Queue:
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
class Pace:
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
