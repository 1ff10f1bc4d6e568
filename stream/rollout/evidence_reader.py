"""Reads the evidence on a challenger from the topics of the stream as they grow."""

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from tagstream.monitoring.vocabulary import Arm
from tagstream.stream.contract.answers import AnsweredEvent, AnswerKeys, order, read_answer
from tagstream.stream.contract.consumer_outcomes import ConsumerOutcome, read_outcome
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.contract.published import DecidedEvent, milliseconds, read_decision
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.contract.reports import Report, read_report
from tagstream.stream.contract.shadow_records import Shadowed as ShadowRecord
from tagstream.stream.contract.shadow_records import read_shadowed, slice_name
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.rollout.audience import ArmLine, Audience
from tagstream.stream.rollout.epochs import Models
from tagstream.stream.rollout.evidence import SLOW_TIMES, Answered, Arms, Evidence, Failures, Reported, Shadowed
from tagstream.stream.rollout.measured import Measured
from tagstream.stream.settings.settings import Settings

# Outcomes are read at this age. Their copies for an audit are written by then, so it is known whether people are asked.
SETTLED_MS = 30_000
# The clock of a writer of reports or outcomes may be so far ahead of ours. The age of a record from beyond is not known: it is read at once,
# since to wait for its time would keep all records behind it.
CLOCKS_APART_MS = 60_000
# The most events whose outcome, draw or arm is kept. Each takes 8 bytes and its share of a dict.
MOST_EVENTS = 500_000
# The most records of `shadow` that wait for the outcome of their event.
MOST_AHEAD = 100_000
# The most events on which one model failed: more than any plan tolerates.
MOST_FAILING = 20_000
ASKED = frozenset({"review", "audit"})
ARMS = {arm.value: arm for arm in Arm}
# The group of the slices by the champion's tag.
LABEL = "label"


class _Outcome(msgspec.Struct, frozen=True):
    """The fields of an outcome that the counts use."""

    id: str
    decider: str
    model: ModelRef
    reasons: tuple[str, ...] = ()
    inclusion_probability: float | None = None
    # The token for viewers, or a field of the event's own.
    ask: msgspec.Raw = msgspec.Raw()


@dataclass(slots=True)
class EvidenceReader:
    """
    Reads the evidence on the challenger of the newest epoch. One thread uses it.

    Attributes:
        settings: Brokers and topics.
        models: The models of the newest epoch.
        epochs: The numbers of the newest epoch and of the epochs right before it with the same two models.
        since_ms: When the first of these epochs was planned, Unix milliseconds.
        keys: The keys of answers.
        evidence: The evidence so far.
        audience: People's answers, readers' reports and viewers' votes so far.
        unread: The number of records that do not follow the contract, by topic. They do not count.
        why_unread: Why the last such record was not read; empty without one.
        unknown: The number of records of `outcomes` whose event this epoch's models have not decided. They do not count.
        unseen: Topics that do not exist, or that this user may not see.
    """

    settings: Settings
    models: Models
    epochs: frozenset[str]
    since_ms: int
    keys: AnswerKeys
    evidence: Evidence
    audience: Audience = field(default_factory=Audience)
    unread: Counter[str] = field(default_factory=Counter)
    why_unread: str = ""
    unknown: int = 0
    unseen: tuple[str, ...] = ()
    _positions: dict[str, dict[int, int]] = field(default_factory=dict)
    # By event: the probability with which people are asked (`_drawn`), and unit and arm (`_arms`). By unit: whether it is the challenger's.
    _drawn: dict[bytes, float] = field(default_factory=dict)
    _arms: dict[bytes, tuple[bytes, Arm]] = field(default_factory=dict)
    _units: dict[bytes, bool] = field(default_factory=dict)
    # Events on which one of the two models failed, and the shadow batches with such events, named by the time of their comparison.
    _failing: set[bytes] = field(default_factory=set)
    _failed: tuple[set[str], set[str]] = field(default_factory=lambda: (set(), set()))
    _fallbacks: int = 0
    # Events with an outcome, the oldest first, and records of `shadow` whose events have no outcome yet.
    _decided: dict[bytes, None] = field(default_factory=dict)
    _ahead: dict[bytes, Shadowed] = field(default_factory=dict)

    def read(self, *, now_ms: int) -> Evidence:
        """
        Read the records since the last call.

        Args:
            now_ms: The time now, Unix milliseconds. Decisions, reports and outcomes of the last 30 s are left for the next call.

        Raises:
            BrokerUnreachableError: No broker answered in time.
        """
        topics = self.settings.topics
        there = admin.partitions(self.settings)
        # The topics are read in the order of their references: draws before shadows, shadows before answers, decisions before reports and
        # before what consumers measured of them. The
        # ends are asked for in the reverse order, so that a referenced record is never missed.
        ways: tuple[tuple[str, Callable[[Record], None]], ...] = (
            (topics.audit, self._outcome),
            (topics.tagged, self._outcome),
            (topics.review, self._outcome),
            (topics.shadow, self._shadowed),
            (topics.reviewed, self._answered),
            (topics.reports, self._reported),
            (topics.outcomes, self._measured),
        )
        self.unseen = tuple(topic for topic, _ in ways if not there.get(topic))
        ends = {topic: self._ends(topic, now_ms) for topic, _ in reversed(ways) if there.get(topic)}
        for topic, take in ways:
            if topic in ends:
                self._read(topic, ends[topic], take, now_ms)
            if topic == topics.review:
                self._catch_up()
        units = Counter(self._units.values())
        self.evidence.take(Arms(challenger=units[True], champion=units[False], events=len(self._arms)))
        challenger, champion = map(len, self._failed)
        self.evidence.take(Failures(challenger=challenger, champion=champion, fallbacks=self._fallbacks))
        return self.evidence

    def lines(self) -> tuple[ArmLine, ...]:
        """Return what people, readers and viewers said about each arm of the newest epoch."""

        def arm_of(event_id: str) -> Arm | None:
            known = self._arms.get(_short(event_id.encode()))
            return None if known is None else known[1]

        return self.audience.lines(Counter(arm for _, arm in self._arms.values()), arm_of)

    def _ends(self, topic: str, now_ms: int) -> dict[int, int]:
        """Return where reading ends now: decisions wait until their copies for audits are written, and what refers to them until then."""
        topics = self.settings.topics
        with log_of(self.settings, topic) as log:
            # A new partition is read from its first record since `since_ms`.
            self._positions[topic] = log.offsets_since(self.since_ms) | self._positions.get(topic, {})
            return log.offsets_since(now_ms - SETTLED_MS) if topic in {topics.tagged, topics.review} else log.ends()

    def _read(self, topic: str, ends: Mapping[int, int], take: Callable[[Record], None], now_ms: int) -> None:
        positions, left = self._positions[topic], set[int]()
        refers = topic in {self.settings.topics.reports, self.settings.topics.outcomes}
        with log_of(self.settings, topic) as log:
            for record in log.read(dict(positions), ends):
                if record.partition in left:
                    continue
                if refers and -SETTLED_MS < (record.timestamp_ms or 0) - now_ms <= CLOCKS_APART_MS:
                    left.add(record.partition)
                    continue
                take(record)
                # After each record: if the broker fails within the topic, the next call counts nothing twice.
                positions[record.partition] = record.offset + 1
        positions.update({number: end for number, end in ends.items() if number not in left})

    def _outcome(self, record: Record) -> None:
        try:
            found = msgspec.json.decode(record.value or b"", type=_Outcome)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        # A person's decision is skipped: it names the model that had decided before the person.
        if found.decider == "reviewer" or found.model.epoch not in self.epochs:
            return
        event = _short(found.id.encode())
        if found.inclusion_probability is not None and not found.reasons:
            if len(self._drawn) < MOST_EVENTS:
                self._drawn[event] = max(found.inclusion_probability, self._drawn.get(event, 0.0))
            return
        self._decided[event] = None
        if len(self._decided) > MOST_EVENTS:
            del self._decided[next(iter(self._decided))]
        # Arms and fallbacks are counted for the newest epoch only, since each share has arms of its own.
        if found.model.epoch != str(self.models.epoch):
            return
        if found.model.arm == Arm.FALLBACK:
            self._fallbacks += self._fails(event)
        arm = ARMS.get(found.model.arm or "", Arm.CHAMPION)
        if found.ask and isinstance(read := read_decision(record), DecidedEvent) and read.decision.ask is not None:
            self.audience.asked(read.decision.prediction_id, arm)
        if len(self._arms) >= MOST_EVENTS:
            return
        challenger = self.models.challenger
        by_key = challenger is not None and challenger.unit == "key" and record.key is not None
        unit = _short(record.key or b"") if by_key else event
        self._arms[event], self._units[unit] = (unit, arm), arm is not Arm.CHAMPION

    def _shadowed(self, record: Record) -> None:
        found = read_shadowed(record)
        if not isinstance(found, ShadowRecord):
            self._leave(record, found)
            return
        champion, challenger, times = found.champion, found.challenger, found.times
        digests = tuple(found.failed if side is None else side.model.digest for side in (champion, challenger))
        if self.models.challenger is None or digests != (self.models.champion.digest, self.models.challenger.bundle.digest):
            return
        event = _short(found.event_id.encode())
        if champion is None or challenger is None:
            # All failures in one batch are one failure. A batch that is written twice has another time of comparison: `_fails` sees that.
            if self._fails(event):
                self._failed[champion is None].add(found.compared_at)
            return
        self._ahead[event] = Shadowed(
            event_id=found.event_id,
            champion=champion.tag,
            challenger=challenger.tag,
            champion_asks=champion.destination == "review",
            challenger_asks=challenger.destination == "review",
            probability=None,
            slices=frozenset({*found.slices, slice_name(LABEL, champion.tag)}),
            slow=None if times is None else times.challenger > SLOW_TIMES * times.champion,
        )
        self._take(event)
        if len(self._ahead) > MOST_AHEAD:
            del self._ahead[next(iter(self._ahead))]

    def _fails(self, event: bytes) -> bool:
        """Return True if this is the first failure on this event."""
        if event in self._failing or len(self._failing) >= MOST_FAILING:
            return False
        self._failing.add(event)
        return True

    def _catch_up(self) -> None:
        """Take the waiting records of `shadow` whose events have an outcome now."""
        for event in list(self._ahead):
            self._take(event)

    def _take(self, event: bytes) -> None:
        """Take the record of `shadow` on this event, if the event has an outcome: then it is known whether people are asked."""
        if event not in self._decided:
            return
        seen = self._ahead.pop(event)
        self.evidence.take(replace(seen, probability=1.0 if seen.champion_asks else self._drawn.get(event)))

    def _answered(self, record: Record) -> None:
        found = read_answer(record, keys=self.keys)
        if not isinstance(found, AnsweredEvent):
            self._leave(record, found)
            return
        answer = found.answer
        self.audience.answered(answer)
        self.evidence.take(
            Answered(
                event_id=answer.event_id,
                tag=answer.tag,
                denies=answer.tag != answer.model_tag,
                order=order(answer),
                drawn=answer.asked_by in ASKED,
            )
        )

    def _reported(self, record: Record) -> None:
        found = read_report(record)
        if not isinstance(found, Report):
            self._leave(record, found)
        # A vote of an asked viewer is no complaint: it may say that the tag is right. So it is no evidence.
        elif found.is_vote:
            at_ms = milliseconds(found.reported_at)
            self.audience.voted(found, min(at_ms, record.timestamp_ms or at_ms))
        elif (known := self._arms.get(_short(found.event_id.encode()))) is not None:
            unit, arm = known
            self.audience.reported(found.event_id)
            self.evidence.take(Reported(event_id=found.event_id, unit=unit.hex(), challenger=arm is not Arm.CHAMPION))

    def _measured(self, record: Record) -> None:
        found = read_outcome(record)
        if not isinstance(found, ConsumerOutcome):
            self._leave(record, found)
            return
        event = _short(found.event_id.encode())
        if (known := self._arms.get(event)) is None:
            self.unknown += 1
            return
        unit, arm = known
        self.evidence.take(
            Measured(
                # One text for all values of a name.
                name=sys.intern(found.name),
                event=event,
                unit=unit,
                challenger=arm is not Arm.CHAMPION,
                value=found.value,
                at_ms=milliseconds(found.at),
                written_ms=record.timestamp_ms,
            )
        )

    def _leave(self, record: Record, refusal: Refusal) -> None:
        """Count a record that does not follow its contract."""
        self.unread[record.topic] += 1
        self.why_unread = f"{record.topic}/{record.partition} at offset {record.offset}: {refusal.message}"


def _short(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=8).digest()
