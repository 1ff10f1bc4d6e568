"""Finds what the topics hold about one event: decisions, answers and dead letters, and the decision that holds. It needs no store.

Topics have no index. The search first reads the partition of the event's key, from the end backwards. It reads the other partitions
only if that partition has nothing. The search is bounded in time and names the topics that it did not read to their beginning.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import msgspec

from tagstream.stream.contract import dead_letter
from tagstream.stream.contract.answers import UNSIGNED, AnsweredEvent, AnswerKeys, answer_id, order, read_answer
from tagstream.stream.contract.dead_letter import DeadLetter
from tagstream.stream.contract.event import DEFAULT_LIMITS, ContentEvent, Limits, Record, decode
from tagstream.stream.contract.published import PublishedDecision, read_decision
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.reading.backwards import Backwards, partition_of
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.kafka.rights import Operation
from tagstream.stream.settings.secret_files import answer_keys
from tagstream.stream.settings.settings import Settings

NEEDED = ("tagged", "review", "dlq")


@dataclass(slots=True, kw_only=True)
class Looked:
    """
    The result of a search for one event.

    Attributes:
        event_id: The event's id.
        decisions: The decisions on `tagged` and `review`, by `prediction_id` and door.
        answers: The answers on `reviewed`, by answer id.
        letters: The event's dead letters, from `content` and from `reviewed`.
        unread: Names of the topics that were not read to their beginning, because the time was over.
        limits: The limits of an event. A dead letter is decoded within these limits to find its event.
        keys: The keys of answers. Workers take only answers that one of these keys signed; without keys every answer counts.
    """

    event_id: str
    decisions: dict[tuple[str, str], PublishedDecision] = field(default_factory=dict)
    answers: dict[str, AnsweredEvent] = field(default_factory=dict)
    letters: list[DeadLetter] = field(default_factory=list)
    unread: tuple[str, ...] = ()
    keys: AnswerKeys = UNSIGNED
    limits: Limits = DEFAULT_LIMITS

    @property
    def is_empty(self) -> bool:
        """True if nothing was found."""
        return not (self.decisions or self.answers or self.letters)

    @property
    def holds(self) -> PublishedDecision | None:
        """The decision that holds; None without a decision. A person's decision is above the model's; of several, the greatest holds."""
        return max(self.decisions.values(), key=lambda decision: decision.standing, default=None)

    @property
    def pending(self) -> AnsweredEvent | None:
        """The answer that should hold and is not on `tagged` yet; None if there is no such answer."""
        last = max(self.answers.values(), key=lambda answered: order(answered.answer), default=None)
        if last is None or (answer_id(last.answer), "tagged") in self.decisions:
            return None
        return last if self.holds is None or order(last.answer) > self.holds.standing else None

    def add(self, role: str, record: Record) -> None:
        """Keep this record if it is about the event, and drop it otherwise. `role` is the role of the record's topic."""
        if role == "dlq":
            letter = dead_letter.read(record)
            if letter is not None and _id_of(letter, self.limits) == self.event_id:
                self.letters.append(letter)
        elif role == "reviewed":
            answered = read_answer(record, keys=self.keys)
            if isinstance(answered, AnsweredEvent) and answered.event.id == self.event_id:
                self.answers[answer_id(answered.answer)] = answered
        else:
            decided = read_decision(record)
            if isinstance(decided, PublishedDecision) and decided.event.id == self.event_id:
                self.decisions[decided.decision.prediction_id, decided.door] = decided


def look_up(settings: Settings, event_id: str, *, key: bytes | None, seconds: float, say: Callable[[str], None]) -> Looked:
    """
    Search the topics for one event.

    Args:
        settings: Brokers and topics.
        event_id: The event's id.
        key: The key that the producer gave the event; None if it gave no key.
        seconds: The longest time to read, in seconds.
        say: Called with a sentence before all partitions are read.

    Raises:
        BrokerUnreachableError: No broker answered, or a broker refused us.
        TopicsMissingError: `tagged`, `review` or the dead letters' topic does not exist. `reviewed` may be absent.
    """
    names = settings.topic_names
    described = admin.describe(settings, [names[role] for role in (*NEEDED, "reviewed")])
    admin.require(
        settings,
        {role: names[role] for role in NEEDED},
        operations=dict.fromkeys(NEEDED, Operation.READ),
        found=described,
    )
    roles = [*NEEDED, *(["reviewed"] if described[names["reviewed"]].partitions is not None else [])]
    looked = Looked(event_id=event_id, keys=answer_keys(settings.security), limits=settings.limits)
    until = time.monotonic() + seconds
    with ExitStack() as stack:
        logs = {role: Backwards(stack.enter_context(log_of(settings, names[role]))) for role in roles}
        for role, log in logs.items():
            # A dead letter has the key of its event, and an event may have no key.
            everywhere = role == "dlq"
            log.take(range(log.partitions) if everywhere else [partition_of(key or event_id.encode(), log.partitions)])
        _search(logs, looked, until)
        if looked.is_empty and time.monotonic() < until:
            say("nothing in the partition of this key; all partitions are read")
            for log in logs.values():
                log.take(range(log.partitions))
            _search(logs, looked, until)
    looked.unread = tuple(names[role] for role, log in logs.items() if not log.is_done)
    return looked


def _search(logs: dict[str, Backwards], looked: Looked, until: float) -> None:
    """Read one chunk of each topic in turn, so that no topic uses up the time of the others."""
    # The id as tagstream writes it in JSON. If the producer escaped the id differently, the value contains a backslash.
    needle = msgspec.json.encode(looked.event_id)[1:-1]
    while time.monotonic() < until and not all(log.is_done for log in logs.values()):
        for role, log in logs.items():
            for record in log.chunk():
                value = record.value or b""
                # The id of a dead letter's event may be derived from the bytes, and then the value does not contain the id.
                if role == "dlq" or needle in value or b"\\" in value:
                    looked.add(role, record)


def _id_of(letter: DeadLetter, limits: Limits) -> str | None:
    """Return the id of a dead letter's event: as a worker reads it, else the field `id`, else the key. The bytes may be arbitrary."""
    event = decode(Record(key=letter.key, value=letter.value, headers=letter.headers), limits)
    if isinstance(event, ContentEvent):
        return event.id
    try:
        own = msgspec.json.decode(letter.value or b"", type=_Named).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        own = None
    return str(own) if own is not None else (letter.key or b"").decode("utf-8", errors="replace") or None


class _Named(msgspec.Struct):
    id: str | int | None = None
