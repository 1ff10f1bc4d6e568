"""
What has been seen of a challenger beside its champion: counts, from which `verdict.py` judges. Pure: it asks no broker and no clock.

One `Evidence` is of one challenger and one line of plans with it. Each observation counts once; events, answers and reports come in any order, totals in theirs:

| observation | from | once by |
|---|---|---|
| `Shadowed` | a record of `shadow` that has a challenger's side: both tags, and whether each `destination` is `review` | event id |
| `Answered` | an answer on `reviewed`: the person's tag for an event | event id; of several the one that holds (`contract/answers.py`), in whatever order they come |
| `Reported` | a report on `reports`, with the key of the event and the arm that its decision names | unit, once a person has found the tag wrong |
| `Failures` | totals: batches of the shadow in which one of the two failed, and the other did not; in a canary, decisions whose arm is `fallback` | the totals replace those before |
| `Arms` | totals: the units that were seen in each arm | as `Failures` |

A record of `shadow` has the share of events that are compared. That is not the probability here: this one says how probable it was that people are asked about the event, in
whatever way: 1 where the champion sent it to `review`; else the greater of an audit's rate and the rate at which disagreements are drawn, since one hash draws both; None
where it was not drawn. An answer about an event that was not drawn, such as one that a reader reported, counts for nothing: somebody picked it. No draw may look at more of the
event than its probability says.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace

import msgspec

from tagstream.model_export.compare.comparison import SliceCount
from tagstream.stream.contract.published import Order
from tagstream.stream.contract.rollout_records import Guards

# Of an event that is counted an 8-byte digest is kept, about 80 bytes in all. The share of disagreements is well known by then.
MOST_EVENTS = 500_000
# Answers about events on which people's answers do not count yet, or never will; of some of them readers report.
MOST_ANSWERS_AHEAD = 100_000
# A challenger takes too long for a batch at so many times the champion's time.
SLOW_TIMES = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowed:
    """
    An event that both models have decided.

    Attributes:
        event_id: Its id.
        champion: The champion's tag.
        challenger: The challenger's tag.
        champion_asks: The champion sends it to people.
        challenger_asks: The challenger would.
        probability: With which people are asked about it; None if they are not.
        slices: The slices that it is in; those without a guard do not matter.
        slow: Whether the challenger took too long for the batch that begins with this event; None where no batch does, or none was timed.
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
        """1 if a person's tag is the challenger's and not the champion's, -1 if it is the other way round, 0 otherwise."""
        return (self.challenger == tag) - (self.champion == tag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """
    A person's tag for an event; a tag that neither model gave favours neither.

    Attributes:
        event_id: The event's.
        tag: The person's.
        denies: It is another one than that of the decision which the person looked at.
        order: Its place among the answers on the event: the greatest holds.
        drawn: It came by a door to which events are drawn. An answer by another door alone counts for nothing: somebody picked the event.
    """

    event_id: str
    tag: str
    denies: bool
    order: Order
    drawn: bool

    def with_other(self, other: "Answered | None") -> "Answered":
        """What two answers on the event come to: the one that holds, about a drawn event if one of the two is."""
        if other is None:
            return self
        return replace(max(self, other, key=lambda one: one.order), drawn=self.drawn or other.drawn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A reader's report on an event of a unit (its key, or its id where that is the unit of the arms), and whether the challenger had decided it."""

    event_id: str
    unit: str
    challenger: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """
    What one model failed on and the other did not, in all.

    A model that raises or hangs may take its whole batch with it, so what fails in one batch is one failure.

    Attributes:
        challenger: Batches of the shadow with events that the champion alone decided.
        champion: Batches of the shadow with events that the challenger alone decided.
        fallbacks: Events of a canary that the champion decided in the challenger's place.
    """

    challenger: int
    champion: int
    fallbacks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """Units that were seen in each arm, in all."""

    challenger: int
    champion: int


Observation = Shadowed | Answered | Reported | Failures | Arms


class Tally(SliceCount, kw_only=True):
    """
    Events that both models decided, the champion as the older end, and the answers on their disagreements.

    Attributes:
        questions: Disagreements that people are asked about, by the weight of an answer.
        answers: How many answers favour whom (1: the challenger), by their weight.
    """

    questions: Counter[float] = msgspec.field(default_factory=Counter)
    answers: Counter[tuple[int, float]] = msgspec.field(default_factory=Counter)

    @property
    def asked(self) -> int:
        """The number of questions."""
        return self.questions.total()

    @property
    def answered(self) -> int:
        """The number of answers."""
        return self.answers.total()

    def favouring(self, whom: int) -> int:
        """The number of answers that favour the challenger (1), the champion (-1), or neither (0)."""
        return sum(count for (favours, _), count in self.answers.items() if favours == whom)


@dataclass(slots=True)
class Evidence:
    """
    Counts of one challenger. One thread writes (`take`) and asks.

    Attributes:
        guards: By which it is judged.
        labels: How many labels the bundles have, 2 or more.
        share: The challenger's share of the units; None in shadow, without arms.
        tries: Which try it is against this champion, from 1.
        overall: All events.
        slices: Of each guarded slice.
        by_label: Events by the champion's tag.
        published: Answers on what the challenger would publish: whether its tag was right, and the answer's weight.
        failures: The newest totals.
        arms: The newest totals.
        batches: Batches of the shadow by whether the challenger took too long.
        too_rare: So many events were drawn with a lower probability than the guards count on. One answer would weigh more than the bets allow, so they
            have none, and the others do not speak for all.
    """

    guards: Guards
    labels: int
    share: float | None = None
    tries: int = 1
    overall: Tally = field(default_factory=Tally)
    slices: dict[str, Tally] = field(init=False)
    by_label: dict[str, SliceCount] = field(default_factory=dict)
    published: Counter[tuple[bool, float]] = field(default_factory=Counter)
    failures: Failures = field(default_factory=lambda: Failures(challenger=0, champion=0))
    arms: Arms = field(default_factory=lambda: Arms(challenger=0, champion=0))
    batches: Counter[bool] = field(default_factory=Counter)
    too_rare: int = 0
    _events: set[int] = field(default_factory=set)
    _asked: dict[str, Shadowed] = field(default_factory=dict)
    # The answer that holds, on events that people were asked about, and on others.
    _answers: dict[str, Answered] = field(default_factory=dict)
    _ahead: dict[str, Answered] = field(default_factory=dict)
    _reported: dict[str, Reported] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """One tally for each guarded slice."""
        self.slices = {one.name: Tally() for one in self.guards.slices}

    def take(self, observation: Observation) -> bool:
        """
        Count an observation.

        Returns:
            Whether it changes anything. One that was taken before does not, nor does an event beyond `MOST_EVENTS`.
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
        """Units with a report that a person found right, the challenger's and the others: the answer that holds denies the tag."""
        answers = ((one, self._answers.get(name) or self._ahead.get(name)) for name, one in self._reported.items())
        units = {one.unit: one.challenger for one, answer in answers if answer is not None and answer.denies}
        return Counter(units.values())


def _weight(event: Shadowed) -> float:
    assert event.probability is not None
    return 1.0 / event.probability


def _short(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
