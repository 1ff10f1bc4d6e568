"""What a follower tells the store: one record of a topic each. Any order and any repetition give the same store."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stream.review.store.facts import Complaint, Given, Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """
    A decision that a person is asked about.

    Attributes:
        item: The event with its decision.
        door: `review` and `audit` by their topics; `tagged` for a decision that was looked up because of a report.
    """

    item: Item
    door: Literal["review", "audit", "tagged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """
    An answer.

    Attributes:
        given: The answer.
        item: The event with the decision that the person looked at, as the answer carries them.
        decided_ms: Its `decided_at`.
    """

    given: Given
    item: Item
    decided_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A reader's report; `reported_ms` is its `reported_at`."""

    complaint: Complaint
    reported_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """
    A decision of the model for the totals, and the place where it lies.

    Attributes:
        event_id: The event's.
        prediction_id: The decision's.
        destination: Its topic.
        partition: Of its topic.
        offset: In this partition.
        tagged_ms: When it was published.
        model: Name and version of the bundle.
        tag: Of the decision.
        confidence: Of the decision.
        probabilities: By label.
        source: The event's, cut to 100 characters; empty without one.
        language: The event's field `language`, cut likewise; empty without one.
        short: The text has six words at most.
    """

    event_id: str
    prediction_id: str
    destination: Literal["tagged", "review"]
    partition: int
    offset: int
    tagged_ms: int
    model: str
    tag: str
    confidence: float
    probabilities: Mapping[str, float] = field(repr=False)
    source: str
    language: str
    short: bool


Change = Decided | Answered | Reported | Published
