"""
The counts of a challenger beside its champion, from which `verdict.py` judges. Pure: it uses no broker and no clock.

One `Evidence` is for one challenger and the successive plans with it. Each observation counts once. Events, answers and reports may come
in any order. Totals come in order, and a new total replaces the old one:

| observation | source | counted once per |
|---|---|---|
| `Shadowed` | a record of `shadow` with a challenger's side: both tags, and whether each `destination` is `review` | event id |
| `Answered` | an answer on `reviewed`: the person's tag for an event | event id: the answer that holds (`contract/answers.py`) |
| `Reported` | a report on `reports`, with the event's key and its decision's arm | unit, once a person has found the tag wrong |
| `Failures` | totals: shadow batches in which only one model failed; in a canary, decisions with the arm `fallback` | as a new total |
| `Arms` | totals: the units that were seen in each arm, and the events | as a new total |
| `Measured` | a consumer's number on `outcomes`, with the event's unit and arm (`measured.py`) | name and unit |

A record of `shadow` has the share of events that are compared. `Shadowed.probability` is another number: the probability with which
people are asked about the event, by any way. It is 1 if the champion sent the event to `review`. Else it is the greater of the audit
rate and the rate at which disagreements are drawn, since one hash draws both. It is None if the event was not drawn. An answer about an
event that was not drawn, such as an event that a reader reported, does not count: somebody picked the event. A draw may use no more of
the event than its probability does.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace

import msgspec

from tagstream.model_export.compare.comparison import SliceCount
from tagstream.stream.contract.published import Order
from tagstream.stream.contract.rollout_records import Guards
from tagstream.stream.rollout.measured import Measured, Measurements

# The most events that are counted. Each keeps an 8-byte digest, about 80 bytes in all. The share of disagreements is well known by then.
MOST_EVENTS = 500_000
# The most answers that are kept for events without a drawn shadow record. Such a record may still come, and reports need these answers too.
MOST_ANSWERS_AHEAD = 100_000
# A challenger takes too long for a batch at more than this multiple of the champion's time.
SLOW_TIMES = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowed:
    """
    An event that both models have decided.

    Attributes:
        event_id: The event's id.
        champion: The champion's tag.
        challenger: The challenger's tag.
        champion_asks: True if the champion sends the event to people.
        challenger_asks: True if the challenger would send the event to people.
        probability: The probability with which people are asked about the event; None if they are not asked.
        slices: The slices of the event. Slices without a guard are ignored.
        slow: True if the challenger took too long for the batch that begins with this event; None if no timed batch begins with it.
    """

    event_id: str
    champion: str
    challenger: str
    champion_asks: bool
    challenger_asks: bool
    probability: float | None
    slices: frozenset[str] = frozenset()
    slow: bool | None = None

    def favours(self, tag: str) -> int:
        """Return 1 if only the challenger gave the person's tag, -1 if only the champion did, 0 otherwise."""
        return (self.challenger == tag) - (self.champion == tag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """
    A person's tag for an event. A tag that neither model gave favours neither model.

    Attributes:
        event_id: The event's id.
        tag: The person's tag.
        denies: True if the person's tag differs from the tag of the decision that the person saw.
        order: The rank of this answer among the answers on the event; the highest rank holds.
        drawn: True if the answer came by a way that draws its events. Other answers do not count: somebody picked the event.
    """

    event_id: str
    tag: str
    denies: bool
    order: Order
    drawn: bool

    def with_other(self, other: "Answered | None") -> "Answered":
        """Return the answer that holds of two answers on the event. It is `drawn` if one of the two is."""
        if other is None:
            return self
        return replace(max(self, other, key=lambda one: one.order), drawn=self.drawn or other.drawn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A reader's report on an event, with the event's unit (its key or its id) and whether the challenger had decided the event."""

    event_id: str
    unit: str
    challenger: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """
    The total failures of one model where the other model did not fail.

    A model that raises or hangs may fail its whole batch, so all failures in one batch count as one.

    Attributes:
        challenger: Shadow batches with events that only the champion decided.
        champion: Shadow batches with events that only the challenger decided.
        fallbacks: Events of a canary that the champion decided in the challenger's place.
    """

    challenger: int
    champion: int
    fallbacks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """The total number of units that were seen in each arm, and of their events."""

    challenger: int
    champion: int
    events: int = 0


Observation = Shadowed | Answered | Reported | Failures | Arms | Measured


class Tally(SliceCount, kw_only=True):
    """
    Counts of events that both models decided (the champion is the old model), and of the answers on disagreements.

    Attributes:
        questions: The number of disagreements that people are asked about, by the weight of an answer.
        answers: The number of answers, by whom they favour (`Shadowed.favours`) and by weight.
    """

    questions: Counter[float] = msgspec.field(default_factory=Counter)
    answers: Counter[tuple[int, float]] = msgspec.field(default_factory=Counter)

    @property
    def asked(self) -> int:
        """The total number of questions."""
        return self.questions.total()

    @property
    def answered(self) -> int:
        """The total number of answers."""
        return self.answers.total()

    def favouring(self, whom: int) -> int:
        """Return the number of answers that favour the challenger (1), the champion (-1), or neither (0)."""
        return sum(count for (favours, _), count in self.answers.items() if favours == whom)


@dataclass(slots=True)
class Evidence:
    """
    The counts of one challenger. One thread writes (`take`) and reads.

    Attributes:
        guards: The guards by which the challenger is judged.
        labels: The number of labels of the bundles, 2 or more.
        share: The challenger's share of the units; None in shadow (there are no arms) or with an audience (the share is not known).
        tries: The number of this try against the champion, from 1.
        shares: The number of this try's plans so far, from 1: each share has arms of its own, and measures outcomes anew.
        overall: The tally of all events.
        slices: The tally of each guarded slice.
        by_label: The counts of events by the champion's tag.
        published: The number of answers on decisions that the challenger would publish, by whether its tag was right and by weight.
        failures: The newest totals.
        arms: The newest totals.
        measured: What consumers measured.
        batches: The number of shadow batches, by whether the challenger took too long.
        too_rare: The number of events that were drawn with a lower probability than the guards count on. An answer on such an event
            would weigh more than the bets allow, so it does not count, and the other answers do not represent all events.
    """

    guards: Guards
    labels: int
    share: float | None = None
    tries: int = 1
    shares: int = 1
    overall: Tally = field(default_factory=Tally)
    slices: dict[str, Tally] = field(init=False)
    by_label: dict[str, SliceCount] = field(default_factory=dict)
    published: Counter[tuple[bool, float]] = field(default_factory=Counter)
    failures: Failures = field(default_factory=lambda: Failures(challenger=0, champion=0))
    arms: Arms = field(default_factory=lambda: Arms(challenger=0, champion=0))
    measured: Measurements = field(init=False)
    batches: Counter[bool] = field(default_factory=Counter)
    too_rare: int = 0
    _events: set[int] = field(default_factory=set)
    _asked: dict[str, Shadowed] = field(default_factory=dict)
    # The answers that hold: `_answers` on events that people were asked about, `_ahead` on all other events.
    _answers: dict[str, Answered] = field(default_factory=dict)
    _ahead: dict[str, Answered] = field(default_factory=dict)
    _reported: dict[str, Reported] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make one tally for each guarded slice, and a place for each required outcome."""
        self.slices = {one.name: Tally() for one in self.guards.slices}
        self.measured = Measurements(required=[one.name for one in self.guards.required])

    def take(self, observation: Observation) -> bool:
        """
        Count an observation.

        Returns:
            True if the observation changes the counts. A repeated observation does not, and an event beyond `MOST_EVENTS` does not.
        """
        match observation:
            case Shadowed():
                return self._shadowed(observation)
            case Answered():
                return self._answered(observation)
            case Reported():
                return self._report(observation)
            case Failures():
                changes, self.failures = observation != self.failures, observation
                return changes
            case Arms():
                changes, self.arms = observation != self.arms, observation
                return changes
            case Measured():
                return self.measured.take(observation)

    def _shadowed(self, event: Shadowed) -> bool:
        key = _short(event.event_id)
        if key in self._events or len(self._events) >= MOST_EVENTS:
            return False
        self._events.add(key)
        if event.slow is not None:
            self.batches[event.slow] += 1
        too_rare = self._is_too_rare(event)
        self.too_rare += too_rare
        disagree, asked = event.champion != event.challenger, event.probability is not None and not too_rare
        tallies = self._tallies(event)
        for count in (*tallies, self.by_label.setdefault(event.champion, SliceCount())):
            count.count(discordant=disagree, old_review=event.champion_asks, new_review=event.challenger_asks)
        if disagree and asked:
            for tally in tallies:
                tally.questions[_weight(event)] += 1
        if asked:
            self._asked[event.event_id] = event
            if (ahead := self._ahead.pop(event.event_id, None)) is not None:
                self._answered(ahead)
        return True

    def _answered(self, answer: Answered) -> bool:
        event = self._asked.get(answer.event_id)
        kept = self._ahead if event is None else self._answers
        before = kept.get(answer.event_id)
        holds = answer.with_other(before)
        if holds == before:
            return False
        kept[answer.event_id] = holds
        if event is not None:
            self._count(event, before, -1)
            self._count(event, holds, 1)
        elif len(kept) > MOST_ANSWERS_AHEAD:
            del kept[next(iter(kept))]
        return True

    def _count(self, event: Shadowed, answer: Answered | None, times: int) -> None:
        if answer is None or not answer.drawn:
            return
        weight = _weight(event)
        if event.champion != event.challenger:
            for tally in self._tallies(event):
                tally.answers[event.favours(answer.tag), weight] += times
        if not event.challenger_asks:
            self.published[event.challenger == answer.tag, weight] += times

    def _tallies(self, event: Shadowed) -> list[Tally]:
        return [self.overall, *(tally for name, tally in self.slices.items() if name in event.slices)]

    def _is_too_rare(self, event: Shadowed) -> bool:
        disagree = event.champion != event.challenger
        least = self.guards.asked_at_least if disagree else self.guards.audited_at_least
        return event.probability is not None and event.probability < least

    def _report(self, report: Reported) -> bool:
        if report.event_id in self._reported or len(self._reported) >= MOST_EVENTS:
            return False
        self._reported[report.event_id] = report
        return True

    @property
    def reports(self) -> Counter[bool]:
        """The number of units with a confirmed report, by whether the challenger decided: the answer that holds denies the tag."""
        answers = ((one, self._answers.get(name) or self._ahead.get(name)) for name, one in self._reported.items())
        units = {one.unit: one.challenger for one, answer in answers if answer is not None and answer.denies}
        return Counter(units.values())


def _weight(event: Shadowed) -> float:
    assert event.probability is not None
    return 1.0 / event.probability


def _short(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
