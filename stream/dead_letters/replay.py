"""`tagstream dlq replay`: dead letters sent again, each once, however often it is called and wherever it is broken off."""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from stream.contract.dead_letter import DeadLetter, Place, replayed
from stream.contract.record import Record
from stream.dead_letters import choose
from stream.dead_letters import ledger as ledgers
from stream.dead_letters.ledger import Ledger, Standing, State
from stream.dead_letters.refusals import NotReplayed, not_replayed
from stream.dead_letters.selection import Selection, UsageError
from stream.kafka import admin, probes, producer
from stream.kafka.log import log_of
from stream.kafka.producer import TooLargeError, TooLateError, UndeliveredError, VerbatimSender
from stream.settings.settings import Settings

BATCH_LETTERS = 100
BATCH_BYTES = 8 * 1024 * 1024
SAYS = {
    Standing.ELSEWHERE: (NotReplayed.ELSEWHERE, "another replay is at work on it"),
    Standing.UNKNOWN: (
        NotReplayed.UNKNOWN,
        "a replay broke off while it sent this, and the topic has forgotten since whether it arrived; name the place and add --again",
    ),
}


class ReplayError(Exception):
    """The broker stopped answering in the middle: the message says how far the replay came and what to do."""

    exit_code = 3


@dataclass(slots=True, kw_only=True)
class Report:
    """
    What a replay did, or would do.

    Attributes:
        target: The topic that was sent to.
        sent: How many were sent.
        returned: How many of them an earlier replay had sent before, as another dead letter: they came back.
        already: How many were replayed by an earlier run.
        refused: How many were not, by reason.
    """

    target: str
    sent: int = 0
    returned: int = 0
    already: int = 0
    refused: Counter[NotReplayed] = field(default_factory=Counter)

    def count(self, letter: DeadLetter) -> None:
        """One more was sent."""
        self.sent += 1
        self.returned += letter.replays > 0

    @property
    def refusals(self) -> int:
        """How many were not replayed, and not because they had been."""
        return self.refused.total()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What to replay, and how.

    Attributes:
        selection: Which dead letters.
        target: The topic to send to.
        most_replays: An event that was replayed so often is refused.
        again: Send also what was replayed, or may have been.
        refused: Told of each that is refused: its place and a sentence.
        say: Told what is waited for.
        advance: Told of each that was sent.
    """

    selection: Selection
    target: str
    most_replays: int
    again: bool
    refused: Callable[[Place, str], None]
    say: Callable[[str], None]
    advance: Callable[[], None] = lambda: None


def target_of(settings: Settings, to: str | None) -> str:
    """
    The topic to replay to: `content`, or what `to` names, by its short name or its own.

    Raises:
        UsageError: It is one that a replay must not write to.
    """
    names: dict[str, str] = settings.topics.model_dump()
    name = names["content"] if to is None else names.get(to, to)
    if name in {names["dlq"], names["replays"]}:
        msg = f"a replay to {name!r} would make dead letters of dead letters. Next: give --to another topic, or leave it out for content."
        raise UsageError(msg)
    return name


def preview(settings: Settings, plan: Plan, *, show: Callable[[DeadLetter, Record], None]) -> Report:
    """
    What `replay` would send, without sending; a run that broke off just now is taken for over.

    Raises:
        BrokerUnreachableError: No broker answered.
        TopicsMissingError: The dead letters' topic, the target or the ledger does not exist.
    """
    _require(settings, plan.target)
    report = Report(target=plan.target)
    with log_of(settings, plan.target) as target, log_of(settings, settings.topics.replays) as log:
        ledger = Ledger(log, topic=settings.topics.replays, run="", target_ends={})
        ledger.settle(ledger.unfinished(settings.topics.dlq, plan.target), target)
        for letter in _sendable(choose.select(settings, plan.selection), ledger, plan, report):
            show(letter, replayed(letter, plan.target))
            report.count(letter)
    return report


def replay(settings: Settings, plan: Plan) -> Report:
    """
    Send the selected dead letters again, in their order, and return when the broker has confirmed each.

    Raises:
        BrokerUnreachableError: No broker answered.
        TopicsMissingError: The dead letters' topic, the target or the ledger does not exist.
        LedgerError: The ledger could not be written.
        ReplayError: The broker stopped answering.
    """
    _require(settings, plan.target)
    report = Report(target=plan.target)
    with (
        log_of(settings, plan.target) as target,
        log_of(settings, settings.topics.replays) as log,
        producer.verbatim_sender(settings, idempotent=probes.use_idempotent_producer(settings)) as sender,
    ):
        # In this order: what another run sends after this look at the target's end, it also notes after it.
        ends = target.ends()
        ledger = Ledger(log, topic=settings.topics.replays, run=uuid.uuid4().hex, target_ends=ends)
        unfinished = ledger.unfinished(settings.topics.dlq, plan.target)
        ledgers.wait_until_over(unfinished.values(), say=plan.say)
        ledger.catch_up()
        still = ledger.unfinished(settings.topics.dlq, plan.target)
        ledger.settle({key: note for key, note in still.items() if unfinished.get(key) == note}, target)
        ledger.finish(dict.fromkeys(ledger.arrived(), State.SENT), sender)
        ledger.catch_up()
        for batch in _batches(_sendable(choose.select(settings, plan.selection), ledger, plan, report)):
            left = batch
            while left:
                left = _send(left, ledger, sender, plan, report)
    return report


def _require(settings: Settings, target: str) -> None:
    names: dict[str, str] = settings.topics.model_dump()
    key = next((key for key, name in names.items() if name == target), target)
    admin.require(settings, {"dlq": names["dlq"], key: target, "replays": names["replays"]})


def _sendable(letters: Iterable[choose.Found], ledger: Ledger, plan: Plan, report: Report) -> Iterator[DeadLetter]:
    for found in letters:
        letter = found.letter
        if letter is None:
            _refuse(found.place, NotReplayed.NOT_OURS, found.why, plan, report)
            continue
        standing = ledger.standing(ledgers.key_of(letter, plan.target))
        known = (Standing.SENT, Standing.UNKNOWN)
        if standing is Standing.SENT and not plan.again:
            report.already += 1
        elif standing in SAYS and not (plan.again and standing in known):
            _refuse(letter.place, *SAYS[standing], plan, report)
        elif (why := not_replayed(letter, most_replays=plan.most_replays)) is not None:
            _refuse(letter.place, *why, plan, report)
        else:
            yield letter


def _refuse(place: Place, reason: NotReplayed, sentence: str, plan: Plan, report: Report) -> None:
    report.refused[reason] += 1
    plan.refused(place, sentence)


def _batches(letters: Iterable[DeadLetter]) -> Iterator[list[DeadLetter]]:
    batch: list[DeadLetter] = []
    size = 0
    for letter in letters:
        batch.append(letter)
        size += letter.size_bytes
        if len(batch) >= BATCH_LETTERS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _send(batch: list[DeadLetter], ledger: Ledger, sender: VerbatimSender, plan: Plan, report: Report) -> list[DeadLetter]:
    """Send what no other run sends; returns what there was no time for, of which nothing was sent."""
    until = time.monotonic() + ledgers.SEND_WITHIN_SECONDS
    keys = {ledgers.key_of(letter, plan.target): letter for letter in batch}
    claimed = ledger.claim(list(keys), sender)
    for key, letter in keys.items():
        if key not in claimed:
            _refuse(letter.place, *SAYS[Standing.ELSEWHERE], plan, report)
    states: dict[str, State] = {}
    left: list[DeadLetter] = []
    for key in claimed:
        letter = keys[key]
        if time.monotonic() > until:
            states[key] = State.NOT_TAKEN
            left.append(letter)
            continue
        # One by one: of a single record the producer's error is the broker's word on this very record.
        (error,) = sender.deliver([replayed(letter, plan.target)], until=until)
        if isinstance(error, TooLateError):
            states[key] = State.NOT_TAKEN
            left.append(letter)
        elif isinstance(error, TooLargeError):
            states[key] = State.NOT_TAKEN
            sentence = f"{plan.target} does not take a record of its size ({letter.size_bytes} bytes and headers)"
            _refuse(letter.place, NotReplayed.TOO_LARGE, sentence, plan, report)
        elif error is not None:
            ledger.finish(states, sender)
            raise _broken(error, plan, report) from error
        else:
            states[key] = State.SENT
            report.count(letter)
            plan.advance()
    ledger.finish(states, sender)
    if len(left) == len(batch):
        msg = (
            f"notes in the ledger for {len(batch)} dead letters and a first word of {plan.target} took more than "
            f"{ledgers.SEND_WITHIN_SECONDS:g} s, after which another run may take over; "
            f"{report.sent} dead letters were replayed. Next: `tagstream doctor`; then run the replay again."
        )
        raise ReplayError(msg)
    return left


def _broken(error: UndeliveredError, plan: Plan, report: Report) -> ReplayError:
    return ReplayError(
        f"the broker did not confirm a record for {plan.target}: {error}; {report.sent} dead letters were "
        f"replayed. Next: `tagstream doctor`; then run the replay again: it looks first what has arrived."
    )
