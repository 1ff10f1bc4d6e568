"""Where an event stands, from all that is known of it: open or not, by which door, how urgent, and which answer holds. Pure.

It depends on the set of facts and not on their order, so that two consoles and a rebuilt store agree.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from stream.review.store.facts import Door

# The doors of the queue in their order.
PLACES = {Door.AUDIT: 0, Door.SECOND_OPINION: 1, Door.USER_REPORT: 2, Door.REVIEW: 3}
# After a week of waiting an item of which the model was sure comes before a new one between two equal labels.
AGE_MS = 7 * 24 * 3600 * 1000
# Answers that a person gave on the event alone, so that two of them can be compared.
INDEPENDENT = frozenset({"audit", "review"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """
    One answer.

    Attributes:
        answer_id: Its id.
        prediction_id: Of the decision that the person looked at.
        version: Its number.
        decided_at: When, as on the topic.
        tag: The person's.
        model_tag: The tag that the person looked at, or that was hidden from them.
        reviewer: Who gave it.
        asked_by: As on the topic.
        decided_ms: When.
    """

    answer_id: str
    prediction_id: str
    version: int
    decided_at: str
    tag: str
    model_tag: str
    reviewer: str
    asked_by: str
    decided_ms: int

    @property
    def order(self) -> tuple[int, str, str]:
        """The greatest of an event's answers holds, as in `stream/contract/answers.py`."""
        return self.version, self.decided_at, self.answer_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """
    Where an event stands.

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

    @property
    def place(self) -> int | None:
        """The door's number in the queue's order."""
        return None if self.door is None else PLACES[self.door]


def standing(
    event_id: str,
    decision: "Asked",
    opinions: Sequence[Opinion],
    reported_ms: Sequence[int],
    second_opinion_rate: float,
) -> Standing:
    """
    Where an event stands.

    - Without an answer: an audit before a report before an item of `review`.
    - With one: a report that came after it opens the event again.
    - A second person is asked about an audit whose answer contradicts the model, and about a drawn part of the others.

    Args:
        event_id: Draws the second opinions.
        decision: Its newest decision.
        opinions: All answers on it, in any order.
        reported_ms: When it was reported.
        second_opinion_rate: The part of the answers on which a second person is asked, 0 to 1.
    """
    if not opinions:
        return _unanswered(decision, reported_ms)
    last = max(opinions, key=lambda opinion: opinion.order)
    held = {"version": last.version, "answer_id": last.answer_id, "tag": last.tag}
    later = [at for at in reported_ms if at > last.decided_ms]
    if later:
        return Standing(door=Door.USER_REPORT, urgency=min(later), **held)  # type: ignore[arg-type]
    if _wants_another(event_id, last, opinions, second_opinion_rate):
        return Standing(door=Door.SECOND_OPINION, urgency=last.decided_ms, **held)  # type: ignore[arg-type]
    return Standing(door=None, urgency=0.0, **held)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """
    What of a decision says when it is asked.

    Attributes:
        in_audit: It was drawn for an audit.
        in_review: It went to `review`.
        probabilities: By label.
        tagged_ms: When it was published.
    """

    in_audit: bool
    in_review: bool
    probabilities: Mapping[str, float]
    tagged_ms: int


def _unanswered(decision: Asked, reported_ms: Sequence[int]) -> Standing:
    if decision.in_audit:
        # In the order of the draw: an order by doubt would make the answered part another one than the drawn part.
        return Standing(door=Door.AUDIT, urgency=decision.tagged_ms)
    if reported_ms:
        return Standing(door=Door.USER_REPORT, urgency=min(reported_ms))
    if decision.in_review:
        return Standing(door=Door.REVIEW, urgency=margin(decision.probabilities) + decision.tagged_ms / AGE_MS)
    return Standing(door=None, urgency=0.0)


def margin(probabilities: Mapping[str, float]) -> float:
    """
    How far the first label is before the second, 0 to 1: the smaller, the more an answer teaches.

    >>> round(margin({"a": 0.5, "b": 0.4, "c": 0.1}), 3), margin({"a": 1.0})
    (0.1, 1.0)
    """
    first, second = sorted([*probabilities.values(), 0.0, 0.0], reverse=True)[:2]
    return first - second


def _wants_another(event_id: str, last: Opinion, opinions: Sequence[Opinion], rate: float) -> bool:
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


def words_of(opinions: Sequence[Opinion], known: Collection[str]) -> list[str]:
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
